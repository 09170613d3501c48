"""What ends when its time is over: trash items, versions, memories of names.

Each is safe to run twice and to be killed in: every step is one small transaction (spec §6).
"""

from __future__ import annotations

import contextlib

from vfs import trace
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.metadata.retrying import retried
from vfs.model import Done, EventType, Kind
from vfs.operations import access, trashing

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_MEMORY_NS = 3600 * _SECOND
LIMIT = 500  # rows of one round: nobody waits for long


def expire_trash(kelp: Kelp) -> Done:
    """Purge trash items past their date. Bytes are those of files that lay in the trash by themselves."""
    with kelp.database.scan() as tx:
        due = tx.pruning.trash_due(kelp.clock.now_ns(), LIMIT)
    if not due:
        return Done()
    caller = access.system_caller(kelp, "batch")
    for uuid, _ in due:
        with contextlib.suppress(NotFound):  # someone restored or purged it meanwhile
            trashing.purge(kelp, caller, uuid)
    return Done(len(due), sum(size for _, size in due), more=len(due) == LIMIT)


def expire_versions(kelp: Kelp) -> Done:
    """Versions replaced longer ago than `versions.keep_days`; those that the NAS has then leave it by the mirror.

    Where every registration stays ("keep-dated"), only what expired otherwise goes: its file was deleted.
    """
    before = kelp.clock.now_ns() - kelp.settings.versions.keep_days * _DAY
    with kelp.database.scan() as tx:
        keeps = kelp.settings.drive.duplicates == "keep-dated"
        due = [] if keeps else tx.pruning.versions_due(before, LIMIT)
        off_nas = tx.pruning.versions_off_nas(LIMIT)
        on_nas = tx.pruning.versions_on_nas(LIMIT)
    if due or off_nas or on_nas:
        _let_versions_go(kelp, [uuid for uuid, _ in due], off_nas)
    return Done(len(due), sum(size for _, size in due), more=LIMIT in (len(due), len(off_nas), len(on_nas)))


@retried
def _let_versions_go(kelp: Kelp, due: list[str], off_nas: list[str]) -> None:
    now = kelp.clock.now_ns()
    with kelp.database.write() as tx:
        tx.pruning.expire_versions(due)
        tx.pruning.purge_versions([*off_nas, *due])
        for entry_id in tx.pruning.versions_on_nas(LIMIT):
            tx.events.add(
                entry_id, Kind.FILE, EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip


def forget_names(kelp: Kelp) -> Done:
    """Whose names were too long ago to matter."""
    before = kelp.clock.now_ns() - _MEMORY_NS
    with kelp.database.scan() as tx:
        due = tx.pruning.names_due(before, LIMIT)
    if due:
        with kelp.database.write() as tx:
            tx.pruning.forget_names(due, before)
    return Done(len(due), more=len(due) == LIMIT)
