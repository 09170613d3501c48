"""`kelp user`: who may use the drive."""

from __future__ import annotations

import sys

import click

from cli.display import say, show_rows, time_in_words
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.model import Role
from vfs.operations import access


@click.group("user")
def user() -> None:
    """Add, list and remove people; change their passwords."""


def _password(from_stdin: bool, name: str) -> str:
    """Asked for without echo, twice; or the first line of standard input. Never an argument: `ps` shows those."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True)
    if not password:
        raise InvalidRequest("the password is empty")
    return str(password)


_password_option = click.option("--password-stdin", is_flag=True, help="read the password from standard input")


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.EDITOR.value, show_default=True)
@_password_option
@on_drive
def add(kelp: Kelp, name: str, role: str, password_stdin: bool) -> None:
    """Add NAME; the password is asked for."""
    access.add_user(kelp, name, _password(password_stdin, name), Role(role))
    say(f"added {name} ({role})")


@user.command("list")
@on_drive
def list_(kelp: Kelp) -> None:
    """Show everybody who may use the drive."""
    rows = ((each.name, each.role.value, time_in_words(each.created_ns)) for each in access.list_users(kelp))
    show_rows(("name", "role", "since"), rows, empty="There is no user yet.")


@user.command("passwd")
@click.argument("name")
@_password_option
@on_drive
def passwd(kelp: Kelp, name: str, password_stdin: bool) -> None:
    """Give NAME a new password."""
    access.set_password(kelp, name, _password(password_stdin, name))
    say(f"changed the password of {name}")


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@on_drive
def role(kelp: Kelp, name: str, role: str) -> None:
    """Give NAME another role; the last admin stays one."""
    access.set_role(kelp, name, Role(role))
    say(f"{name} is {role} now")


@user.command("remove")
@click.argument("name")
@on_drive
def remove(kelp: Kelp, name: str) -> None:
    """Remove NAME; files stay."""
    access.remove_user(kelp, name)
    say(f"removed {name}")
