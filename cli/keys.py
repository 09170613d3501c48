"""`kelp keys`: who may open vaults, and the private key of this server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli import passphrases
from cli.display import say, show_json, show_rows, time_in_words
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import keyring, recipients, server_keys
from vfs.operations.recipients import Shown
from vfs.vault_model import RecipientRole

_FILE = click.Path(path_type=Path)
_bits = click.option("--bits", type=int, default=3072, show_default=True, help="of the RSA key")
_label = click.option("--label", default="", metavar="TEXT", help="what people call it")


@click.group("keys")
def keys() -> None:
    """The keys of vaults: for whom they are wrapped, and the private key of this server.

    Passphrases are asked for at the terminal. Without one they come from KELP_VAULT_PASSPHRASE (the server's key) and
    KELP_KEYS_PASSPHRASE (a file that is exported or imported).
    """


@keys.command("init")
@_label
@_bits
@click.option("--locked", is_flag=True, help="ask for a passphrase that locks it; servers need it at their start")
@on_drive
def init(kelp: Kelp, label: str, bits: int, locked: bool) -> None:
    """Make the key of this server. One that is there is never overwritten."""
    passphrase = (
        passphrases.asked("Passphrase for the server's key", "KELP_VAULT_PASSPHRASE", new=True) if locked else None
    )
    made = server_keys.init(kelp if locked else _unlocked(kelp), label, bits, passphrase)
    say(f"{'made' if made.is_new else 'registered'} {made.key_id}")
    say(f"private key  {made.file or 'in vault.key'}")
    say("Keep a copy in a safe place (`kelp keys export`), and add a recovery key (`kelp keys add-recipient`):")
    say("without a private key nobody can open a vault again.")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def list_(kelp: Kelp, as_json: bool) -> None:
    """Show for whom the keys of vaults are wrapped, and whose private key is here."""
    found = recipients.every(_unlocked(kelp))
    if as_json:
        show_json([
            {
                "id": each.recipient.key_id, "role": each.recipient.role.value, "label": each.recipient.label,
                "active": each.recipient.is_active, "here": each.is_here, "vaults": each.recipient.vaults,
                "waiting": each.waiting, "file": each.file or None,
            }
            for each in found
        ])  # fmt: skip
        return
    rows = (
        (
            each.recipient.key_id,
            each.recipient.role.value,
            each.recipient.label or "-",
            "here" if each.is_here else "-",
            str(each.recipient.vaults),
            _state(each),
            time_in_words(each.recipient.created_ns),
        )
        for each in found
    )
    columns = ("id", "role", "label", "private key", "vaults", "state", "since")
    show_rows(columns, rows, empty="There is no key: `kelp keys init` makes one.", right=("vaults",))


def _state(shown: Shown) -> str:
    if shown.recipient.is_active:
        return f"in use, {shown.waiting} vaults to be wrapped" if shown.waiting else "in use"
    if not shown.recipient.vaults:
        return f"removed; {shown.file} may go" if shown.file else "removed"
    return "replaced, may be removed" if shown.may_go else f"replaced, {shown.waiting} vaults still need it"


@keys.command("add-recipient")
@click.argument("file", type=_FILE)
@click.option("--role", type=click.Choice([role.value for role in RecipientRole]), required=True, help="what it is for")
@_label
@on_drive
def add_recipient(kelp: Kelp, file: Path, role: str, label: str) -> None:
    """Let the private key that belongs to the public key in FILE (PEM) open all vaults.

    A server wraps the vaults that are there for it, within seconds.
    """
    added = recipients.add(kelp, file.read_bytes(), RecipientRole(role), label)
    say(f"added {added.key_id} ({role})")


@keys.command("remove-recipient")
@click.argument("id")
@on_drive
def remove_recipient(kelp: Kelp, id: str) -> None:
    """Drop what is wrapped for the key ID (or how it begins). What its owner has opened before, he knows."""
    removed = recipients.remove(_unlocked(kelp), id)
    say(f"removed {removed.recipient.key_id} ({removed.recipient.role.value})")
    if not removed.has_recovery:
        say("There is no recovery key: when the server's key is lost, so is all that lies in vaults.")


@keys.command("rotate")
@_bits
@on_drive
def rotate(kelp: Kelp, bits: int) -> None:
    """Give this server a new key. Vaults are wrapped for it in the background; their contents are not touched.

    Both keys open vaults until then. Other servers of the drive need the new file too.
    """
    rotated = server_keys.rotate(_unlocked(kelp), bits)
    say(f"{'made' if rotated.kept else 'registered'} {rotated.key_id}")
    say(f"private key  {rotated.file}")
    if rotated.kept:
        say(f"the old one  {rotated.kept}")
    for each in rotated.before:
        say(f"replaced {each.key_id}: `kelp keys list` tells when it may be removed, and its file with it")


@keys.command("export")
@click.argument("file", type=_FILE)
@on_drive
def export(kelp: Kelp, file: Path) -> None:
    """Write the private key of this server to the new FILE, locked by a passphrase."""
    unlocked = _unlocked(kelp)
    passphrase = passphrases.asked(f"Passphrase for {file}", passphrases.OF_A_FILE, new=True)
    say(f"exported {server_keys.export(unlocked, passphrase, file)} to {file}")


@keys.command("import")
@click.argument("file", type=_FILE)
@on_drive
def import_(kelp: Kelp, file: Path) -> None:
    """Put the private key in FILE where this server finds it; beside its own when there is one."""
    unlocked = _unlocked(kelp)
    passphrase = passphrases.asked(f"Passphrase of {file}", passphrases.OF_A_FILE) if server_keys.locked(file) else None
    made = server_keys.import_(unlocked, file, passphrase)
    say(f"imported {made.key_id}")
    say(f"private key  {made.file}")


def _unlocked(kelp: Kelp) -> Kelp:
    """Somebody at a terminal can type the passphrase that a server has in its settings."""
    if sys.stdin.isatty() and keyring.is_locked(kelp):
        return keyring.unlocked(kelp, passphrases.asked("Passphrase of the server's key", ""))
    return kelp
