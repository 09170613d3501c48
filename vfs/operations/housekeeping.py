"""Batches: contents that nobody can reach, and objects that nobody knows.

Each is safe to run twice and to be killed in: every step is one small transaction (spec §4, §12).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from itertools import groupby, islice

from vfs.core import Kelp
from vfs.errors import KelpError, StoreUnavailable

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_GRACE_NS = 60 * _SECOND  # a reader may still hold what was marked so long ago (two lease lifetimes, design §3)
_ORPHAN_NS = 3600 * _SECOND  # an object that no row names, and whose content has not grown for so long
_ORPHAN_ROUND_NS = 6 * 3600 * _SECOND  # the cache is listed so seldom (spec §12)
_LIMIT = 500
_AT_ONCE = 25  # orphans that go while everybody waits
_HELD = 1.0  # seconds that everybody waits, and one removal more


def free_contents(kelp: Kelp) -> int:
    """Free what no row can reach: marked first, freed when no reader can hold it any more; how many objects went."""
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        unreferred = tx.contents.unreferred(now - _GRACE_NS, _LIMIT)
    with kelp.database.write() as tx:
        tx.contents.mark(unreferred, now)
        for content_id in tx.contents.freeable(now - _GRACE_NS, _LIMIT):
            tx.contents.forget(content_id)
    with kelp.database.scan() as tx:
        keys = tx.contents.pending_objects(_LIMIT)
    gone = 0
    for key in keys:
        try:
            kelp.cache.delete(key)
        except KelpError as error:
            log.warning("object %s stays PENDING: %s", key, error)
            if isinstance(error, StoreUnavailable):  # so would be the others, each after its own time-out
                break
            continue
        with kelp.database.write() as tx:
            tx.contents.forget_object(key)
        gone += 1
    return gone


def remove_orphans(kelp: Kelp) -> int:
    """What uploads left that were killed half-way; every six hours.

    An upload under way is known by its newest part: it grows, or its connection is closed after a minute. Where that
    errs (a clock that jumped, a client that sends a byte now and then), its commit finds the objects gone and refuses.
    """
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        last = int(tx.accounts.value("orphans_sought_ns") or 0)
    if 0 <= now - last < _ORPHAN_ROUND_NS:  # a time to come was noted by a clock that was wrong
        return 0
    count = 0
    resting = _resting_objects(kelp, _now_of_cache(kelp) - _ORPHAN_NS)
    while keys := list(islice(resting, _AT_ONCE)):
        count += _remove_unknown(kelp, keys)
    with kelp.database.write() as tx:
        tx.accounts.set_value("orphans_sought_ns", str(now))
    return count


def _now_of_cache(kelp: Kelp) -> int:
    """The time by the clock that gave the objects theirs: this machine's may be another's, and wrong by hours."""
    key = f"clock-{uuid.uuid4()}"
    kelp.cache.put(key, [b"."])
    try:
        return max(info.modified_ns for info in kelp.cache.list(key))
    finally:
        kelp.cache.delete(key)


def _resting_objects(kelp: Kelp, since_ns: int) -> Iterator[str]:
    """Keys of all objects whose content has not grown since then; a listing has the parts of one content together."""
    for _, listed in groupby(kelp.cache.list(), key=lambda info: info.key.partition(".")[0]):
        parts = list(listed)
        if max(info.modified_ns for info in parts) < since_ns:
            yield from (info.key for info in parts)


def _remove_unknown(kelp: Kelp, keys: list[str]) -> int:
    """Looked at again in a write transaction: nobody can commit a content with these objects while they go.

    All changes of all servers wait for it, so from a store that is slow few go at once.
    """
    with kelp.database.read() as tx:
        orphans = tx.contents.unknown(keys)
    count = 0
    while orphans:
        with kelp.database.write() as tx:
            tx.lock_tree(exclusive=True)
            orphans = tx.contents.unknown(orphans)
            until = time.monotonic() + _HELD
            while orphans:
                kelp.cache.delete(orphans.pop())
                count += 1
                if time.monotonic() >= until:
                    break
    return count
