"""What ends when its time is over: trash items, versions, memories of names.

Each is safe to run twice and to be killed in: every step is one small transaction (spec §6).
"""

from __future__ import annotations

import contextlib

from vfs import trace
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.model import Done, EventType, Kind
from vfs.operations import access, trashing

_SECOND = 1_000_000_000
_MEMORY_NS = 3600 * _SECOND
_LIMIT = 500


def forget_names(kelp: Kelp) -> Done:
    """Whose names were too long ago to matter."""
    with kelp.database.write() as tx:
        return Done(tx.entries.forget_names(kelp.clock.now_ns() - _MEMORY_NS))


def expire_trash(kelp: Kelp) -> Done:
    """Purge trash items past their date."""
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        due = [row[0].uuid for row in tx.entries.trash() if row[3] <= now][:_LIMIT]
    if not due:
        return Done()
    caller = access.system_caller(kelp, "batch")
    for item in due:
        with contextlib.suppress(NotFound):  # someone restored or purged it meanwhile
            trashing.purge(kelp, caller, item)
    return Done(len(due))


def expire_versions(kelp: Kelp) -> Done:
    """Versions replaced longer ago than `versions.keep_days`; the mirror then takes them off the NAS."""
    now = kelp.clock.now_ns()
    with kelp.database.write() as tx:
        count = tx.versions.expire_before(now - kelp.settings.versions.keep_days * 86_400 * _SECOND, _LIMIT)
        tx.versions.purge_unmirrored()
        for entry_id in tx.versions.to_leave_nas(_LIMIT):
            tx.events.add(
                entry_id, Kind.FILE, EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip
    return Done(count)
