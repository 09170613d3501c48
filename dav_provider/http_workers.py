"""The threads that answer requests: a few that work, and some more for those that only wait for a slow client."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """At most `count` threads work at the same time. For each that waits for its client inside a request there is
    another one, up to `most` in all: slow uploads and downloads keep nobody else from being answered."""

    def __init__(self, count: int, most: int, work: Callable[[T], None]) -> None:
        """`work` must not raise."""
        self._count = count
        self._most = max(count, most)
        self._work = work
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._aside = 0  # threads that wait for a client
        self._numbers = 0

    def start(self) -> None:
        with self._guard:
            for _ in range(self._count):
                self._add()

    def put(self, job: T) -> None:
        self._queue.put(job)

    @property
    def crowded(self) -> bool:
        """Whether somebody waits for a thread."""
        return not self._queue.empty()

    def __enter__(self) -> None:
        """The calling thread waits for its client from now on."""
        with self._guard:
            self._aside += 1
            if len(self._threads) - self._aside < self._count and len(self._threads) < self._most:
                self._add()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._aside -= 1

    def end(self) -> None:
        """The threads end once all that was put before is done."""
        self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Whether all threads have ended within `seconds`."""
        until = time.monotonic() + seconds
        while threads := [thread for thread in list(self._threads) if thread is not threading.current_thread()]:
            left = until - time.monotonic()
            if left <= 0:
                return False
            threads[0].join(left)
        return True

    def _add(self) -> None:
        self._numbers += 1
        thread = threading.Thread(target=self._run, name=f"request-{self._numbers}")
        self._threads.add(thread)
        thread.start()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            self._work(job)
            if self._is_one_too_many():
                return
        self._queue.put(None)  # for the next thread
        with self._guard:
            self._threads.discard(threading.current_thread())

    def _is_one_too_many(self) -> bool:
        if len(self._threads) <= self._count:
            return False
        with self._guard:
            if len(self._threads) - self._aside <= self._count:
                return False
            self._threads.discard(threading.current_thread())
            return True
