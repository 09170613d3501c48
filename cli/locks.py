"""`kelp locks`: who holds what, and a way to free it when a client died with its lock."""

from __future__ import annotations

import click

from cli.display import say, show_rows, time_in_words
from cli.drive import on_drive, operator
from vfs.core import Kelp
from vfs.operations import locking


@click.group("locks")
def locks() -> None:
    """Show and break the locks that WebDAV clients hold."""


@locks.command("list")
@on_drive
def list_(kelp: Kelp) -> None:
    """Show all locks."""
    rows = (
        (
            "/" + "/".join(path),
            lock.user_name,
            f"{lock.scope.value}, all below" if lock.infinite else lock.scope.value,
            time_in_words(lock.expires_ns),
            lock.token,
        )
        for lock, path in locking.list_locks(kelp, operator(kelp))
    )
    show_rows(("path", "user", "kind", "until", "token"), rows, empty="Nothing is locked.")


@locks.command("break")
@click.argument("token")
@on_drive
def break_(kelp: Kelp, token: str) -> None:
    """Remove the lock with TOKEN; its owner's next write is refused until it locks again."""
    locking.break_lock(kelp, operator(kelp), token)
    say(f"broke {token}")
