"""DAV locks: LOCK, refresh, UNLOCK (RFC 4918 §9.10, §9.11), and what an admin does with them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vfs import names
from vfs.core import Kelp
from vfs.errors import Conflict, Forbidden, InvalidRequest, LockTokenMismatch, NotFound, ParentNotFound
from vfs.locks import rules, table
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import (
    ROOT_ID,
    Caller,
    Condition,
    DavLock,
    Entry,
    Level,
    LockResult,
    Place,
    Scope,
)
from vfs.operations import changes, guard, writing

DEFAULT_TIMEOUT = 3600  # seconds, when the client names none (clients.md R12)
MAX_TIMEOUT = 86_400
MAX_LOCKS_PER_USER = 10_000
MAX_LOCKS_PER_ENTRY = 100  # shared ones; of exclusive ones there is one
MAX_OWNER_BYTES = 16_384


def granted(timeout: int | None) -> int:
    """Seconds granted for what was asked; None is "Infinite"."""
    return MAX_TIMEOUT if timeout is None else max(1, min(timeout, MAX_TIMEOUT))


def lock(
    kelp: Kelp,
    caller: Caller,
    place: Place | None,
    *,
    scope: Scope,
    infinite: bool,
    owner: str,
    timeout: int | None = DEFAULT_TIMEOUT,
    condition: Condition | None = None,
    path: Sequence[str] | None = None,
) -> LockResult:
    """Lock an entry; an unmapped name becomes an empty file in the same transaction. `place` None: the root.

    `path`, the names from the root down, says where the caller found the place: when a folder above it was moved in
    that moment, it is no longer there, and the lock would hold something that the caller does not know the way to.

    Raises ParentNotFound, InvalidName, Locked (an existing lock conflicts), Forbidden (also of a deep lock on a folder
    with something in it that is not the caller's to change), PreconditionFailed.
    """
    if len(owner.encode()) > MAX_OWNER_BYTES:
        raise InvalidRequest("the lock's owner text is too long")
    if place is not None:
        names.check_segment(place.name)
    wanted = _Wanted(scope, infinite, owner, granted(timeout), condition, path)
    return _take(kelp, caller, place, wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    scope: Scope
    infinite: bool
    owner: str
    seconds: int
    condition: Condition | None
    path: Sequence[str] | None


@retried
def _take(kelp: Kelp, caller: Caller, place: Place | None, wanted: _Wanted) -> LockResult:
    """A file's LOCK needs the tree lock shared, whatever its Depth; a folder's deep one the whole tree (design §7)."""
    with kelp.database.write() as tx:
        if place is None:
            tx.lock_tree()
            tx.lock_rows([ROOT_ID], strong=True)
        else:
            guard.lock(kelp, tx, place, strong=True)
        now = kelp.clock.now_ns()
        tx.locks.delete_expired(now)
        if tx.locks.count_of_user(caller.user_id, now) >= MAX_LOCKS_PER_USER:
            raise Forbidden("you hold too many locks")
        entry, chain, created = _subject(kelp, tx, caller, place, wanted, now)
        deep = wanted.infinite and entry.is_folder
        if deep:
            tx.require_tree()
            guard.require_below(tx, caller, entry.id)
        _refuse_conflict(tx, wanted.scope, deep, chain, now)
        new = DavLock(
            f"urn:uuid:{uuid.uuid4()}", entry.id, deep, wanted.scope, wanted.owner, caller.user_id,
            caller.name, now + wanted.seconds * changes.SECOND, wanted.seconds,
        )  # fmt: skip
        tx.locks.insert(new)
        return LockResult(new, entry, created)


def _subject(
    kelp: Kelp, tx: Tx, caller: Caller, place: Place | None, wanted: _Wanted, now_ns: int
) -> tuple[Entry, Sequence[int], bool]:
    """The entry to lock, its chain (itself first), and whether it was made for it."""
    if place is None:
        root, chain = guard.reach(tx, caller, ROOT_ID, Level.WRITE)
        if wanted.condition is not None:
            wanted.condition(root, frozenset(held.token for held in table.covering(tx, chain, now_ns)))
        return root, chain, False
    here = guard.stand(kelp, tx, caller, place)
    if wanted.path is not None and not _leads_to(kelp, wanted.path[:-1], here.path):
        raise ParentNotFound("the folder has just been moved")
    guard.check_condition(tx, here, wanted.condition, now_ns)
    if here.entry is not None:
        if here.entry.is_folder:
            guard.require(tx, caller, (here.entry.id, *here.chain), Level.WRITE)
        return here.entry, (here.entry.id, *here.chain), False
    guard.confirm_write(tx, caller, here, now_ns)
    entry = writing.empty_file(kelp, tx, caller, here)
    return entry, (entry.id, *here.chain), True


def _leads_to(kelp: Kelp, asked: Sequence[str], actual: Sequence[str]) -> bool:
    sensitive = kelp.settings.drive.case_sensitive
    return [names.key(name, sensitive) for name in asked] == [names.key(name, sensitive) for name in actual]


def _refuse_conflict(tx: Tx, scope: Scope, infinite: bool, chain: Sequence[int], now_ns: int) -> None:
    held = table.covering(tx, chain, now_ns)
    if len(held) >= MAX_LOCKS_PER_ENTRY:
        raise Forbidden("there are too many shared locks on it")
    if infinite:
        held += tx.locks.below(chain[0], now_ns)
    obstacle = rules.conflicting(scope, held)
    if obstacle is not None:
        table.refuse(tx, obstacle)


@retried
def refresh(
    kelp: Kelp, caller: Caller, entry_id: int, tokens: frozenset[str], timeout: int | None = DEFAULT_TIMEOUT
) -> DavLock:
    """Prolong the caller's lock that covers an entry and whose token is among `tokens`.

    Raises NotFound, LockTokenMismatch.
    """
    with kelp.database.write() as tx:
        now = kelp.clock.now_ns()
        _hold(tx, entry_id)
        _, chain = guard.reach(tx, caller, entry_id, Level.READ)
        for held in table.covering(tx, chain, now):
            if held.token in tokens and held.user_id == caller.user_id:
                seconds = granted(timeout)
                expires = now + seconds * changes.SECOND
                if tx.locks.extend(held.token, seconds, expires):
                    return replace(held, timeout=seconds, expires_ns=expires)
    raise LockTokenMismatch("none of the tokens is a lock of yours on this resource")


def _hold(tx: Tx, entry_id: int) -> None:
    """A move over a locked file takes the lock along: not while somebody ends or prolongs it."""
    tx.lock_tree()
    tx.lock_rows([entry_id])
    guard.foresee_reach(tx, entry_id)


@retried
def unlock(kelp: Kelp, caller: Caller, entry_id: int, token: str) -> None:
    """Remove a lock that covers an entry, also by a member of a locked folder (RFC 4918 §9.11).

    Raises NotFound, LockTokenMismatch, Forbidden (someone else's lock).
    """
    with kelp.database.write() as tx:
        _hold(tx, entry_id)
        _, chain = guard.reach(tx, caller, entry_id, Level.READ)
        for held in table.covering(tx, chain, kelp.clock.now_ns()):
            if held.token == token:
                if held.user_id != caller.user_id and not caller.administers:
                    raise Forbidden(f"the lock belongs to {held.user_name}")
                tx.locks.delete(token)
                return
    raise LockTokenMismatch("there is no such lock on this resource")


def list_locks(kelp: Kelp, caller: Caller) -> list[tuple[DavLock, tuple[str, ...]]]:
    """Live locks with the path of what they lock: an admin's view of all, else one's own."""
    with kelp.database.read() as tx:
        return [
            (held, tx.entries.shown_path(held.entry_id))
            for held in tx.locks.every(kelp.clock.now_ns())
            if caller.administers or held.user_id == caller.user_id
        ]


@retried
def break_lock(kelp: Kelp, caller: Caller, token: str) -> None:
    """An admin, or its owner, removes a lock by its token. Raises NotFound, Forbidden."""
    with kelp.database.write() as tx:
        tx.lock_tree()
        held = _by_token(kelp, tx, token)
        tx.lock_rows([held.entry_id])  # a move over a locked file takes the lock along: not meanwhile
        if _by_token(kelp, tx, token).entry_id != held.entry_id:
            raise Conflict("the lock has just gone over to another file")
        if not caller.administers and held.user_id != caller.user_id:
            raise Forbidden(f"the lock belongs to {held.user_name}")
        tx.locks.delete(token)


def _by_token(kelp: Kelp, tx: Tx, token: str) -> DavLock:
    held = tx.locks.by_token(token, kelp.clock.now_ns()) if token.isprintable() else None
    if held is None:
        raise NotFound("there is no such lock")
    return held
