"""`kelp token`: what programs and devices log in with instead of an account's password."""

from __future__ import annotations

import time

import click

from cli.display import out, say, show_rows, time_in_words
from cli.drive import on_drive, operator
from vfs.core import Kelp
from vfs.operations import access, tokens
from vfs.people import SCOPES, TokenKind

_DAY = 86_400 * 1_000_000_000


@click.group("token")
def token() -> None:
    """Tokens for programs (REST) and app passwords for devices (the drive, and REST)."""


@token.command("create")
@click.argument("user")
@click.argument("name")
@click.option("--app", is_flag=True, help="an app password, for the drive in a file manager")
@click.option("--scope", type=click.Choice(list(SCOPES)), default="write", show_default=True, help="the widest one")
@click.option("--days", type=click.IntRange(1, 36_500), help="until it expires [never]")
@on_drive
def create(kelp: Kelp, user: str, name: str, app: bool, scope: str, days: int | None) -> None:
    """Make a token for USER; NAME says for what. Its secret is shown this once."""
    kind = TokenKind.APP if app else TokenKind.BEARER
    expires_ns = None if days is None else time.time_ns() + days * _DAY
    owner = access.find_user(kelp, user)
    issued = tokens.issue(
        kelp, operator(kelp), name, kind, (scope,), user_uuid=owner.uuid, expires_ns=expires_ns
    )  # fmt: skip
    out().print(issued.secret)


@token.command("list")
@click.argument("user", required=False)
@on_drive
def list_(kelp: Kelp, user: str | None) -> None:
    """Show the tokens of USER, or of everybody."""
    name = access.find_user(kelp, user).name if user is not None else None
    rows = (
        (
            each.user_name,
            each.name,
            each.kind.value,
            " ".join(each.scopes),
            time_in_words(each.expires_ns) if each.expires_ns else "never",
            time_in_words(each.last_used_ns) if each.last_used_ns else "never",
            each.uuid,
        )
        for each in tokens.list_tokens(kelp, operator(kelp), everybodys=True)
        if name in (None, each.user_name)
    )
    show_rows(("user", "name", "kind", "scopes", "expires", "last used", "id"), rows, empty="There is no token.")


@token.command("revoke")
@click.argument("id")
@on_drive
def revoke(kelp: Kelp, id: str) -> None:
    """Revoke the token ID: it is worth nothing from now on."""
    tokens.revoke(kelp, operator(kelp), id)
    say(f"revoked {id}")
