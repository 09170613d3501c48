"""What goes on beside the mirror in each process that runs jobs: heartbeat of leases, a look at the NAS, batches."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

from jobs import outage
from jobs.batches import BATCHES, Group, Rounds
from jobs.watch import Watch
from vfs import trace
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown
from vfs.operations import duties, mirroring, nas_outage, nas_state

log = logging.getLogger(__name__)

_HEARTBEAT = 5.0  # seconds
_AGAIN = 5.0  # seconds until the database is asked again that did not answer
_STALLS = 0.5  # seconds between two looks whether the NAS hangs: a stall and this are to be less than 15 (spec §5)


class Schedule:
    """Threads of one process; each goes on whatever fails in it, until `stopping`."""

    def __init__(
        self, kelp: Kelp, stopping: threading.Event, ring: Callable[[], object], works: Callable[[], bool]
    ) -> None:
        """`ring` is called when the NAS is back, so that what waits is looked at. `works`: leases are to be renewed."""
        self._kelp = kelp
        self._stopping = stopping
        self._ring = ring
        self._works = works
        self._told: frozenset[object] = frozenset()  # stalls for which the NAS was declared down
        self._threads: list[threading.Thread] = []
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.watch = Watch(kelp.settings.mirror.stall)
        kelp.nas.on_progress = self.watch.progress
        kelp.nas.on_flush = self.watch.flush

    def start(self, alone: bool) -> None:
        """`alone`: no other process runs jobs of this drive, nor can one be alive that did."""
        self._alone = alone
        self.spawn("heartbeat", self._heartbeat)
        self.spawn("probe", self._probe)
        for group in {batch.group for batch in BATCHES}:
            self.spawn(f"batches-{group}", partial(self._batches, group))

    def spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"kelp-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, timeout: float) -> None:
        """Wait for all threads, so long altogether."""
        until = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(until - time.monotonic(), 0.0))

    def guarded(self, what: str, action: Callable[[], object], trace_id: str = "") -> None:
        """A loop never ends by an error: what failed is logged and tried again in the next round."""
        try:
            with trace.under(trace_id) if trace_id else trace.round_of(what, what):
                action()
        except KelpError as error:
            log.warning("%s: %s", what, error)
        except Exception:
            log.exception("%s failed", what)

    def _heartbeat(self) -> None:
        renewed = time.monotonic()
        while not self._stopping.wait(_STALLS):
            self.guarded("heartbeat", self._tell_of_stalls)
            if time.monotonic() - renewed < _HEARTBEAT:
                continue
            renewed = time.monotonic()
            if self._works():  # a commit makes all processes forget what they have in memory
                self.guarded("heartbeat", lambda: mirroring.renew(self._kelp, self.owner))

    def _tell_of_stalls(self) -> None:
        """Once of each: where another machine still reaches the NAS, it says at once that it is up."""
        stalled = self.watch.stalled()
        if stalled - self._told:
            seconds = self._kelp.settings.mirror.stall
            outage.declare(self._kelp, NasDown(f"no answer for {seconds:.0f} s", "ETIMEDOUT"))
        self._told = stalled

    def _probe(self) -> None:
        """A thread of its own: a probe may hang as long as the NAS does."""
        while True:
            self.guarded("probe", self._probe_once)
            if self._stopping.wait(self._kelp.settings.mirror.probe):
                return

    def _probe_once(self) -> None:
        if outage.is_up(self._kelp):
            self._look()
        elif not self.watch.stalled() and outage.probe(self._kelp):
            self._ring()

    def _look(self) -> None:
        """Whoever works looks too, between two things: this is for when nobody does, or one takes long. What is open
        leads to what was unmounted, so its room says nothing of that."""
        try:
            self._kelp.nas.verify()
            nas_state.measure(self._kelp)
        except NasDown as error:
            outage.declare(self._kelp, error)
            return
        if nas_outage.needs_sign(nas_state.read(self._kelp), self._kelp.clock.now_ns()):
            outage.probe(self._kelp)

    def _batches(self, group: Group) -> None:
        """One process of all does them; which one matters to nobody."""
        rounds = Rounds(self._kelp, group)
        duty = duties.Duty(self._kelp, f"batches-{group}", self.owner, group.look, alone=self._alone)

        pause = 0.0

        def is_ours() -> bool:
            nonlocal pause
            pause = group.look
            try:
                if group.needs_nas and nas_outage.is_away(self._kelp):
                    duty.lay_down()  # other machines reach the NAS
                    return False
                ours = not self._stopping.is_set() and duty.has()
            except KelpError as error:  # nobody can say whose it is; the thread goes on
                log.debug("batches-%s: %s", group, error)
                pause = min(pause, _AGAIN)
                return False
            if ours:
                pause = min(pause, rounds.seconds_to_wait())
            return ours

        is_ours()
        while not self._stopping.wait(pause):
            rounds.run_due(is_ours)
            is_ours()
        self.guarded(f"batches-{group}", duty.lay_down)
