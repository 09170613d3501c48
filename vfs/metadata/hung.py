"""A server that does not answer and does not hang up either (stopped, or behind a network that drops everything).

The driver waits for ever. So somebody watches: when the time of a wait is over, the connection's socket is shut down,
and the driver tells of a lost connection, as it does for a server that died.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from types import TracebackType
from typing import Protocol

log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks


class Wire(Protocol):
    def fileno(self) -> int: ...


class Watchdog:
    """One per engine; its thread lives while something is watched, or was a moment ago."""

    def __init__(self) -> None:
        self._waits: dict[int, tuple[float, Wire]] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._process = 0
        self._thread: threading.Thread | None = None

    def over(self, wire: Wire, seconds: float) -> _Wait:
        """A context in which `wire` is waited for, at most `seconds`."""
        return _Wait(self._waits, wire, seconds) if self._thread_lives() else self._begin(wire, seconds)

    def close(self) -> None:
        self._closing.set()

    def _thread_lives(self) -> bool:
        return self._thread is not None and self._process == os.getpid()

    def _begin(self, wire: Wire, seconds: float) -> _Wait:
        with self._guard:
            if not self._thread_lives():  # a forked child has none
                self._process = os.getpid()
                self._thread = threading.Thread(target=self._watch, name="kelp-hung", daemon=True)
                self._thread.start()
        return _Wait(self._waits, wire, seconds)

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK):
            now = time.monotonic()
            for thread, (deadline, wire) in list(self._waits.items()):
                if deadline < now and self._waits.pop(thread, None) is not None:
                    log.error("the database has not answered in time: the connection is cut")
                    _cut(wire)


class _Wait:
    """As a class: a generator costs more than the whole rest of it."""

    __slots__ = ("_seconds", "_waits", "_wire")

    def __init__(self, waits: dict[int, tuple[float, Wire]], wire: Wire, seconds: float) -> None:
        self._waits, self._wire, self._seconds = waits, wire, seconds

    def __enter__(self) -> None:
        self._waits[threading.get_ident()] = (time.monotonic() + self._seconds, self._wire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._waits.pop(threading.get_ident(), None)


def _cut(wire: Wire) -> None:
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(wire.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
