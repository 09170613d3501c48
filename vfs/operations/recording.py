"""What a job did on the NAS becomes what is recorded: the second of its two commits (design §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from vfs import metrics, trace
from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import EventType, Kind
from vfs.nas_model import Job, Recorded, Remove, Result, is_sealed
from vfs.operations import alerts, nas_settings
from vfs.operations.alerts import AlertKind
from vfs.operations.mirroring import SECOND

_CACHE_AWAY = 5 * SECOND  # so long what needs its bytes rests
_BEFORE = 1000  # nanoseconds: in this order


@retried
def record(
    kelp: Kelp,
    results: Sequence[Result],
    failures: Sequence[tuple[Result, str]] = (),
    waiting: Sequence[Result] = (),
    behind: Sequence[Result] = (),
) -> None:
    """One commit for what was done: places, versions, events; leases are given back.

    `failures`: entries that failed by a fault of their own, with the message; the next try is scheduled, or
    after the last the event is FAILED and the entry's NAS status ERROR. `waiting`: could not be done because the cache
    is away; their turn comes again in a few seconds, however often. `behind`: came after such a one and were not tried;
    then they go before it, in their order, since it may be that only its bytes cannot be had.
    """
    # After a power cut that undoes it, who settles the leases sees the same again on the NAS, which is synced.
    with kelp.database.deferring(makes=True), kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        every = [*results, *(failed for failed, _ in failures), *waiting, *behind]
        tx.lock_rows(ids := [result.job.situation.entry_id for result in every])
        seen = _Seen(tx.leases.alive([result.job.fence for result in every]), tx.mirror.recorded(ids))
        now = kelp.clock.now_ns()
        for result in results:
            final = result.done and result.job.final
            if not (_record_one(kelp, tx, seen, result, final=final) and final):
                tx.after_commit(metrics.MIRRORED.labels("put_off").inc)
                tx.events.put_off(result.job.situation.entry_id, now)
        for result, message in failures:
            with _under_its_request(result.job):
                _record_one(kelp, tx, seen, result)
                _fail(kelp, tx, result.job, message, now)
        for before, result in enumerate([*waiting, *reversed(behind)]):
            _record_one(kelp, tx, seen, result)
            tx.after_commit(metrics.MIRRORED.labels("put_off").inc)
            tx.events.put_off(result.job.situation.entry_id, now + _CACHE_AWAY - before * _BEFORE)
        _write(kelp, tx, seen)
        _cover(tx, seen.covered, now)
        tx.leases.release(*(result.job.fence for result in every))


def _under_its_request(job: Job) -> trace.Work:
    """One commit records what many requests caused; each finds its own part under its id."""
    return trace.under(job.trace_id or trace.current())


@dataclass(slots=True)
class _Seen:
    """Read once for a batch, under the locks: fences that are still alive, and what the rows say of the NAS; and what
    is to be written of all together."""

    fences: set[int]
    rows: dict[int, tuple[int | None, str | None, str | None]]
    found: list[tuple[int, Recorded, int]] = field(default_factory=list)  # see `Mirror.record_all`
    covered: list[Job] = field(default_factory=list)  # nothing of what they were asked for is left


def _record_one(kelp: Kelp, tx: Tx, seen: _Seen, result: Result, *, final: bool = False) -> bool:
    """False when somebody else took over, or the row no longer says what the plan was made from. `final`: with it the
    entry has what its events asked for."""
    situation = result.job.situation
    if result.job.fence not in seen.fences:
        return False
    if situation.kind == Kind.FOLDER and situation.recorded.spot is not None and result.recorded.spot is None:
        _write(kelp, tx, seen)
        _record_gone(kelp, tx, result.job)
        seen.rows = tx.mirror.recorded([*seen.rows])
    for uuid, seen_there in result.versions.items():
        tx.versions.record(uuid, seen_there, kelp.nas.properties.folds_case)
    if result.recorded != situation.recorded:
        spot = situation.recorded.spot
        planned = (spot.parent_id if spot else None, spot.name if spot else None, situation.recorded.content_id)
        if seen.rows.get(situation.entry_id) != planned:
            return False
        manifest = result.recorded.manifest
        if manifest is not None and manifest != situation.recorded.manifest and not is_sealed(situation.name):
            tx.manifests.mirrored(situation.entry_id, manifest)
        seen.found.append((situation.entry_id, result.recorded, situation.event_id if final else 0))
    elif final:
        tx.events.await_none({situation.entry_id: situation.event_id})
    if final:
        seen.covered.append(result.job)
    return True


def _write(kelp: Kelp, tx: Tx, seen: _Seen) -> None:
    """What was found so far, which is read again when a folder is gone."""
    tx.mirror.record_all(seen.found, kelp.nas.properties.folds_case)
    seen.found.clear()


def _cover(tx: Tx, jobs: Sequence[Job], now_ns: int) -> None:
    """One statement is for all of them; in the trace each has its own."""
    tx.events.cover({job.situation.entry_id: job.situation.event_id for job in jobs}, now_ns)
    tx.after_commit(partial(metrics.MIRRORED.labels("done").inc, len(jobs)))
    for job in jobs if trace.is_followed() else ():
        with _under_its_request(job), trace.span("db.sync_event_done"), trace.span("db.storage_available"):
            pass


def _record_gone(kelp: Kelp, tx: Tx, job: Job) -> None:
    """A folder is not on the NAS any more: nor is what was in it. Unless Kelp removed it, all of that is due again."""
    folder_id = job.situation.entry_id
    if not any(isinstance(step, Remove) for step in job.steps):
        now = kelp.clock.now_ns()
        for id, kind in tx.mirror.recorded_below(folder_id):
            tx.events.add(
                id, kind, EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip
    tx.mirror.unrecord_below(folder_id)


def _fail(kelp: Kelp, tx: Tx, job: Job, message: str, now_ns: int) -> None:
    """The next try is scheduled; after the last an admin is told: one alert for all entries, with the newest reason."""
    entry_id = job.situation.entry_id
    delays = nas_settings.read_in(kelp.settings, tx).retries
    tried = tx.events.retries(entry_id)
    if tried < len(delays):
        tx.after_commit(metrics.MIRROR_RETRIES.inc)
        tx.after_commit(metrics.MIRRORED.labels("retried").inc)
        tx.events.retry_later(entry_id, now_ns + int(delays[tried] * SECOND), message)
        return
    tx.after_commit(metrics.MIRRORED.labels("failed").inc)
    tx.events.fail(entry_id, tx.events.newest(entry_id) or 0, message, now_ns)
    path = tx.entries.logged_path(entry_id)
    hint = "`kelp status` counts them, `kelp sync retry --all` tries them again"
    alerts.open_in(kelp, tx, AlertKind.MIRROR_FAILED, f"not carried to the NAS: {path}: {message}; {hint}")
