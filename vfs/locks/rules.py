"""Who conflicts with whom (RFC 4918 §6, §7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vfs.model import Caller, DavLock, Scope


def covers(lock: DavLock, chain: Sequence[int]) -> bool:
    """`chain` is the entry's id first, then its ancestors': its own lock, or a deep one above it."""
    return lock.entry_id == chain[0] or (lock.infinite and lock.entry_id in chain)


def conflicting(wanted: Scope, held: Iterable[DavLock]) -> DavLock | None:
    """The first lock that forbids a new one of scope `wanted` on the same resource (the table of §6.2)."""
    return next((lock for lock in held if Scope.EXCLUSIVE in (wanted, lock.scope)), None)


def obstacle(caller: Caller, held: Sequence[DavLock]) -> DavLock | None:
    """The lock that stops the caller from writing under `held`, None when there is none.

    One token of theirs is enough, also among several shared locks (§6.4); it must be the caller's own lock,
    since a token is not a secret (§6.5) and another user's request with it is no holder's request.
    """
    if not held or any(lock.token in caller.tokens and lock.user_id == caller.user_id for lock in held):
        return None
    return held[0]
