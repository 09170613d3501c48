"""Carry changes to the NAS: claim a batch, do its steps, record it; again until nothing is due."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from jobs import outage, settling, steps
from jobs.footing import LostLease, Overtaken, Progress, Vanished
from jobs.plan import plan
from jobs.shares import BATCH, Shares
from vfs import trace
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown, NasFault
from vfs.model import Done
from vfs.nas_model import (
    TEMPORARY,
    DropVersion,
    Job,
    MakeFolder,
    Move,
    MoveVersion,
    Remove,
    Secure,
    Step,
    Write,
    WriteVersion,
)
from vfs.operations import claiming, mirroring, recording, together
from vfs.operations.fences import Fences
from vfs.operations.together import Prepared

log = logging.getLogger(__name__)

_VERIFY_SECONDS = 1.0  # how old the last look at the marker may be; on a real NAS it costs round trips
_PAUSE = 0.0005  # seconds between two such commits, in which whoever waits takes the lock


class Worker:
    """One thread's share of the mirror."""

    def __init__(
        self, kelp: Kelp, owner: str, stop: Callable[[], bool] = lambda: False, shares: Shares | None = None
    ) -> None:
        """`shares`: of the process."""
        self._kelp = kelp
        self._owner = owner
        self._stop = stop
        self._shares = shares or Shares(kelp)
        self._held: Sequence[Job] = ()  # claimed and not given back: of a round that failed half-way

    def drain(self, gather: Callable[[bool], object] = lambda is_full: None, until: float = math.inf) -> int:
        """Work off everything that is due; the number of entries that came to their desired state.

        `gather` is called after each batch: after one that was not full (`is_full`), a steady stream of changes is to
        be taken in fuller ones.
        Returns early when the NAS goes down, when `stop()` says so between two entries, or between two batches after
        `until` (time.monotonic).
        """
        done = 0
        while not self._stop() and time.monotonic() < until and outage.is_up(self._kelp):
            try:
                self.give_back()
                self._kelp.nas.verify()
                settled = self._settle()
                jobs, covered = self._claim()
                done += covered + _batch(self._kelp, jobs, self._stop, self._shares)
                self._held = ()
            except NasDown as error:
                outage.declare(self._kelp, error)
                break
            if not jobs and not settled and not covered:
                break
            gather(len(jobs) + covered >= BATCH)
        return done

    def _claim(self) -> tuple[list[Job], int]:
        """A batch, and how many entries needed no work."""
        jobs: list[Job] = []
        covered = 0
        while len(jobs) + covered < BATCH:
            share = min(self._shares.size(), BATCH - len(jobs) - covered)
            more, done = claiming.claim(self._kelp, self._owner, share, plan, jobs)
            if more or done:
                self._shares.committed()
            self._held = jobs = [*jobs, *more]
            covered += done
            if len(more) + done < share:
                break
        return jobs, covered

    @property
    def works(self) -> bool:
        """It holds leases, which are to be renewed."""
        return bool(self._held)

    def give_back(self) -> None:
        """What a failed round left claimed (say, the database did not answer) is to be settled: this process lives
        on and renews its leases, so they would never run out."""
        if self._held:
            mirroring.abandon(self._kelp, self._held)
            self._held = ()

    def _settle(self) -> int:
        """Find out how far abandoned jobs came, and record it; how many there were."""
        jobs = mirroring.take_over(self._kelp, self._owner, BATCH)
        self._held = jobs
        for job in jobs:
            at, fault = _settled(self._kelp, job)
            log.info("entry %s was left by a dead worker: settled", job.situation.entry_id)
            result = at.result(done=False)
            recording.record(self._kelp, [] if fault else [result], [(result, fault)] if fault else [])
        self._held = ()
        return len(jobs)


def _settled(kelp: Kelp, job: Job) -> tuple[Progress, str]:
    """How far it came, and what kept us from seeing it; that is the entry's own fault, and uses up a retry."""
    try:
        at = settling.settle(kelp, job)
        kelp.nas.sync(_existing(kelp, at.folders))
    except NasDown:
        raise
    except Exception as error:
        _log_fault(job, error)
        return Progress.of(job), outage.reason(error)
    return at, ""


def drain(kelp: Kelp, owner: str, stop: Callable[[], bool] = lambda: False) -> int:
    """One `Worker.drain`, for a caller that keeps no worker."""
    worker = Worker(kelp, owner, stop)
    try:
        return worker.drain()
    finally:
        worker.give_back()


# The seeds' names of what is done there.
_SPANS: dict[type[Step], str] = {
    Write: "nas.upload", WriteVersion: "nas.upload", Move: "nas.move", MoveVersion: "nas.move",
    Remove: "nas.delete", DropVersion: "nas.delete", MakeFolder: "nas.mkdir",
}  # fmt: skip


@dataclass
class _Batch:
    """How far the jobs of a batch came."""

    finished: list[Progress] = field(default_factory=list)
    vanished: list[Progress] = field(default_factory=list)  # planned anew
    waiting: list[Progress] = field(default_factory=list)  # for the cache
    behind: list[Progress] = field(default_factory=list)  # not tried, since one of the batch waits for the cache
    failed: list[tuple[Progress, str]] = field(default_factory=list)

    @property
    def unfinished(self) -> list[Job]:
        return [at.job for at in self.every[len(self.finished) :]]

    @property
    def every(self) -> list[Progress]:
        return [*self.finished, *self.vanished, *self.waiting, *self.behind, *(at for at, _ in self.failed)]


def _batch(kelp: Kelp, jobs: Sequence[Job], stop: Callable[[], bool], shares: Shares) -> int:
    """Do the jobs one by one, sync the folders, record all in one commit. What `stop` leaves over is given back."""
    batch = _Batch()
    prepared = Prepared() if stop() else _prepared(kelp, jobs)
    if prepared is None:
        return 0
    verified, fences = time.monotonic(), Fences(kelp, jobs)
    if jobs:
        kelp.database.sync()  # their plans, before anything of them can be seen on the NAS
        prepared = prepared if stop() else _carried(kelp, jobs, fences, prepared)
        if prepared is None:
            return 0
    for number, job in enumerate(jobs):
        if stop():
            mirroring.abandon(kelp, jobs[number:])
            break
        at = Progress.of(job, prepared, fences)
        if batch.waiting and _needs_cache(job, prepared):  # each would wait as long as the first did
            batch.behind.append(at)
            continue
        try:
            _raise_if_away(job, prepared)
            if time.monotonic() - verified > _VERIFY_SECONDS:
                kelp.nas.verify()
                verified = time.monotonic()
            with trace.under(job.trace_id or f"mirror-{job.situation.entry_id}-{job.fence}"):
                for step in job.steps:
                    with trace.span(_SPANS.get(type(step), "nas.step"), entry=job.situation.entry_id, fence=job.fence):
                        steps.run(kelp, step, at)
            batch.finished.append(at)
        except LostLease as error:
            log.warning("%s is another worker's now", error)
        except NasDown as error:
            if outage.is_full(error):  # what waits takes no room
                _clear(kelp, jobs[number:], prepared)
            outage.declare(kelp, error)
            mirroring.abandon(kelp, jobs[number:])
            break
        except Vanished as error:
            log.log(logging.INFO if isinstance(error, Overtaken) else logging.WARNING, "%s: planned anew", error)
            batch.vanished.append(at)
        except Exception as error:
            _sort_out(batch, at, error)
    _clear(kelp, batch.unfinished, prepared)
    return _record(kelp, batch, shares)


def _prepared(kelp: Kelp, jobs: Sequence[Job]) -> Prepared | None:
    """None: the NAS is down, and they are given back."""
    try:
        return together.write(kelp, jobs)
    except NasDown as error:
        outage.declare(kelp, error)
        mirroring.abandon(kelp, jobs)
        return None
    except Exception as error:  # whatever it is, it is met again alone by the entry whose it is
        log.warning("nothing is written together: %s", error, exc_info=None if isinstance(error, KelpError) else error)
        return Prepared()


def _carried(kelp: Kelp, jobs: Sequence[Job], fences: Fences, prepared: Prepared) -> Prepared | None:
    """With what comes to its place, and goes, together; as `_prepared`."""
    try:
        prepared = replace(prepared, removed=together.remove(kelp, jobs, fences))
        return replace(prepared, placed=together.place(kelp, jobs, fences, prepared.written))
    except NasDown as error:
        if outage.is_full(error):  # what waits takes no room
            _clear(kelp, jobs, prepared)
        outage.declare(kelp, error)
        mirroring.abandon(kelp, jobs)
        return None
    except Exception as error:
        log.warning(
            "nothing comes or goes together: %s", error, exc_info=None if isinstance(error, KelpError) else error
        )
        return prepared


def _needs_cache(job: Job, prepared: Prepared) -> bool:
    return any(
        isinstance(step, Secure | WriteVersion) or (isinstance(step, Write) and step.temp not in prepared.written)
        for step in job.steps
    )


def _raise_if_away(job: Job, prepared: Prepared) -> None:
    for step in job.steps if prepared.away else ():
        if isinstance(step, Write) and step.temp in prepared.away:
            raise prepared.away[step.temp]


def _clear(kelp: Kelp, jobs: Iterable[Job], prepared: Prepared) -> None:
    """Temporary files of jobs that did not come to use them."""
    for job in jobs:
        for step in job.steps:
            if isinstance(step, Write) and step.temp in prepared.written:
                with suppress(KelpError):  # or `tidy` does
                    kelp.nas.remove(step.temp)


def _sort_out(batch: _Batch, at: Progress, error: Exception) -> None:
    """Unless a part of the drive is away, whatever it is is this entry's: the others go on, it is tried again and then
    reported."""
    _log_fault(at.job, error)
    if outage.is_outage(error):
        batch.waiting.append(at)
    else:
        batch.failed.append((at, outage.reason(error)))


def _record(kelp: Kelp, batch: _Batch, shares: Shares) -> int:
    every = batch.every
    if not every:
        return 0
    try:
        kelp.nas.sync(_existing(kelp, {folder for at in every for folder in at.folders}))
    except NasDown:
        mirroring.abandon(kelp, [at.job for at in every])
        raise
    results = [at.result(done=True) for at in batch.finished] + [at.result(done=False) for at in batch.vanished]
    while len(results) > (share := shares.size()):
        recording.record(kelp, results[:share])
        shares.committed()
        results = results[share:]
        time.sleep(_PAUSE)
    recording.record(
        kelp,
        results,
        [(at.result(done=False), message) for at, message in batch.failed],
        [at.result(done=False) for at in batch.waiting],
        [at.result(done=False) for at in batch.behind],
    )
    shares.committed()
    return len(batch.finished)


def _existing(kelp: Kelp, folders: set[str]) -> list[str]:
    """A folder that was removed by a later step of the batch needs no sync."""
    return [folder for folder in sorted(folders) if kelp.nas.stat(folder) is not None]


def _log_fault(job: Job, error: Exception) -> None:
    expected = outage.is_outage(error) or outage.is_entry_fault(error)
    log.warning("entry %s: %s", job.situation.entry_id, outage.reason(error), exc_info=None if expected else error)


def tidy(kelp: Kelp) -> Done:
    """Remove temporary files that dead workers left on the NAS, unless it is down."""
    if not outage.is_up(kelp) or kelp.nas.stat(TEMPORARY) is None:
        return Done()
    listed = [item.name for item in kelp.nas.list(TEMPORARY)]
    gone = mirroring.leftovers(kelp, listed)
    size = 0
    for name in gone:
        info = kelp.nas.stat(f"{TEMPORARY}/{name}")
        if info is not None:
            try:
                kelp.nas.remove(f"{TEMPORARY}/{name}")
                size += info.size if info.kind == "file" else 0
            except NasFault:  # a folder, whatever is in it; not one in which a bundle was made
                log.debug("%s in the temporary folder of the NAS stays", name)
    return Done(len(gone), size)
