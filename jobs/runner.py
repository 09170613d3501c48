"""The jobs of an embedded drive, in threads of the serving process: mirror, heartbeat, sweep, housekeeping."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TextIO

from jobs import mirror, outage
from jobs.queue import InProcessQueue
from vfs import trace
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown
from vfs.operations import housekeeping, mirroring, nas_state

log = logging.getLogger(__name__)

_HEARTBEAT = 5.0  # seconds
_GATHER = 0.1  # seconds: 8 clients' small PUTs were slowed to a third by batches of two or three (measured)
_BURST = 1.0  # … and so long at most while changes keep coming: people wait for these, nobody for the NAS
_FLUSH_LIMIT = 120.0  # seconds that the final fsync of a file may take (design §5)
_HOUSEKEEPING = 60.0  # seconds between two rounds


class _Watch:
    """When each worker last came back from a system call on the NAS. Other threads use the NAS too (a read that falls
    through): only those between `begin` and `end` count."""

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._deadlines: dict[int, float] = {}

    def begin(self) -> None:
        self._deadlines[threading.get_ident()] = time.monotonic() + self._stall

    def progress(self) -> None:
        self._extend(self._stall)

    def flush(self) -> None:
        self._extend(_FLUSH_LIMIT)

    def end(self) -> None:
        self._deadlines.pop(threading.get_ident(), None)

    def _extend(self, seconds: float) -> None:
        me = threading.get_ident()
        if me in self._deadlines:
            self._deadlines[me] = time.monotonic() + seconds

    def stalled(self) -> bool:
        now = time.monotonic()
        return any(deadline < now for deadline in list(self._deadlines.values()))


class Runner:
    """Started once by `start`. Only one process runs the jobs of a data folder: a file lock decides who, and the
    kernel gives it on when that process dies."""

    def __init__(self, kelp: Kelp, queue: InProcessQueue) -> None:
        self._kelp = kelp
        self._queue = queue
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._watch = _Watch(kelp.settings.mirror.stall)
        self._lock: TextIO | None = None
        self._threads: list[threading.Thread] = []
        kelp.nas.on_progress = self._watch.progress
        kelp.nas.on_flush = self._watch.flush

    def start(self) -> None:
        self._spawn("jobs", self._lead)

    def stop(self, timeout: float = 10.0) -> None:
        """End after the running batch; what is left waits in the database."""
        self._stopping.set()
        self._queue.ring()
        until = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(until - time.monotonic(), 0.0))
        if self._lock is not None:
            self._lock.close()

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"kelp-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _lead(self) -> None:
        """Wait for the lock, then start the others."""
        path = self._kelp.settings.data / "jobs.lock"
        self._lock = path.open("w")
        while not self._stopping.is_set():
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mirroring.expire_all(self._kelp)
            except (OSError, KelpError) as error:
                if not isinstance(error, BlockingIOError):  # that one: another process runs the jobs
                    log.warning("the jobs cannot start yet: %s", error)
                self._stopping.wait(1.0)
                continue
            for number in range(self._kelp.settings.mirror.workers):
                self._spawn(f"mirror-{number}", partial(self._mirror, number))
            self._spawn("heartbeat", self._heartbeat)
            self._spawn("probe", self._probe)
            self._spawn("housekeeping", self._housekeeping)
            self._sweep()
            return

    def _guarded(self, what: str, action: Callable[[], object]) -> None:
        """A loop never ends by an error: what failed is logged and tried again in the next round."""
        try:
            with trace.under(trace.new_id(what)):
                action()
        except KelpError as error:
            log.warning("%s: %s", what, error)
        except Exception:
            log.exception("%s failed", what)

    def _mirror(self, number: int) -> None:
        """One worker. The first does everything as long as it keeps up: threads that share a lock with the requests
        slow them more than they help; the others join in for a backlog."""
        heard = 0
        worker = mirror.Worker(self._kelp, self._owner, self._stopping.is_set)
        while not self._stopping.is_set():
            self._watch.begin()
            self._guarded("mirror", partial(self._round, worker, number))
            self._watch.end()
            heard = self._queue.wait(heard, timeout=30.0)
            self._gather()

    def _round(self, worker: mirror.Worker, number: int) -> None:
        worker.give_back()  # also when nothing is due: what it still holds from a failed round blocks others
        if mirroring.is_due(self._kelp, number * mirror.BATCH + 1):
            worker.drain(self._gather)

    def _gather(self) -> None:
        """Let changes come together: a batch shares two commits and its folders' syncs. Not a stall."""
        self._watch.end()
        until = time.monotonic() + _BURST
        before, now = -1, self._queue.rings
        while before != now and time.monotonic() < until and not self._stopping.wait(_GATHER):
            before, now = now, self._queue.rings
        self._watch.begin()

    def _heartbeat(self) -> None:
        while not self._stopping.wait(_HEARTBEAT):
            self._guarded("heartbeat", lambda: mirroring.renew(self._kelp, self._owner))
            if self._watch.stalled():
                stalled = NasDown(f"no answer for {self._kelp.settings.mirror.stall:.0f} s", "ETIMEDOUT")
                self._guarded("heartbeat", lambda: outage.declare(self._kelp, stalled))  # noqa: B023

    def _probe(self) -> None:
        """A thread of its own: a probe may hang as long as the NAS does."""
        while True:
            self._guarded("probe", self._probe_once)
            if self._stopping.wait(self._kelp.settings.mirror.probe):
                return

    def _probe_once(self) -> None:
        if outage.is_up(self._kelp):
            nas_state.measure(self._kelp)
        elif not self._watch.stalled() and outage.probe(self._kelp):
            self._queue.ring()

    def _sweep(self) -> None:
        """Ring for what other processes committed, what was delayed, and what a dead worker left."""
        while not self._stopping.wait(self._kelp.settings.mirror.sweep):
            self._guarded("sweep", self._sweep_once)

    def _sweep_once(self) -> None:
        if mirroring.sweep(self._kelp):
            self._queue.ring()

    def _housekeeping(self) -> None:
        self._guarded("tidy", lambda: mirror.tidy(self._kelp))
        while not self._stopping.wait(_HOUSEKEEPING):
            self._guarded("housekeeping", lambda: housekeeping.run(self._kelp))


def start(kelp: Kelp) -> Runner:
    """Start the jobs of a drive whose queue is in-process."""
    if not isinstance(kelp.queue, InProcessQueue):
        raise TypeError("the jobs run in this process only with the in-process queue")
    runner = Runner(kelp, kelp.queue)
    runner.start()
    return runner
