"""`kelp versions`: the older contents of a file."""

from __future__ import annotations

import click

from cli.display import say, show_rows, size_in_words, time_in_words
from cli.drive import entry_at, on_drive, operator
from vfs.core import Kelp
from vfs.errors import InvalidRequest, NotFound
from vfs.model import Version
from vfs.operations import versioning


class _PathMeansList(click.Group):
    """`kelp versions PATH` is short for `kelp versions list PATH` (a file named like a command: `/list`)."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            args = ["list", *args]
        return super().resolve_command(ctx, args)


@click.group("versions", cls=_PathMeansList)
def versions() -> None:
    """List and restore older contents of a file."""


@versions.command("list")
@click.argument("path")
@on_drive
def list_(kelp: Kelp, path: str) -> None:
    """Show the older contents of PATH, newest first."""
    caller = operator(kelp)
    kept = versioning.list_versions(kelp, caller, entry_at(kelp, caller, path).id)
    rows = ((each.uuid, size_in_words(each.size), time_in_words(each.created_ns), each.user_name) for each in kept)
    show_rows(("id", "size", "written", "by"), rows, empty=f"{path} has no older contents.", right=("size",))


@versions.command("restore")
@click.argument("path")
@click.argument("id_", metavar="[ID]", required=False)
@on_drive
def restore(kelp: Kelp, path: str, id_: str | None) -> None:
    """Make an older content of PATH the current one: ID, or the newest. What is replaced becomes a version."""
    caller = operator(kelp)
    kept = versioning.list_versions(kelp, caller, entry_at(kelp, caller, path).id)
    version = _chosen(kept, id_, path)
    versioning.restore_version(kelp, caller, version.uuid)
    say(f"restored {path} as written {time_in_words(version.created_ns)}")


def _chosen(kept: list[Version], wanted: str | None, path: str) -> Version:
    """The version whose id is, or alone begins with, `wanted`; the newest when nothing is asked for."""
    if wanted is None:
        if not kept:
            raise NotFound(f"{path} has no older contents")
        return max(kept, key=lambda version: version.created_ns)
    matches = [version for version in kept if version.uuid.startswith(wanted.lower())]
    if not matches:
        raise NotFound(f"{path} has no older content {wanted}")
    if len(matches) > 1:
        raise InvalidRequest(f"{wanted} begins more than one id; give more of it")
    return matches[0]
