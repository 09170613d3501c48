"""Small objects whose files are synced behind the commit that shows them: which ones, and what becomes of those that
nobody synced, since their process died or the disk failed.

A row of `redo_objects` has all bytes of its object. As long as there is one, nothing is known of what the disk has in
the file: a power cut may leave it empty, and after a failed sync the memory of the machine shows what the disk never
got. So the bytes are written again whatever the file seems to have, and the row goes once that is synced. To do that
twice, or for an object that was synced, evicted, restored or replaced by itself meanwhile, does no harm: a key has one
content, ever.

A file that is not there is not made: the name of such an object was durable before it was begun. Its object was evicted
or freed; or the disk of the cache is not mounted, and then the row stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from vfs.core import Clock, Kelp
from vfs.errors import KelpError
from vfs.metadata.database import Database
from vfs.metadata.redo import RedoRow
from vfs.model import Done
from vfs.storage.object_store import ObjectStore, Redoing, redoing

log = logging.getLogger(__name__)

_LARGEST = 16 * 1024  # bytes
_PATIENCE = 2.0  # seconds: a row that is still there then is no living process's, most of the time
_AT_ONCE = 100  # rows that are looked at in one transaction


def is_for(kelp: Kelp, size: int) -> bool:
    """An object of so many bytes may be synced later: its bytes go with the commit that shows it."""
    return size <= _LARGEST and kelp.database.is_near and kelp.late_syncs.takes_more


def run(kelp: Kelp) -> Done:
    """A batch: rows that nobody comes back for. Raises StoreUnavailable, NoSpace."""
    with kelp.database.read() as tx:
        before = tx.redo.all()
    if not before:
        return Done()
    time.sleep(_PATIENCE)
    return redo(kelp.database, kelp.cache, kelp.clock, before.__contains__)


def at_start(database: Database, cache: ObjectStore, clock: Clock) -> None:
    """Before anybody reads: what does not read as it should. Most rows are of processes that live, whose files are in
    the memory of the machine and wait for their sync: those are theirs, or the batch's, as is what cannot be done now.
    """
    try:
        done = redo(database, cache, clock, spoilt=True)
    except KelpError as error:
        log.warning("objects that may not be on the disk yet are left for later: %s", error)
        return
    if done.count:
        log.info("%d objects that may not have been on the disk yet were written again", done.count)


def redo(
    database: Database,
    cache: ObjectStore,
    clock: Clock,
    is_left: Callable[[RedoRow], bool] = lambda row: True,
    *,
    spoilt: bool = False,
) -> Done:
    """Of rows that are left; `spoilt`: only those that do not read as they should. Raises StoreUnavailable, NoSpace,
    when all that could be done is."""
    store = redoing(cache)
    if store is None or not database.is_near:
        return Done()
    after = count = 0
    failure: KelpError | None = None
    with database.read() as tx:
        last = tx.redo.last()  # others may add to them faster than they are written here
    while after < last:
        with database.read() as tx:
            page = tx.redo.page(after, _AT_ONCE)
        if not page:
            break
        after = page[-1][0].id
        left = [found for found in page if is_left(found[0])]
        looked = _Looked(store, _spoilt(cache, left) if spoilt else left)
        failure = failure or looked.failure
        with database.read() as tx:
            spare = set(tx.freeing.orphans([row.key for row in looked.absent], clock.now_ns()))
        settled = [*looked.written, *looked.unwanted, *(row for row in looked.absent if row.key in spare)]
        if settled:
            forget(database, settled)
        count += len(looked.written)
    if failure is not None:
        raise failure
    return Done(count)


def forget(database: Database, rows: Sequence[RedoRow]) -> None:
    """It need not be durable: a row that comes back is found again."""
    with database.deferring(), database.write(quiet=True) as tx:
        tx.redo.forget(rows)


_Row = tuple[RedoRow, bytes, bool]  # as `RedoObjects.page` has them


def _spoilt(cache: ObjectStore, page: Sequence[_Row]) -> list[_Row]:
    return [(row, data, is_wanted) for row, data, is_wanted in page if not (is_wanted and _reads(cache, row.key, data))]


def _reads(cache: ObjectStore, key: str, data: bytes) -> bool:
    """Whoever reads the object gets these bytes, be they on the disk or not."""
    try:
        return b"".join(cache.get(key)) == data
    except KelpError:
        return False


class _Looked:
    """Rows whose files have their bytes, durably; that have no file; that nobody wants; and what went wrong."""

    def __init__(self, store: Redoing, page: Sequence[_Row]) -> None:
        self.written: list[RedoRow] = []
        self.absent: list[RedoRow] = []
        self.unwanted: list[RedoRow] = []
        self.failure: KelpError | None = None
        for row, data, is_wanted in page:
            try:
                kind = self.unwanted if not is_wanted else self.written if store.redo(row.key, data) else self.absent
            except KelpError as error:  # perhaps of this file alone
                self.failure = error
            else:
                kind.append(row)
