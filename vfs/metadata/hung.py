"""A server that does not answer and does not hang up either (stopped, or behind a network that drops everything).

The driver waits for ever. So somebody watches: when the time of a wait is over, the connection's socket is shut down,
and the driver tells of a lost connection, as it does for a server that died. Who then comes within moments is refused
at once: one request asks several times, and would wait as often.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks
_AGAIN = 5.0  # seconds after which a server that is at work is asked again
_DISTRUST = 3.0  # seconds after one that hung, in which nobody else tries


class Wire(Protocol):
    def fileno(self) -> int: ...


class _Watched(NamedTuple):
    wire: Wire
    doubt: float  # monotonic: when the server is asked whether it lives
    end: float  # … and when it is over, whatever it says


class Watchdog:
    """One per engine; its thread lives while something is watched, or was a moment ago."""

    def __init__(self, lives: Callable[[], bool]) -> None:
        """`lives` tells within few seconds whether the server answers others."""
        self._lives = lives
        self._waits: dict[int, _Watched] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._process = 0
        self._thread: threading.Thread | None = None
        self._hung_at = -_DISTRUST  # monotonic

    def over(self, wire: Wire, seconds: float, longest: float = 0.0) -> _Wait:
        """A context in which `wire` is waited for, at most `seconds`; up to `longest` while the server answers others:
        then it is at work."""
        if not self._thread_lives():
            self._begin()
        return _Wait(self._waits, wire, seconds, longest)

    def hung(self) -> None:
        """A new connection had no answer either."""
        self._hung_at = time.monotonic()

    @property
    def distrusts(self) -> bool:
        return time.monotonic() - self._hung_at < _DISTRUST

    def close(self) -> None:
        self._closing.set()

    def _thread_lives(self) -> bool:
        return self._thread is not None and self._process == os.getpid()

    def _begin(self) -> None:
        with self._guard:
            if not self._thread_lives():  # a forked child has none
                self._process = os.getpid()
                self._thread = threading.Thread(target=self._watch, name="kelp-hung", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK):
            now = time.monotonic()
            late = [(thread, wait) for thread, wait in list(self._waits.items()) if wait.doubt < now]
            for thread, wait in late:
                if wait.end < now:
                    self._cut(thread, wait)
            if not late:
                continue
            lives = self._lives()
            if lives:  # who was cut had waited for locks, one after the other: nobody else need suffer for that
                self._hung_at = -_DISTRUST
            for thread, wait in late:
                if wait.end >= now:
                    (self._trust if lives else self._cut)(thread, wait)

    def _trust(self, thread: int, wait: _Watched) -> None:
        if self._waits.get(thread) is wait:
            self._waits[thread] = wait._replace(doubt=time.monotonic() + _AGAIN)

    def _cut(self, thread: int, wait: _Watched) -> None:
        if self._waits.get(thread) is not wait:
            return  # the answer has just come
        del self._waits[thread]
        self.hung()
        log.error("the database has not answered in time: the connection is cut")
        # Whatever a driver says of a connection that has just been closed: this thread must go on.
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(wait.wire.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


class _Wait:
    """As a class: a generator costs more than the whole rest of it."""

    __slots__ = ("_longest", "_seconds", "_waits", "_wire")

    def __init__(self, waits: dict[int, _Watched], wire: Wire, seconds: float, longest: float) -> None:
        self._waits, self._wire, self._seconds, self._longest = waits, wire, seconds, longest

    def __enter__(self) -> None:
        now = time.monotonic()
        self._waits[threading.get_ident()] = _Watched(
            self._wire, now + self._seconds, now + max(self._seconds, self._longest)
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._waits.pop(threading.get_ident(), None)
