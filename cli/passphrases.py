"""Passphrases of private keys, as people give them. Never as arguments: `ps` shows those."""

from __future__ import annotations

import os
import sys

import click

from vfs.errors import InvalidRequest

OF_A_FILE = "KELP_KEYS_PASSPHRASE"  # for a key's file, where no terminal can be asked


def asked(prompt: str, variable: str, *, new: bool = False) -> str:
    """At the terminal; where there is none, what the environment has. Raises InvalidRequest."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True))
    passphrase = os.environ.get(variable, "")
    if not passphrase:
        raise InvalidRequest(f"there is no terminal to ask for a passphrase, and {variable} is not set")
    return passphrase
