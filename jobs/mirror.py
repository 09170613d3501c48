"""Carry changes to the NAS: claim a batch, do its steps, record it; again until nothing is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from jobs import outage, settling, steps
from jobs.plan import plan
from vfs import trace
from vfs.core import Kelp
from vfs.errors import NasDown, ObjectMissing, StoreUnavailable
from vfs.nas_model import TEMPORARY, Job
from vfs.operations import claiming, mirroring

log = logging.getLogger(__name__)

BATCH = 32  # entries per commit: two commits and one sync of each folder are shared by so many


def drain(kelp: Kelp, owner: str, stop: Callable[[], bool] = lambda: False) -> int:
    """Work off everything that is due; the number of entries that came to their desired state.

    Returns early when the NAS goes down, or when `stop()` says so between two batches.
    """
    done = 0
    while not stop() and outage.is_up(kelp):
        try:
            kelp.nas.verify()
            settled = settle(kelp, owner)
            jobs, covered = claiming.claim(kelp, owner, BATCH, plan)
            done += covered + _batch(kelp, jobs)
        except NasDown as error:
            outage.declare(kelp, error)
            break
        if not jobs and not settled and not covered:
            break
    return done


def settle(kelp: Kelp, owner: str) -> int:
    """Find out how far abandoned jobs came, and record it; how many there were."""
    jobs = mirroring.take_over(kelp, owner, BATCH)
    for number, job in enumerate(jobs):
        try:
            at = settling.settle(kelp, job)
            kelp.nas.sync(_existing(kelp, at.folders))
        except NasDown:
            mirroring.abandon(kelp, jobs[number:])
            raise
        log.info("entry %s was left by a dead worker: settled", job.situation.entry_id)
        mirroring.record(kelp, [at.result(done=False)])
    return len(jobs)


def _batch(kelp: Kelp, jobs: Sequence[Job]) -> int:
    """Do the jobs one by one, sync the folders once, record all in one commit."""
    finished: list[steps.Progress] = []
    failed: list[tuple[steps.Progress, str]] = []
    vanished: list[steps.Progress] = []
    for number, job in enumerate(jobs):
        at = steps.Progress.of(job)
        try:
            kelp.nas.verify()
            with trace.under(f"mirror-{job.situation.entry_id}-{job.fence}"):
                for step in job.steps:
                    steps.run(kelp, step, at)
            finished.append(at)
        except steps.LostLease as error:
            log.warning("%s is another worker's now", error)
        except NasDown as error:
            outage.declare(kelp, error)
            mirroring.abandon(kelp, jobs[number:])
            break
        except steps.Vanished as error:
            log.warning("%s: planned anew", error)
            vanished.append(at)
        except Exception as error:
            # Whatever it is, it is this entry's: the others go on, it is tried again and then reported.
            _log_fault(job, error)
            failed.append((at, outage.reason(error)))
    return _record(kelp, finished, vanished, failed)


def _record(
    kelp: Kelp,
    finished: list[steps.Progress],
    vanished: list[steps.Progress],
    failed: list[tuple[steps.Progress, str]],
) -> int:
    every = finished + vanished + [at for at, _ in failed]
    if not every:
        return 0
    try:
        kelp.nas.sync(_existing(kelp, {folder for at in every for folder in at.folders}))
    except NasDown:
        mirroring.abandon(kelp, [at.job for at in every])
        raise
    mirroring.record(
        kelp,
        [at.result(done=True) for at in finished] + [at.result(done=False) for at in vanished],
        [(at.result(done=False), message) for at, message in failed],
    )
    return len(finished)


def _existing(kelp: Kelp, folders: set[str]) -> list[str]:
    """A folder that was removed by a later step of the batch needs no sync."""
    return [folder for folder in sorted(folders) if kelp.nas.stat(folder) is not None]


def _log_fault(job: Job, error: Exception) -> None:
    expected = isinstance(error, StoreUnavailable | ObjectMissing) or outage.is_entry_fault(error)
    log.warning("entry %s: %s", job.situation.entry_id, error, exc_info=None if expected else error)


def tidy(kelp: Kelp) -> int:
    """Remove temporary files that dead workers left on the NAS; how many."""
    if kelp.nas.stat(TEMPORARY) is None:
        return 0
    listed = [item.name for item in kelp.nas.list(TEMPORARY)]
    gone = mirroring.leftovers(kelp, listed)
    for name in gone:
        info = kelp.nas.stat(f"{TEMPORARY}/{name}")
        if info is not None and info.kind == "file":
            kelp.nas.remove(f"{TEMPORARY}/{name}")
    return len(gone)
