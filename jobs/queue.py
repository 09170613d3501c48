"""The in-process queue: a bell that wakes the mirror's threads. What is to be done stands in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vfs.core import QueueState


class InProcessQueue:
    """A JobQueue for an embedded drive. Delayed jobs are left to the sweep, which looks every second anyway."""

    def __init__(self) -> None:
        self._bell = threading.Condition()
        self._rings = 0

    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        self.ring()

    def state(self) -> QueueState:
        return QueueState()

    def ring(self) -> None:
        with self._bell:
            self._rings += 1
            self._bell.notify_all()

    @property
    def rings(self) -> int:
        """How often it rang so far."""
        with self._bell:
            return self._rings

    def wait(self, heard: int, timeout: float) -> int:
        """Wait until the bell rang more than `heard` times, at most `timeout` seconds; how often it rang so far."""
        with self._bell:
            self._bell.wait_for(lambda: self._rings > heard, timeout)
            return self._rings


class FarQueue(InProcessQueue):
    """… of a drive whose jobs are run by another process, which hears by `tell`; or by this one after all."""

    def __init__(self, tell: Callable[[], object]) -> None:
        super().__init__()
        self._tell = tell

    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        self._tell()
        self.ring()
