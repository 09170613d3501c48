"""What nobody would ever carry to the NAS: found and queued again, whatever the bug, crash or clock that left it so."""

from __future__ import annotations

from vfs import trace
from vfs.core import Kelp
from vfs.metadata.retrying import retried
from vfs.model import Done, EventType, Kind
from vfs.operations import alerts, nas_settings
from vfs.operations.alerts import AlertKind

_SECOND = 1_000_000_000
_ABSURD_NS = 86_400 * _SECOND  # nothing waits so long, beyond the longest wait that is set
_YOUNG_NS = 60 * _SECOND  # a change under way is not looked at
_LIMIT = 500


def queue_again(kelp: Kelp) -> Done:
    """A batch: events scheduled absurdly far ahead are due now; entries and versions that differ from what the NAS is
    recorded to have, and that no event is open for, get one."""
    now = kelp.clock.now_ns()
    waits = nas_settings.read(kelp)
    horizon = now + _ABSURD_NS + int(max(waits.delay, *waits.retries, 0) * _SECOND)
    with kelp.database.scan() as tx:
        far = tx.events.any_scheduled_after(horizon)
        forgotten = tx.mirror.forgotten(now - _YOUNG_NS, _LIMIT)
    count = _pull_back(kelp, horizon, now) if far else 0
    if forgotten:
        count += _queue(kelp, forgotten, now)
    return Done(count)


def end_alert(kelp: Kelp) -> Done:
    """A batch: the alert about changes that FAILED ends when there is none any more."""
    with kelp.database.read() as tx:
        over = tx.alerts.is_open(AlertKind.MIRROR_FAILED) and not tx.events.any_failed()
    if over:
        alerts.close(kelp, AlertKind.MIRROR_FAILED, "all changes were carried to the NAS, or are tried again")
    return Done()


@retried
def _pull_back(kelp: Kelp, horizon: int, now: int) -> int:
    with kelp.database.write() as tx:
        tx.lock_mirror()
        return tx.events.schedule_now(horizon, now)


@retried
def _queue(kelp: Kelp, found: list[tuple[int, str]], now: int) -> int:
    """Those of them, under their locks, that still have no event."""
    count = 0
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        tx.lock_rows([id for id, _ in found])
        for id, kind in found:
            if tx.events.is_open(id) or tx.leases.held(id):
                continue
            count += 1
            tx.events.add(
                id, Kind(kind), EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip
    return count
