"""What follows when something was deleted for good: what is below it, its versions, and months later its row.

Where there are vaults, what was deleted from the database leaves its log, too.

Each is safe to run twice and to be killed in: every step is one small transaction (spec §6).
"""

from __future__ import annotations

import contextlib
import time

from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.operations import access, trashing

_LIMIT = 500  # rows of one transaction
_ROUND = 2.0  # seconds of one round
_DAY = 86_400 * 1_000_000_000
_KEPT_DAYS = 90  # for so long, who asks for a deleted file is told that it was deleted


def spread_deletion(kelp: Kelp) -> Done:
    """A purge marks one row; what was below it, and is not a trash item of its own, follows here; with a vault, what
    lies in the trash of it too."""
    count = 0
    until = time.monotonic() + _ROUND
    while True:
        with kelp.database.scan() as tx:
            ids = tx.pruning.unspread(_LIMIT)
            below = tx.pruning.active_below(ids, _LIMIT) if ids else []
            lost = tx.pruning.trashed_in_vaults(ids, _LIMIT) if ids and not below else []
        if not ids:
            return Done(count)
        if lost:
            _purge_lost(kelp, lost)
            count += len(lost)
        elif below:
            _delete_below_deleted(kelp, below)
            count += len(below)
        else:
            _spread(kelp, ids)
        if time.monotonic() >= until:
            return Done(count, more=True)


def _purge_lost(kelp: Kelp, uuids: list[str]) -> None:
    """Each goes from the NAS by itself."""
    caller = access.system_caller(kelp, "batch")
    for uuid in uuids:
        with contextlib.suppress(NotFound):  # somebody else did
            trashing.purge(kelp, caller, uuid)


@retried
def _delete_below_deleted(kelp: Kelp, ids: list[int]) -> None:
    with kelp.database.write() as tx:
        tx.pruning.delete_below_deleted(ids)


@retried
def _spread(kelp: Kelp, ids: list[int]) -> None:
    with kelp.database.write() as tx:
        tx.pruning.spread(ids, kelp.clock.now_ns())


def forget_deleted(kelp: Kelp) -> Done:
    """Rows that were DELETED three months ago, or longer where finished changes are kept so long.

    Each goes when nothing refers to it any more. A folder's goes after those of what was in it, so while some went
    there may be more.
    """
    days = max(_KEPT_DAYS, kelp.settings.history.events_days)
    before = kelp.clock.now_ns() - days * _DAY
    until = time.monotonic() + _ROUND
    count, after = 0, (0, 0)
    while time.monotonic() < until:
        with kelp.database.scan() as tx:
            due = tx.pruning.deleted_before(before, after, _LIMIT)
            ids = tx.pruning.unreferred([id for _, id in due]) if due else []
        if not due:
            break
        if ids:
            _forget_entries(kelp, ids)
        count, after = count + len(ids), due[-1]
    return Done(count, more=count > 0)


@retried
def _forget_entries(kelp: Kelp, ids: list[int]) -> None:
    with kelp.database.write() as tx:
        if ids := tx.pruning.unreferred(ids):
            tx.pruning.forget_entries(ids)


def empty_log(kelp: Kelp) -> Done:
    """Where there are vaults: SQLite overwrites what is deleted, but its log has how a page was before."""
    with kelp.database.read() as tx:
        if not tx.vaults.any():
            return Done()
    size = kelp.database.empty_log()
    return Done(1 if size else 0, size)
