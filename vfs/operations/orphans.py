"""Objects in the cache that nobody knows: what uploads left that were killed half-way."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from itertools import groupby, islice

from vfs.core import Kelp
from vfs.model import Done
from vfs.operations import restoring
from vfs.storage.object_store import ObjectInfo

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_ORPHAN_NS = 3600 * _SECOND  # an object that no row names, and whose content has not grown for so long
_ROUND_NS = 6 * 3600 * _SECOND  # the cache is listed so seldom (spec §12)
_AT_ONCE = 25  # orphans that go while everybody waits
_TOGETHER = 500  # objects whose rows are looked for with one statement
_HELD = 1.0  # seconds that everybody waits, and one removal more


def remove_orphans(kelp: Kelp) -> Done:
    """A batch: every six hours, objects that no row names; and those whose row says that they are gone, left by a kill
    between the two, unless they are bad and the NAS has not all of what they should be.

    An upload under way is known by its newest part: it grows, or its connection is closed after a minute; one in parts
    has a row. Where that errs (a clock that jumped, a client that sends a byte now and then), its commit finds the
    objects gone and refuses.
    """
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        last = int(tx.accounts.value("orphans_sought_ns") or 0)
    if 0 <= now - last < _ROUND_NS:  # a time to come was noted by a clock that was wrong
        return Done()
    return seek_orphans(kelp)


def seek_orphans(kelp: Kelp) -> Done:
    """The same, now, whenever it was done last."""
    now = kelp.clock.now_ns()
    count = size = 0
    resting = _resting_objects(kelp, _now_of_cache(kelp) - _ORPHAN_NS)
    while sizes := {info.key: info.size for info in islice(resting, _TOGETHER)}:
        with kelp.database.read() as tx:
            orphans = tx.freeing.orphans(list(sizes), now)
        orphans = restoring.spare(kelp, orphans)  # reads, so not while everybody waits
        for at in range(0, len(orphans), _AT_ONCE):
            removed = _remove(kelp, orphans[at : at + _AT_ONCE])
            count, size = count + len(removed), size + sum(sizes[key] for key in removed)
    with kelp.database.write() as tx:
        tx.accounts.set_value("orphans_sought_ns", str(now))
        tx.unfinished.forget_expired(now)
    return Done(count, size)


def _now_of_cache(kelp: Kelp) -> int:
    """The time by the clock that gave the objects theirs: this machine's may be another's, and wrong by hours."""
    key = f"clock-{uuid.uuid4()}"
    kelp.cache.put(key, [b"."])
    try:
        return max(info.modified_ns for info in kelp.cache.list(key))
    finally:
        kelp.cache.delete(key)


def _resting_objects(kelp: Kelp, since_ns: int) -> Iterator[ObjectInfo]:
    """All objects whose content has not grown since then; a listing has the parts of one content together."""
    for _, listed in groupby(kelp.cache.list(), key=lambda info: info.key.partition(".")[0]):
        parts = list(listed)
        if max(info.modified_ns for info in parts) < since_ns:
            yield from parts


def _remove(kelp: Kelp, orphans: list[str]) -> list[str]:
    """Looked at again in a write transaction: nobody can commit a content with these objects while they go, nor begin
    to restore one. All changes of all servers wait for it, so from a store that is slow few go at once.
    """
    removed = []
    while orphans:
        with kelp.database.write() as tx:
            tx.lock_tree(exclusive=True)
            tx.freeing.hold_missing(orphans)
            orphans = tx.freeing.orphans(orphans, kelp.clock.now_ns())
            until = time.monotonic() + _HELD
            while orphans:
                key = orphans.pop()
                kelp.cache.delete(key)
                removed.append(key)
                if time.monotonic() >= until:
                    break
    return removed
