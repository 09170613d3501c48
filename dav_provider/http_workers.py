"""The threads that answer requests: cheroot's pool, and some more for those that only wait for a slow client."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from cheroot.workers.threadpool import _SHUTDOWNREQUEST as END  # type: ignore[attr-defined]  # its stub is silent
from cheroot.workers.threadpool import ThreadPool, WorkerThread

if TYPE_CHECKING:
    from dav_provider.http_server import HttpServer


class _Worker(WorkerThread):
    def run(self) -> None:
        try:
            super().run()
        finally:
            del self.server.stats["Worker Threads"][self.name]  # or cheroot remembers every thread that ever was


class Workers(ThreadPool):
    """At most `count` threads work at the same time. For each that waits for its client inside a request there is
    another one, up to `most` in all: slow uploads and downloads keep nobody else from being answered.

    cheroot's own grows too, but stands still for 0.1 s meanwhile, and shrinks by ending whichever thread is idle, which
    the next wait of the same slow client would want back.
    """

    def __init__(self, server: HttpServer, count: int, most: int) -> None:
        super().__init__(server, min=count, max=most)
        # Connections of one request each: 3,700 → 4,900 a second, measured against cheroot's queue.Queue.
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.get = self._next
        self._threads: list[_Worker] = []
        self._guard = threading.Lock()
        self._aside = 0  # threads that wait for a client

    @property
    def crowded(self) -> bool:
        """Whether somebody waits for a thread."""
        return not self._queue.empty()

    def __enter__(self) -> None:
        """The calling thread waits for its client from now on."""
        with self._guard:
            self._aside += 1
            if len(self._threads) - self._aside < self.min:
                with contextlib.suppress(RuntimeError):  # the system gives no more threads: it goes on without
                    self.grow(1)

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._aside -= 1

    def grow(self, amount: int) -> None:
        for _ in range(min(amount, self.max - len(self._threads))):
            worker = _Worker(self.server)  # type: ignore[no-untyped-call]
            worker.name = worker.name.replace("Thread", "request")
            worker.start()
            self._threads.append(worker)

    def stop(self, timeout: float = 5) -> None:
        """What runs may finish for `timeout` seconds; then bodies are cut, which clients are told; then everything."""
        self.put(END)  # behind all that was put before
        done = self._join(timeout)
        for sending in (False, True):
            if not done:
                for connection in list(self.server.open_connections):
                    connection.cut(sending=sending)
                done = self._join(self.server.patience.answer)
        if done:
            for connection in list(self.server.open_connections):  # that were to be looked at again
                connection.close()

    def _next(self) -> Any:
        """What a thread gets when it is done with a connection: another one, or its end."""
        if self._is_one_too_many():
            return END
        job = self._queue.get()
        if job is END:
            self.put(END)  # for the next thread
        return job

    def _is_one_too_many(self) -> bool:
        if len(self._threads) <= self.min:
            return False
        with self._guard:
            if len(self._threads) - self._aside <= self.min:
                return False
            self._threads.remove(threading.current_thread())  # type: ignore[arg-type]  # nobody else asks
            return True

    def _join(self, seconds: float) -> bool:
        """Whether all threads have ended within `seconds`."""
        until = time.monotonic() + seconds
        while threads := [thread for thread in list(self._threads) if thread.is_alive()]:
            left = until - time.monotonic()
            if left <= 0:
                return False
            threads[0].join(left)
        return True
