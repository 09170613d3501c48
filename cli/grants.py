"""`kelp grant`: who may do what in which folder."""

from __future__ import annotations

import click

from cli.display import say, show_rows, time_in_words
from cli.drive import entry_at, on_drive, operator
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.model import Caller, Level
from vfs.operations import access, grants, groups
from vfs.operations.grants import To
from vfs.people import Grant

_ROOT = "root"  # as the core names the drive itself
_LEVELS = click.Choice([level.name.lower() for level in Level])


@click.group("grant")
def grant() -> None:
    """Say who may do what in a folder, and in all below it.

    The nearest folder with a grant decides; a user's own goes before those of groups. Without any, editors write and
    viewers read. Admins may do everything.
    """


_to_options = (
    click.option("--user", metavar="NAME", help="to a user"),
    click.option("--group", metavar="NAME", help="to a group"),
)


@grant.command("list")
@click.argument("path", required=False)
@on_drive
def list_(kelp: Kelp, path: str | None) -> None:
    """Show the grants on the folder PATH, or all of the drive."""
    caller = operator(kelp)
    found = grants.list_all(kelp, caller)
    if path is not None:
        folder_id = entry_at(kelp, caller, path).id
        found = [(each, where) for each, where in found if each.folder_id == folder_id]
    rows = (
        (where, "group" if each.is_group else "user", each.subject, _word(each), time_in_words(each.created_ns))
        for each, where in found
    )
    show_rows(("folder", "to", "name", "level", "since"), rows, empty="Nothing is granted: roles decide.")


@grant.command("set")
@click.argument("path")
@click.argument("level", type=_LEVELS)
@_to_options[0]
@_to_options[1]
@on_drive
def set_(kelp: Kelp, path: str, level: str, user: str | None, group: str | None) -> None:
    """Grant LEVEL on the folder PATH (/ is the drive) to a user or a group."""
    caller = operator(kelp)
    given = grants.give(kelp, caller, _folder(kelp, caller, path), _to(kelp, user, group), Level[level.upper()])
    say(f"{given.subject} has {level} on {path}")


@grant.command("remove")
@click.argument("path")
@_to_options[0]
@_to_options[1]
@on_drive
def remove(kelp: Kelp, path: str, user: str | None, group: str | None) -> None:
    """Take back what was granted on the folder PATH: what is inherited counts again."""
    caller = operator(kelp)
    folder, to = _folder(kelp, caller, path), _to(kelp, user, group)
    for each in grants.list_on(kelp, caller, folder):
        if (each.subject_uuid, each.is_group) == (to.uuid, to.is_group):
            grants.take_back(kelp, caller, folder, each.uuid)
            say(f"{each.subject} has nothing of its own on {path} any more")
            return
    raise NotFound(f"nothing was granted to {user or group} on {path}")


def _folder(kelp: Kelp, caller: Caller, path: str) -> str:
    entry = entry_at(kelp, caller, path)
    return _ROOT if entry.is_root else entry.uuid


def _to(kelp: Kelp, user: str | None, group: str | None) -> To:
    if (user is None) == (group is None):
        raise click.UsageError("name one of --user and --group")
    if user is not None:
        return To(access.find_user(kelp, user).uuid, is_group=False)
    return To(groups.find(kelp, str(group)).uuid, is_group=True)


def _word(found: Grant) -> str:
    return found.level.name.lower()
