"""`kelp group`: people who are granted something together."""

from __future__ import annotations

import click

from cli.display import say, show_rows, time_in_words
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import access, groups


@click.group("group")
def group() -> None:
    """Groups of users, for `kelp grant`."""


@group.command("add")
@click.argument("name")
@click.argument("users", nargs=-1, metavar="[USER]...")
@on_drive
def add(kelp: Kelp, name: str, users: tuple[str, ...]) -> None:
    """Make the group NAME, with these users in it."""
    members = [access.find_user(kelp, user) for user in users]
    made = groups.add(kelp, name)
    for member in members:
        groups.join(kelp, made.uuid, member.uuid)
    say(f"added {name}")


@group.command("list")
@click.argument("name", required=False)
@on_drive
def list_(kelp: Kelp, name: str | None) -> None:
    """Show all groups, or who is in the group NAME."""
    if name is not None:
        _, members = groups.get(kelp, groups.find(kelp, name).uuid)
        rows = ((user.name, user.role.value) for user in members)
        show_rows(("name", "role"), rows, empty="Nobody is in it.")
        return
    found = ((each.name, str(each.members), time_in_words(each.created_ns)) for each in groups.list_groups(kelp))
    show_rows(("name", "members", "since"), found, empty="There is no group.", right=("members",))


@group.command("join")
@click.argument("name")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@on_drive
def join(kelp: Kelp, name: str, users: tuple[str, ...]) -> None:
    """Put users into the group NAME."""
    found = groups.find(kelp, name)
    for member in [access.find_user(kelp, user) for user in users]:
        groups.join(kelp, found.uuid, member.uuid)
        say(f"{member.name} is in {found.name}")


@group.command("leave")
@click.argument("name")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@on_drive
def leave(kelp: Kelp, name: str, users: tuple[str, ...]) -> None:
    """Take users out of the group NAME."""
    found = groups.find(kelp, name)
    for member in [access.find_user(kelp, user) for user in users]:
        groups.leave(kelp, found.uuid, member.uuid)
        say(f"{member.name} is not in {found.name} any more")


@group.command("remove")
@click.argument("name")
@on_drive
def remove(kelp: Kelp, name: str) -> None:
    """Remove the group NAME, with all that was granted to it."""
    groups.remove(kelp, groups.find(kelp, name).uuid)
    say(f"removed {name}")
