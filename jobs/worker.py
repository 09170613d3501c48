"""The jobs of a drive whose queue is on Redis: one process of `kelp worker`. As many as one likes, on any machine.

RQ wakes it; what it then does is work off what is due in the database, whatever woke it. The same is done every few
seconds unasked (the sweep), so a Redis that is away, was flushed or lost a job costs time and nothing else. Leases in
the database keep workers apart, and who finds that of a dead one expired settles it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from redis import RedisError

from jobs import mirror, outage
from jobs.jobs_lock import JobsLock
from jobs.listener import Listener, calm_down
from jobs.redis_queue import Presence
from jobs.schedule import Schedule
from vfs.core import Kelp, QueueState
from vfs.operations import backlog, mirroring

log = logging.getLogger(__name__)

_GATHER = 0.1  # seconds that changes come together: a batch shares two commits and its folders' syncs
_TURN = 5.0  # seconds after which a job that never runs out of work ends, and the next begins
_RETRY = 1.0  # seconds between two tries to reach Redis
_BEAT, _TIDY = 5.0, 60.0  # seconds between two signs of life, and between two looks for dead workers
_STOP = 9.0  # seconds that the entry at work may still take


class QueueWorker:
    """Mirrors in one thread, so that an entry that hangs or takes hours holds up one process only."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._stopping = threading.Event()
        self._schedule = Schedule(kelp, self._stopping, self._look_now, lambda: self._mirror.works)
        self._mirror = mirror.Worker(kelp, self._schedule.owner, self._stopping.is_set)
        self._presence = Presence(self._note)
        self._listener: Listener | None = None
        self._attending = threading.Lock()  # held while one thread uses the listener that another one runs and closes
        self._look_at = 0.0  # monotonic: when to work without being asked, since something is due then
        self._swept = -math.inf

    def start(self) -> None:
        calm_down()
        self._schedule.spawn("mirror", self._run)
        self._schedule.spawn("redis", self._attend)
        self._schedule.start(alone=False)

    def stop(self) -> None:
        """End after the entry at work; what else was claimed is given back. One that takes too long keeps its lease,
        which then runs out."""
        self._stopping.set()
        self._schedule.join(_STOP)

    # --- the thread that works ---

    def _run(self) -> None:
        lock = JobsLock(self._kelp.settings)
        while lock.decides and not lock.take_together() and not self._stopping.wait(1.0):
            log.debug("another process runs the jobs of this drive alone: it has no queue.url")
        while not self._stopping.is_set():
            try:
                self._listen()
            except (RedisError, OSError) as error:
                self._presence.away(error)
            except Exception:
                log.exception("the worker lost its queue, and begins anew")
            self._work_unasked()
            self._stopping.wait(_RETRY)
        self._schedule.guarded("stop", self._mirror.give_back)
        lock.close()

    def _listen(self) -> None:
        """Run jobs as long as Redis is there. Raises RedisError."""
        queue = self._kelp.settings.queue
        listener = Listener(queue.url, queue.name, self._schedule.owner, {"mirror": self._job})
        try:
            listener.open()
            self._presence.there()
            self._listener = listener
            while not self._stopping.is_set():
                job = listener.take(self._seconds_to_wait())
                if job is not None:
                    listener.run(job)
                self._work_unasked()
        finally:
            with self._attending, suppress(RedisError, OSError):
                self._listener = None
                listener.close()

    def _seconds_to_wait(self) -> float:
        soonest = min(self._look_at, self._swept + self._kelp.settings.queue.sweep)
        return max(0.0, soonest - time.monotonic())

    def _job(self, entry_id: int, trace_id: str) -> None:
        self._schedule.guarded("mirror", self._turn, trace_id)

    def _work_unasked(self) -> None:
        now = time.monotonic()
        if now >= self._swept + self._kelp.settings.queue.sweep:
            self._swept = now
            self._schedule.guarded("sweep", self._sweep)
        if now >= self._look_at and not self._stopping.is_set():
            self._schedule.guarded("mirror", self._turn)

    def _sweep(self) -> None:
        """Look for what nobody queued, was lost on the way, or is left of a dead worker."""
        self._mirror.give_back()  # a round failed half-way, and nothing else may ever be due
        if mirroring.sweep(self._kelp):
            self._look_now()

    def _look_now(self) -> None:
        self._look_at = 0.0

    def _turn(self) -> None:
        """Work off what is due; not for ever, so that others are heard."""
        self._look_at = math.inf
        watch = self._schedule.watch
        watch.begin()
        try:
            self._mirror.give_back()  # what it still holds from a failed round blocks others
            if mirroring.is_due(self._kelp, 1):
                self._gather()
                self._mirror.drain(self._gather, until=time.monotonic() + _TURN)
        finally:
            watch.end()
        if outage.is_up(self._kelp):
            due_ns = backlog.next_due_ns(self._kelp)
            if due_ns is not None:
                self._look_at = time.monotonic() + max(0, due_ns - self._kelp.clock.now_ns()) / 1e9

    def _gather(self, is_full: bool = False) -> None:
        """Unless the last batch was full already."""
        if is_full:
            return
        watch = self._schedule.watch
        watch.end()
        self._stopping.wait(_GATHER)
        watch.begin()

    def _note(self, state: QueueState) -> None:
        self._schedule.guarded("queue", partial(backlog.note_queue_away, self._kelp, state.since_ns))

    # --- the thread that speaks with Redis ---

    def _attend(self) -> None:
        beaten = tidied = -math.inf
        while not self._stopping.wait(1.0):
            with self._attending:
                listener, now = self._listener, time.monotonic()
                if listener is None:
                    continue
                try:
                    listener.schedule()
                    if now - beaten >= _BEAT:
                        listener.beat()
                        beaten = now
                    if now - tidied >= _TIDY:
                        listener.tidy()
                        tidied = now
                except (RedisError, OSError) as error:
                    log.debug("Redis: %s", error)  # who waits for a job finds out too, and says so
                except Exception:
                    log.exception("what is to be done in Redis failed")


def run(kelp: Kelp, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Be one worker process until `stop`."""
    worker = QueueWorker(kelp)
    worker.start()
    ready()
    while not stop.wait(1.0):
        pass
    worker.stop()
