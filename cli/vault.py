"""`kelp vault`: folders that seal what is in them."""

from __future__ import annotations

import click

from cli.display import say, show_rows
from cli.drive import entry_at, find, on_drive, operator
from vfs.core import Kelp
from vfs.errors import AlreadyExists, InvalidRequest, ParentNotFound
from vfs.operations import vaulting


@click.group("vault")
def vault() -> None:
    """Folders whose names and bytes are sealed, in the cache, on the NAS and in the database."""


@vault.command("create")
@click.argument("path")
@on_drive
def create(kelp: Kelp, path: str) -> None:
    """Make an empty folder at PATH that seals what comes into it. An existing folder cannot become a vault."""
    if _is_root(path):
        raise InvalidRequest("the drive itself cannot be a vault: name the folder that shall be made, such as /Secret")
    caller = operator(kelp)
    found = find(kelp, caller, path)
    if found.entry is not None:
        raise AlreadyExists(f"{path} is there already; make a new folder and move things into it", found.entry)
    if found.place is None:
        raise ParentNotFound(f"the folder that {path} shall be in is missing")
    made = vaulting.create(kelp, caller, found.place)
    say(f"made the vault {path}")
    if not vaulting.info(kelp, caller, made).is_recoverable:
        say("It has no recovery key: when the server's key is lost, nobody opens it again (`kelp keys add-recipient`).")


@vault.command("info")
@click.argument("path")
@on_drive
def info(kelp: Kelp, path: str) -> None:
    """Show which vault PATH is, or lies in, and who can open it."""
    if _is_root(path):
        raise InvalidRequest("the drive itself is no vault: name one, or something in it, such as /Secret")
    caller = operator(kelp)
    known = vaulting.info(kelp, caller, entry_at(kelp, caller, path))
    say(f"vault       {known.uuid}")
    say(f"folder      {known.path}")
    say(f"generation  {known.generation}")
    rows = ((each.key_id, each.role.value, each.label or "-") for each in known.recipients)
    show_rows(("key", "role", "label"), rows, empty="Nobody can open it.")


def _is_root(path: str) -> bool:
    """Also of a variable in a script that is empty."""
    return not path.strip("/")
