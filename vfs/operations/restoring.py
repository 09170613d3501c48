"""Objects come back to the cache from the NAS, once however many miss them.

In one process a part is under way once (`Background` knows its key); of several processes the one whose compare-and-set
takes it from MISSING to SYNCING has it. A reader that goes through a whole part anyway gives its bytes, the others are
read from the NAS. What is restored is verified by the checksum of its part before it is put. Who dies at it leaves
SYNCING, which `give_up_stale` ends; a bad object, which may have the only good copy of some blocks, stays until its
replacement takes its place in one step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from blake3 import blake3

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import (
    AlreadyExists,
    ContentCorrupt,
    ContentLost,
    KelpError,
    NasFault,
    ObjectMissing,
    StoreUnavailable,
)
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import BLOCK_SIZE, ByteRange, Content, Done, Part, StoreStatus
from vfs.operations import alerts, cache_limits, learning, nas_copies
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.verified import Verifier, verifier_of

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_STALE_NS = 600 * _SECOND  # the process that restores it must have died
_ABSURD_NS = 3600 * _SECOND  # so far ahead of now is no time that a right clock told
_SEARCH = 10.0  # seconds in which objects that were given up are looked for, once in _STALE_NS
_QUIET_NS = 3600 * _SECOND  # after which an alert about what was found in the cache is over
_MOST_ALERTS = 20  # of single contents that are lost; the others are counted in one
_LIMIT = 500

_AVAILABLE, _MISSING, _SYNCING = StoreStatus.AVAILABLE, StoreStatus.MISSING, StoreStatus.SYNCING
_RESTORABLE = (StoreStatus.MISSING, StoreStatus.ERROR)
_DOUBTED = ContentCorrupt("to be read again")


class Outcome(Enum):
    PRESENT = auto()  # it is in the cache
    RESTORED = auto()
    BUSY = auto()  # somebody else restores it, evicts it, or frees it
    NO_ROOM = auto()  # the cache would grow beyond its limit


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` did with the objects of a content. `left`: those that are not in the cache now."""

    objects: int = 0
    bytes: int = 0
    left: int = 0


def restore(kelp: Kelp, content: Content, *, doubted: bool = False) -> Restored:
    """See that all objects of a content are in the cache, and bring back those that are not, in the foreground.

    `doubted`: what is there is read, and replaced when it is bad.
    Raises ContentLost, NoSpace, StoreUnavailable, NasDown, and NasFileChanged for an adopted file.
    """
    if not content.is_verifiable:
        content = learning.learn(kelp, content.id)
    objects = size = left = 0
    for number, part in enumerate(content.parts):
        outcome = restore_part(kelp, content, number, _look(kelp, part) or (_DOUBTED if doubted else None))
        objects += outcome is Outcome.RESTORED
        size += part.size if outcome is Outcome.RESTORED else 0
        left += outcome in (Outcome.BUSY, Outcome.NO_ROOM)
    return Restored(objects, size, left)


def restore_part(
    kelp: Kelp, content: Content, number: int, fault: KelpError | None, pieces: list[bytes] | None = None
) -> Outcome:
    """Restore one object, unless it is there or somebody else is at it.

    `fault`: what somebody found who read it in the cache, ObjectMissing or ContentCorrupt; it is looked at again before
    it is believed. `pieces`: its bytes, verified; else they are read from the NAS. Raises as `restore`.
    """
    part = content.parts[number]
    status = _status(kelp, part.key)
    if status is _AVAILABLE:
        if fault is None or _is_good(kelp, part):
            return Outcome.PRESENT
        if not _mark_missing(kelp, part.key, fault):
            return Outcome.BUSY
        status = _MISSING
    if status not in _RESTORABLE:
        return Outcome.BUSY
    if not part.checksum or not cache_limits.room_for(kelp, part.size):
        return Outcome.NO_ROOM
    since_ns = _begin(kelp, part.key, status)
    if since_ns is None:
        return Outcome.BUSY
    with kelp.holds.hold(content.id):
        return _carry(kelp, content, number, since_ns, pieces)


def _carry(kelp: Kelp, content: Content, number: int, since_ns: int, pieces: list[bytes] | None) -> Outcome:
    part = content.parts[number]
    try:
        _put(kelp, part, since_ns, lambda: pieces if pieces is not None else _from_nas(kelp, content, number))
    except (ObjectMissing, ContentCorrupt) as error:
        metrics.RESTORES.labels("failed").inc()
        lose(kelp, content, part, since_ns)
        raise ContentLost(f"the content is good in neither the cache nor the NAS: {error}") from error
    except BaseException:
        metrics.RESTORES.labels("failed").inc()
        _switch(kelp, part.key, _SYNCING, _MISSING, since_ns)
        raise
    if not _end(kelp, content, part, since_ns):
        metrics.RESTORES.labels("given_up").inc()
        return Outcome.BUSY
    metrics.RESTORES.labels("restored").inc()
    metrics.RESTORED_BYTES.inc(part.size)
    return Outcome.RESTORED


def _put(kelp: Kelp, part: Part, since_ns: int, read: Callable[[], list[bytes]]) -> None:
    """Raises ContentCorrupt, ObjectMissing (of the NAS), NasFault as StoreUnavailable, NoSpace, StoreUnavailable."""
    if _is_good(kelp, part):  # it never left, or who restored it died before he could say so
        return
    try:
        pieces = read()
    except NasFault as error:
        raise StoreUnavailable(f"cannot be had from the NAS: {error}") from error
    digest = blake3()
    for piece in pieces:
        digest.update(piece)
    if digest.hexdigest() != part.checksum:
        raise ContentCorrupt(f"NAS: {part.key}: other bytes than were stored")
    try:
        kelp.cache.put(part.key, pieces)
    except AlreadyExists:  # what is there is bad; unless this process was given up, and another one put it there
        with kelp.database.read() as tx:
            if not tx.restoring.is_since(part.key, _SYNCING, since_ns):
                return
        kelp.cache.put(part.key, pieces, replace=True)  # some of its blocks may be good nowhere else


def _from_nas(kelp: Kelp, content: Content, number: int) -> list[bytes]:
    part = content.parts[number]
    offset = sum(each.size for each in content.parts[:number])
    verifier = verifier_of(kelp, part)
    try:
        return list(nas_copies.read(kelp, content, verifier, ByteRange(0, part.size), offset))
    except ContentCorrupt:
        if verifier.span(ByteRange(0, 1)).stop == part.size:  # one block; or nobody knows which of them is bad
            raise
    return list(_put_together(kelp, content, verifier, offset))


def _put_together(kelp: Kelp, content: Content, verifier: Verifier, offset: int) -> Iterator[bytes]:
    """Each block from the store that has it good. Raises ContentCorrupt when none has."""
    part = verifier.part
    for at in range(0, part.size, BLOCK_SIZE):
        block = ByteRange(at, min(at + BLOCK_SIZE, part.size))
        try:
            yield from [*verifier.pieces(kelp.cache.get(part.key, block), block, "cache")]
        except (ObjectMissing, ContentCorrupt, StoreUnavailable):
            yield from nas_copies.read(kelp, content, verifier, block, offset)


def _look(kelp: Kelp, part: Part) -> KelpError | None:
    """What is wrong with an object at first sight; None when it is there with its size."""
    try:
        if kelp.cache.stat(part.key) == part.size:
            return None
        return ContentCorrupt(f"cache: {part.key}: has another size than was stored")
    except ObjectMissing as error:
        return error


def _is_good(kelp: Kelp, part: Part) -> bool:
    """The cache has these very bytes."""
    if _look(kelp, part) is not None:
        return False
    digest = blake3()
    try:
        for piece in kelp.cache.get(part.key, ByteRange(0, part.size)):
            digest.update(piece)
    except (ObjectMissing, ContentCorrupt):
        return False
    except StoreUnavailable:
        kelp.cache.stat(part.key)  # raises again, unless only its bytes cannot be had: a bad place of the disk
        return False
    return digest.hexdigest() == part.checksum


# --- statuses -------------------------------------------------------------------------------------------------------


def _status(kelp: Kelp, key: str) -> StoreStatus | None:
    with kelp.database.read() as tx:
        return tx.restoring.statuses([key]).get(key)


@retried
def _mark_missing(kelp: Kelp, key: str, fault: KelpError) -> bool:
    with kelp.database.write() as tx:
        if not tx.restoring.switch(key, _AVAILABLE, _MISSING, kelp.clock.now_ns()):
            return False
        if isinstance(fault, ContentCorrupt):
            message = f"objects of the cache were damaged, and are replaced from the NAS; the last one was {key}"
            alerts.open_in(kelp, tx, AlertKind.CONTENT_REPAIRED, message, severity=Severity.WARNING)
        else:
            message = "objects that the cache had are gone from it; what the NAS has comes back as it is read"
            alerts.open_in(kelp, tx, AlertKind.CACHE_EMPTIED, message, severity=Severity.WARNING)
        return True


def _begin(kelp: Kelp, key: str, status: StoreStatus) -> int | None:
    """Since when this process restores it; None when another one does."""
    now = kelp.clock.now_ns()
    return now if _switch(kelp, key, status, _SYNCING, None, now) else None


@retried
def _switch(
    kelp: Kelp, key: str, old: StoreStatus, new: StoreStatus, since_ns: int | None, now_ns: int | None = None
) -> bool:
    with kelp.database.write() as tx:
        return tx.restoring.switch(key, old, new, now_ns or kelp.clock.now_ns(), since_ns)


@retried
def _end(kelp: Kelp, content: Content, part: Part, since_ns: int, old: StoreStatus = _SYNCING) -> bool:
    """It is in the cache; False when somebody gave this up meanwhile."""
    with kelp.database.write() as tx:
        if not tx.restoring.switch(part.key, old, _AVAILABLE, kelp.clock.now_ns(), since_ns):
            return False
        if tx.alerts.is_open(AlertKind.CONTENT_LOST, content.id) and tx.restoring.none_in_error(content.id):
            alerts.close_in(kelp, tx, AlertKind.CONTENT_LOST, "it was found again on the NAS", content.id)
        return True


@retried
def lose(kelp: Kelp, content: Content, part: Part, since_ns: int | None) -> None:
    """Nobody has the object: ERROR, and one alert for its content. `since_ns`: this process was restoring it; else it
    may have come back since somebody saw that, and is looked at again."""
    if since_ns is None and _is_good(kelp, part):
        return
    with kelp.database.read() as tx:
        known = tx.restoring.statuses([part.key]).get(part.key)
        told = tx.alerts.is_open(AlertKind.CONTENT_LOST, content.id) or tx.alerts.is_open(AlertKind.CONTENT_LOST, "")
    if known is StoreStatus.ERROR and told:
        return
    with kelp.database.write() as tx:
        now = kelp.clock.now_ns()
        froms = (_SYNCING,) if since_ns is not None else (_AVAILABLE, _MISSING)
        if any(tx.restoring.switch(part.key, old, StoreStatus.ERROR, now, since_ns) for old in froms):
            _tell_lost(kelp, tx, content)


def _tell_lost(kelp: Kelp, tx: Tx, content: Content) -> None:
    if tx.alerts.count_open(AlertKind.CONTENT_LOST) < _MOST_ALERTS:
        message = (
            f"a content of {content.size} bytes is good in neither the cache nor the NAS: restore it from a backup"
        )
        alerts.open_in(kelp, tx, AlertKind.CONTENT_LOST, message, content.id)
    else:
        message = "more contents are good in neither the cache nor the NAS: `kelp check` lists them"
        alerts.open_in(kelp, tx, AlertKind.CONTENT_LOST, message)


def give_up_stale(kelp: Kelp) -> Done:
    """What a process left that died: objects being restored go back to MISSING, leases of its readers end."""
    now = kelp.clock.now_ns()
    absurd = now + _ABSURD_NS
    with kelp.database.read() as tx:
        stale = tx.restoring.stale(_SYNCING, now - _STALE_NS, absurd, _LIMIT)
        expired = tx.reading.any_expired(now, absurd)
        quiet = [
            kind
            for kind in (AlertKind.CACHE_EMPTIED, AlertKind.CONTENT_REPAIRED)
            if tx.alerts.is_quiet(kind, now - _QUIET_NS)
        ]
    count = sum(_switch(kelp, key, _SYNCING, _MISSING, since_ns) for key, since_ns in stale)
    if expired:
        with kelp.database.write(quiet=True) as tx:
            count += tx.reading.forget_expired(now, absurd)
    for kind in quiet:
        alerts.close(kelp, kind, "nothing more of the kind was found for an hour")
    return Done(count)


def find_again(kelp: Kelp) -> Done:
    """A batch: objects that were given up, that the cache has after all, are AVAILABLE (its disk was not mounted)."""
    now, until = kelp.clock.now_ns(), time.monotonic() + _SEARCH
    with kelp.database.read() as tx:
        lost = tx.restoring.stale(StoreStatus.ERROR, now - _STALE_NS, now + _ABSURD_NS, _LIMIT)
    count = 0
    vain = []
    for key, since_ns in lost:
        with kelp.database.read() as tx:
            content = tx.verifying.content_with(key)
        part = next((part for part in content.parts if part.key == key), None) if content else None
        if content is None or part is None or not _is_good(kelp, part):
            vain.append((key, since_ns))
        else:
            count += _end(kelp, content, part, since_ns, StoreStatus.ERROR)
        if time.monotonic() >= until:
            break
    if vain:
        _not_yet(kelp, vain)
    return Done(count)


def is_spare(kelp: Kelp, key: str) -> bool:
    """An object whose row says that it is gone may go: it is good, so its file on the NAS counts as it did when it was
    let go; or all of it was read from the NAS now. Else some blocks may be good in it alone. Raises StoreUnavailable.
    """
    with kelp.database.read() as tx:
        is_gone = tx.restoring.statuses([key]).get(key) is _MISSING
        content = tx.verifying.content_with(key) if is_gone else None
    number = next((n for n, part in enumerate(content.parts) if part.key == key), None) if content else None
    if content is None or number is None or _is_good(kelp, content.parts[number]):
        return True
    part = content.parts[number]
    offset = sum(each.size for each in content.parts[:number])
    try:
        for _ in nas_copies.read(kelp, content, verifier_of(kelp, part), ByteRange(0, part.size), offset):
            pass
    except (ObjectMissing, ContentCorrupt, NasFault, StoreUnavailable) as error:
        log.warning("%s is bad, and kept until the NAS has all of it: %s", key, error)
        return False
    return True


@retried
def _not_yet(kelp: Kelp, lost: list[tuple[str, int]]) -> None:
    """Looked for in vain: the others come first, next time."""
    with kelp.database.write(quiet=True) as tx:
        for key, since_ns in sorted(lost):
            tx.restoring.switch(key, StoreStatus.ERROR, StoreStatus.ERROR, kelp.clock.now_ns(), since_ns)
