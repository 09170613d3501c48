"""`kelp trash`: what was deleted, and its way back or out."""

from __future__ import annotations

import click

from cli.display import say, show_rows, size_in_words, time_in_words
from cli.drive import on_drive, operator
from vfs.core import Kelp
from vfs.model import OnConflict
from vfs.operations import reading, trashing

_yes = click.option("--yes", is_flag=True, help="do not ask")


@click.group("trash")
def trash() -> None:
    """List, restore and purge what was deleted."""


@trash.command("list")
@on_drive
def list_(kelp: Kelp) -> None:
    """Show what is in the trash, with the ids that the other commands take."""
    rows = (
        (
            item.entry.uuid,
            item.original_path,
            item.entry.kind.value if item.entry.is_folder else size_in_words(item.entry.size),
            item.user_name,
            time_in_words(item.trashed_ns),
            time_in_words(item.expires_ns),
        )
        for item in trashing.list_trash(kelp, operator(kelp))
    )
    columns = ("id", "was at", "size", "by", "deleted", "kept until")
    show_rows(columns, rows, empty="The trash is empty.", right=("size",))


@trash.command("restore")
@click.argument("id_", metavar="ID")
@click.option("--rename", is_flag=True, help='restore as "name (1)" when the name is taken by now')
@on_drive
def restore(kelp: Kelp, id_: str, rename: bool) -> None:
    """Bring ID back to where it was."""
    caller = operator(kelp)
    policy = OnConflict.RENAME if rename else OnConflict.ERROR
    entry = trashing.restore(kelp, caller, id_, on_conflict=policy)
    say("restored /" + "/".join(reading.path_of(kelp, entry.id)))


@trash.command("purge")
@click.argument("id_", metavar="ID")
@_yes
@on_drive
def purge(kelp: Kelp, id_: str, yes: bool) -> None:
    """Delete ID for good."""
    if not yes:
        click.confirm(f"Delete {id_} for good?", abort=True, err=True)
    trashing.purge(kelp, operator(kelp), id_)
    say(f"purged {id_}")


@trash.command("empty")
@_yes
@on_drive
def empty(kelp: Kelp, yes: bool) -> None:
    """Delete everything in the trash for good."""
    if not yes:
        click.confirm("Delete everything in the trash for good?", abort=True, err=True)
    count = trashing.empty_trash(kelp, operator(kelp))
    say(f"purged {count} {'entry' if count == 1 else 'entries'}")
