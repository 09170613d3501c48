"""Free what nobody can reach (design §3): mark it, wait until no reader can hold it, look again, delete.

Every step is one small transaction, so that it can be done twice, by two nodes, and killed anywhere.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import KelpError, StoreUnavailable
from vfs.metadata.retrying import retried
from vfs.model import Done

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_GRACE_NS = 60 * _SECOND  # younger contents are not looked at
_ABSURD_NS = 3600 * _SECOND  # so far ahead is no time but of a clock that was wrong
_AT_ONCE = 200  # contents, or objects, of one transaction
_SHARE = 50  # the search, which looks at every content, takes at most one of so many seconds
_LONGEST_PAUSE_NS = 600 * _SECOND  # … but comes once in so long
_DELETES = 8  # at a time, where the store gains by it
_LONG_NS = 200_000_000
_MOST = 100_000  # contents that are found at once
_NAME = "contents_sought"  # row of `installation`


def free_contents(kelp: Kelp) -> Done:
    """A batch: free what no row can reach, until nothing is due; objects and bytes that went."""
    _mark_unreferred(kelp)
    with kelp.database.read() as tx:
        wrong = tx.freeing.any_to_take_back(kelp.clock.now_ns() + _ABSURD_NS)
    if wrong:
        _take_back(kelp)
    for ids in _freeable(kelp):
        _forget(kelp, ids)
    return delete_pending(kelp)


# --- first phase ---


@dataclass(frozen=True, slots=True)
class _Search:
    """The last search, by whomever: of which version of the database, and `since_ns` it is the same; when it was, and
    how long it took."""

    version: int | str | None = None
    since_ns: int = 0
    searched_ns: int = 0
    took_ns: int = 0

    def is_due(self, version: int | str | None, now_ns: int) -> bool:
        """Not while nothing was committed since a search that saw even the youngest, nor too often when it is long."""
        if version is not None and version == self.version and self.searched_ns - self.since_ns > _GRACE_NS:
            return False
        return not 0 <= now_ns - self.searched_ns < min(self.took_ns * _SHARE, _LONGEST_PAUSE_NS)


def _mark_unreferred(kelp: Kelp) -> None:
    version, now = kelp.database.version(), kelp.clock.now_ns()
    with kelp.database.read() as tx:
        value = tx.accounts.value(_NAME)
    last = _Search(**json.loads(value)) if value else _Search()
    if not last.is_due(version, now):
        return
    began = time.monotonic()
    while True:
        with kelp.database.scan() as tx:
            found = list(islice(tx.freeing.unreferred(now - _GRACE_NS), _MOST))
        for at in range(0, len(found), _AT_ONCE):
            _mark(kelp, found[at : at + _AT_ONCE])
        if len(found) < _MOST:
            break
    took = int((time.monotonic() - began) * _SECOND)
    if isinstance(version, int) or max(took, last.took_ns) > _LONG_NS:  # else there is nothing worth a commit
        since = last.since_ns if version is not None and version == last.version else now
        with kelp.database.write(quiet=True) as tx:
            tx.accounts.set_value(_NAME, json.dumps(asdict(_Search(version, since, now, took))))


@retried
def _mark(kelp: Kelp, ids: Sequence[str]) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.freeing.mark(ids, kelp.clock.now_ns())


@retried
def _take_back(kelp: Kelp) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.freeing.take_back(kelp.clock.now_ns() + _ABSURD_NS)


# --- second phase ---


def _freeable(kelp: Kelp) -> Iterator[list[str]]:
    last = (0, "")
    while True:
        now = kelp.clock.now_ns()
        with kelp.database.read() as tx:
            found = tx.freeing.freeable(_before(kelp, now), now, last, _AT_ONCE)
        if not found:
            return
        last = found[-1]
        yield [id for _, id in found]


def _before(kelp: Kelp, now_ns: int) -> int:
    """What was marked by then is held by nobody who is not seen (two lifetimes of a lease)."""
    return now_ns - int(2 * kelp.settings.cache.lease * _SECOND)


@retried
def _forget(kelp: Kelp, ids: Sequence[str]) -> None:
    """The rows, for good; looked at again, under the locks of this transaction."""
    with kelp.database.write() as tx:
        now = kelp.clock.now_ns()
        tx.freeing.forget(tx.freeing.still_freeable(ids, _before(kelp, now), now), now)


def delete_pending(kelp: Kelp) -> Done:
    """A batch: delete what is PENDING; what cannot be deleted stays so."""
    count = size = 0
    after = ""
    while True:
        with kelp.database.read() as tx:
            sizes = dict(tx.freeing.pending(after, _AT_ONCE))
        if not sizes:
            return Done(count, size)
        after = max(sizes)
        deleted, away = delete_each(kelp, list(sizes))
        if deleted:
            _forget_objects(kelp, deleted)
        count, size = count + len(deleted), size + sum(sizes[key] for key in deleted)
        metrics.FREED.inc(len(deleted))
        metrics.FREED_BYTES.inc(sum(sizes[key] for key in deleted))
        if away:
            return Done(count, size)


@retried
def _forget_objects(kelp: Kelp, keys: Sequence[str]) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.freeing.forget_objects(keys)


def delete_each(
    kelp: Kelp, keys: Sequence[str], may_go_on: Callable[[], bool] = lambda: True
) -> tuple[list[str], StoreUnavailable | None]:
    """Delete objects, several at a time where the store gains by it: those that went, and why the rest was not tried.

    What cannot be deleted alone is logged and left; a store that is away is not asked for each of thousands.
    """
    away: list[StoreUnavailable] = []

    def delete(key: str) -> bool:
        if away or not may_go_on():
            return False
        try:
            kelp.cache.delete(key)
        except StoreUnavailable as error:
            log.warning("object %s is not deleted: %s", key, error)
            away.append(error)
            return False
        except KelpError as error:
            log.warning("object %s is not deleted: %s", key, error)
            return False
        return True

    if kelp.cache.at_once > 1 and len(keys) > 1:
        with ThreadPoolExecutor(_DELETES, thread_name_prefix="delete") as threads:
            done = list(threads.map(delete, keys))
    else:
        done = [delete(key) for key in keys]
    return [key for key, gone in zip(keys, done, strict=True) if gone], away[0] if away else None
