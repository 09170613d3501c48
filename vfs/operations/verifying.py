"""Read one stored thing again, at a bounded rate, and see to it when it is not what was stored.

What is read comes from the disk and not from the machine's memory of it, as far as the store can tell the machine so,
and does not push out of that memory what people read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import partial

from blake3 import blake3

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, KelpError, NasDown, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.verifying import Found, Held
from vfs.model import ByteRange, Part
from vfs.operations import learning, nas_copies, repairing, sealed_copies
from vfs.operations.checks import recorded
from vfs.storage.object_store import Remembering

log = logging.getLogger(__name__)

_CACHE_BYTES, _NAS_BYTES = metrics.SCRUBBED_BYTES.labels("cache"), metrics.SCRUBBED_BYTES.labels("nas")
_CACHE_CORRUPT, _NAS_CORRUPT = metrics.CORRUPT.labels("cache"), metrics.CORRUPT.labels("nas")
_BURST = 0.05  # seconds of rest below which it is not worth to sleep


class Verdict(Enum):
    RIGHT = auto()
    REPAIRED = auto()
    LEFT = auto()  # bad, and not to be repaired now
    CHANGED = auto()  # by somebody else
    UNDER_WAY = auto()  # somebody works on it


class Pace:
    """A token bucket: so many bytes a second, on the average since it was made; called with what came."""

    def __init__(
        self, rate: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._rate, self._now, self._sleep = rate, now, sleep
        self._due = now()  # when the next byte may come
        self.bytes = 0

    def __call__(self, size: int) -> None:
        self.bytes += size
        self._due = max(self._due, self._now() - _BURST) + size / self._rate
        rest = self._due - self._now()
        if rest > _BURST:
            self._sleep(rest)


def cached(kelp: Kelp, row: Found, pace: Pace) -> Verdict:
    """One object of the cache. Raises StoreUnavailable while that is away."""
    fault = _fault(kelp, row, pace)
    if fault is None:
        return Verdict.RIGHT
    with kelp.database.read() as tx:
        if tx.verifying.object(row.key) != row:
            return Verdict.UNDER_WAY
    log.warning("%s", fault)
    _CACHE_CORRUPT.inc()
    return _repaired(partial(repairing.replace_object, kelp, row.key, fault))


def _fault(kelp: Kelp, row: Found, pace: Pace) -> KelpError | None:
    try:
        with _Afresh(kelp.cache, row.key):
            checksum = _digest(kelp.cache.get(row.key), pace, _CACHE_BYTES.inc)
    except (ObjectMissing, ContentCorrupt) as error:
        return error
    except StoreUnavailable as error:
        kelp.cache.stat(row.key)  # raises again, unless only its bytes cannot be had: a bad place of the disk
        return ContentCorrupt(f"cache: {row.key}: cannot be read: {error}")
    return None if checksum == row.checksum else ContentCorrupt(f"cache: {row.key}: other bytes than were stored")


def _repaired(repair: Callable[[], bool]) -> Verdict:
    """What cannot be repaired now is met again in the next round; it must not keep the scrub from all the rest."""
    try:
        return Verdict.REPAIRED if repair() else Verdict.LEFT
    except KelpError as error:
        log.warning("cannot be repaired now: %s", error)
        return Verdict.LEFT


def on_nas(kelp: Kelp, held: Held, part: Part | None, offset: int, pace: Pace) -> Verdict:
    """One part (None: it is empty) of a file on the NAS, which begins at `offset`. Raises NasDown, StoreUnavailable."""
    place = _place(kelp, held)
    if place is None:
        return Verdict.UNDER_WAY
    verify = partial(_has_part, kelp, part, offset, pace)
    if recorded.wrong(kelp, held, place, verify) is None:
        return Verdict.RIGHT
    found = recorded.certainly_wrong(kelp, held, partial(_has_part, kelp, part, offset, Pace(float("inf"))))
    if found is None:
        return Verdict.UNDER_WAY
    now, path, wrong = found
    log.warning("%s: %s (%s)", path, wrong.kind, wrong.detail)
    if wrong.kind in (recorded.MISSING, recorded.CORRUPT):
        _NAS_CORRUPT.inc()
        return _repaired(partial(repairing.write_again, kelp, now, path))
    learning.tell_changed(kelp, f"{path} on the NAS was changed by somebody else")
    return Verdict.CHANGED


def _place(kelp: Kelp, held: Held) -> str | None:
    """None when the mirror has it under way, or it is recorded to be otherwise by now."""
    with kelp.database.read() as tx:
        place = tx.verifying.place(held.entry_id, held.version)
        if place is None or place[1] or tx.verifying.held(held.entry_id, held.version) != held:
            return None
        return place[0]


def _has_part(kelp: Kelp, part: Part | None, offset: int, pace: Pace, held: Held, path: str) -> bool:
    if held.sealed and offset == 0 and not sealed_copies.is_described(kelp, held, path):
        return False
    if part is None:
        return True
    if held.sealed:  # each part is a file of its own
        path, offset = nas_copies.part_path(path, part.key), 0
    try:
        with _Afresh(kelp.nas, path):
            pieces = kelp.nas.read(path, ByteRange(offset, offset + part.size))
            return _digest(pieces, pace, _NAS_BYTES.inc) == part.checksum
    except (ObjectMissing, ContentCorrupt, NasFault):
        return False
    except NasDown as error:
        kelp.nas.probe()  # raises too, unless only this file cannot be read: a bad place of the disk
        log.warning("%s", error)
        return False


def _digest(pieces: Iterator[bytes], pace: Pace, count: Callable[[int], None]) -> str:
    digest = blake3()
    for piece in pieces:
        digest.update(piece)
        count(len(piece))
        pace(len(piece))
    return digest.hexdigest()


class _Afresh:
    """Before and after: the machine forgets what it has of a file in memory."""

    def __init__(self, store: object, name: str) -> None:
        self._store, self._name = store, name

    def __enter__(self) -> None:
        self._forget()

    def __exit__(self, *_: object) -> None:
        self._forget()

    def _forget(self) -> None:
        if isinstance(self._store, Remembering):
            self._store.forget(self._name)
