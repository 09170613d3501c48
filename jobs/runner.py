"""The jobs of an embedded drive, in threads of the serving process: mirror, sweep, and what `schedule` does."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from jobs import mirror
from jobs.jobs_lock import JobsLock
from jobs.queue import InProcessQueue
from jobs.schedule import Schedule
from jobs.shares import BATCH, Shares
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.operations import mirroring

log = logging.getLogger(__name__)

_GATHER = 0.1  # seconds: 8 clients' small PUTs were slowed to a third by batches of two or three (measured)
_BURST = 1.0  # … and so long at most while changes keep coming: people wait for these, nobody for the NAS
# … or so long while they only take away: no second copy of anything is late by it, and to carry them at once made each
# removal a third slower (measured: 944 a second instead of 1,284). In one run of 5,000 whose folder was synced after
# each, about 310 a second were left of 525 when it began after 5 s.
_REMOVALS = 20.0
_LOOK = 0.5  # seconds between two looks whether they still do, which is a look at each change that waits


class Runner:
    """Started once by `start`. Only one process runs the jobs of a data folder: a file lock decides who."""

    def __init__(self, kelp: Kelp, queue: InProcessQueue) -> None:
        self._kelp = kelp
        self._queue = queue
        self._stopping = threading.Event()
        self._workers: list[mirror.Worker] = []
        self._shares = Shares(kelp)
        self._schedule = Schedule(
            kelp, self._stopping, queue.ring, lambda: any(worker.works for worker in self._workers)
        )
        self._lock = JobsLock(kelp.settings)

    def start(self) -> None:
        self._schedule.spawn("jobs", self._lead)

    def stop(self, timeout: float = 10.0) -> None:
        """End after the entry at work; what is left waits in the database."""
        self._stopping.set()
        self._queue.ring()
        self._schedule.join(timeout)
        self._lock.close()

    def _lead(self) -> None:
        """Wait for the lock, then start the others."""
        while not self._stopping.is_set():
            try:
                leads = self._lock.take_alone()
                if leads and self._lock.decides:
                    mirroring.expire_all(self._kelp)
            except (OSError, KelpError) as error:
                leads = False
                log.warning("the jobs cannot start yet: %s", error)
            if leads:
                break
            self._stopping.wait(1.0)
        else:
            return
        for number in range(self._kelp.settings.mirror.workers):
            self._schedule.spawn(f"mirror-{number}", partial(self._mirror, number))
        self._schedule.start(alone=self._lock.decides)
        self._sweep()

    def _mirror(self, number: int) -> None:
        """One worker. The first does everything as long as it keeps up: threads that share a lock with the requests
        slow them more than they help; the others join in for a backlog."""
        heard = 0
        worker = mirror.Worker(self._kelp, self._schedule.owner, self._stopping.is_set, self._shares)
        self._workers.append(worker)
        watch, began = self._schedule.watch, time.monotonic()
        while not self._stopping.is_set():
            watch.begin()
            self._schedule.guarded("mirror", partial(self._round, worker, number, began))
            watch.end()
            heard = self._queue.wait(heard, timeout=30.0)
            began = time.monotonic()
            self._gather(began)

    def _round(self, worker: mirror.Worker, number: int, began: float) -> None:
        worker.give_back()  # also when nothing is due: what it still holds from a failed round blocks others
        if mirroring.is_due(self._kelp, number * BATCH + 1):
            worker.drain(partial(self._go_on, began))

    def _go_on(self, began: float, is_full: bool) -> None:
        """After a batch. Removals that go on after a short rest, in which the round began, have it wait again."""
        if not is_full:
            self._gather(time.monotonic())
        elif self._shares.others_change and self._may_wait(max(time.monotonic() - began, _BURST)):
            self._gather(began)

    def _gather(self, began: float) -> None:
        """Let changes come together: a batch shares two commits and its folders' syncs. Not a stall. `began`: since
        when they are waited for."""
        self._schedule.watch.end()
        before, now, next_look = -1, self._queue.rings, 0.0
        while before != now:
            waited = time.monotonic() - began
            if waited >= next_look:
                if not self._may_wait(waited):
                    break
                next_look = max(waited + _LOOK, _BURST)
            if self._stopping.wait(_GATHER):
                break
            before, now = now, self._queue.rings
        self._schedule.watch.begin()

    def _may_wait(self, waited: float) -> bool:
        """… for more to come together, after so many seconds."""
        if waited < _BURST:
            return True
        try:
            return waited < _REMOVALS and mirroring.only_removes(self._kelp)
        except Exception:  # a worker's thread never ends; what it does next asks the same database, and says so
            log.debug("nobody knows what waits for the mirror", exc_info=True)
            return False

    def _sweep(self) -> None:
        """Ring for what other processes committed, what was delayed, and what a dead worker left."""
        while not self._stopping.wait(self._kelp.settings.mirror.sweep):
            self._schedule.guarded("sweep", self._sweep_once)

    def _sweep_once(self) -> None:
        if mirroring.sweep(self._kelp):
            self._queue.ring()


def start(kelp: Kelp) -> Runner:
    """Start the jobs of a drive whose queue is in-process."""
    if not isinstance(kelp.queue, InProcessQueue):
        raise TypeError("the jobs run in this process only with the in-process queue")
    runner = Runner(kelp, kelp.queue)
    runner.start()
    return runner
