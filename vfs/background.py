"""Work that nobody waits for: a few threads, one run of a thing at a time, dropped when there is too much of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from vfs.errors import KelpError

log = logging.getLogger(__name__)

_THREADS = 2
_MOST = 256  # actions that wait
_CLOSING = 5.0  # seconds that `close` waits for what runs


class Background:
    """Of one process; its threads begin with the first action. Whoever forks closes it before."""

    def __init__(self, threads: int = _THREADS, most: int = _MOST) -> None:
        self._most = most
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._running: set[Hashable] = set()
        self._resting = 0
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, key: Hashable, action: Callable[[], None], *, always: bool = False) -> bool:
        """Run `action` soon; False when it is dropped: `key` waits or runs already, too much waits, or it is closed.

        `always`: also when too much waits. What it raises is logged.
        """
        with self._changed:
            is_full = len(self._waiting) >= self._most and not always
            if self._closed or key in self._waiting or key in self._running or is_full:
                return False
            self._waiting[key] = action
            if not self._resting and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._run, name="kelp-background", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
            return True

    def wait(self, seconds: float) -> bool:
        """Until nothing is left to do; False when it takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._running, seconds)

    def close(self) -> None:
        """Drop what waits, and let what runs come to its end."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        until = time.monotonic() + _CLOSING
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._resting += 1
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._resting -= 1
                if self._closed:
                    return
                key, action = self._waiting.popitem(last=False)
                self._running.add(key)
            try:
                action()
            except KelpError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("in the background")
            finally:
                del action
                with self._changed:
                    self._running.discard(key)
                    self._changed.notify_all()
