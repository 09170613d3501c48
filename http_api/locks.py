"""Locks that WebDAV clients hold: see them, and break one whose client died."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from http_api.models import Done, Model, time_of
from http_api.routing import Ask, Reply, Route
from vfs.model import DavLock, Scope
from vfs.operations import locking


class Lock(Model):
    """`id` is the lock's token. `owner` is what the client said of itself. `deep`: with all that is below."""

    id: str
    path: str
    user: str
    owner: str
    scope: Scope
    deep: bool
    expires_at: datetime


class Locks(Model):
    success: Literal[True] = True
    locks: list[Lock]


def listing(ask: Ask) -> Reply:
    held = [_shown(lock, path) for lock, path in locking.list_locks(ask.kelp, ask.caller)]
    return Reply(Locks(success=True, locks=held))


def break_(ask: Ask) -> Reply:
    locking.break_lock(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(Done(success=True))


def _shown(lock: DavLock, path: tuple[str, ...]) -> Lock:
    return Lock(
        id=lock.token,
        path="/" + "/".join(path),
        user=lock.user_name,
        owner=lock.owner,
        scope=lock.scope,
        deep=lock.infinite,
        expires_at=time_of(lock.expires_ns),
    )


ROUTES = (
    Route(*("GET", "/locks", listing, "Live locks: an admin's view of all, else one's own", "locks"), answer=Locks),
    Route(
        *("DELETE", "/locks/{id}", break_, "Break a lock: an admin any, others their own", "locks"),
        answer=Done, codes=("NOT_FOUND",),
    ),
)  # fmt: skip
