"""Turns: of the threads that want to run Python, one does, the others sleep.

The interpreter's lock is given up at every system call and every SQL statement, and whoever takes it then keeps the
first one waiting: eight threads that each do a hundred of such small things were slower than one (GET of 4 KiB 2,600 →
4,500 a second, OPTIONS 4,400 → 8,600). So a thread takes the turn for a whole request, and gives it up where it really
waits: for a client, a disk's sync, a store, the commit of others. It is about speed alone: nothing is protected by it,
and whatever runs without it is right too.
"""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType

_LONGEST = 0.01  # seconds; who works longer lets others in between
_PATIENCE = 0.05  # … and after so long somebody who has it must be waiting for something: on without it


class _Held(threading.local):
    since = 0.0  # monotonic; 0: this thread does not have the turn


_held = _Held()
_turn = threading.Lock()


class hold:  # noqa: N801  # read as a statement: `with turns.hold():`
    """Have the turn for a block; nothing when this thread has it already."""

    __slots__ = ("_mine",)

    def __enter__(self) -> None:
        self._mine = not _held.since
        if self._mine:
            _take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._mine:
            _give()


class waiting:  # noqa: N801
    """Let others run during a block that waits; nothing when this thread does not have the turn."""

    __slots__ = ("_mine",)

    def __enter__(self) -> None:
        self._mine = bool(_held.since)
        if self._mine:
            _give()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._mine:
            _take()


def breathe() -> None:
    """Between two steps of long work: let others run when it has taken long already."""
    if _held.since and time.monotonic() - _held.since > _LONGEST:
        _give()
        time.sleep(0.0001)  # a lock that is taken again at once would not reach who waits for it
        _take()


def _take() -> None:
    if _turn.acquire(timeout=_PATIENCE):
        _held.since = time.monotonic()


def _give() -> None:
    if _held.since:
        _held.since = 0.0
        _turn.release()


def _forget() -> None:
    """A forked child has only the thread that forked."""
    global _turn
    _turn = threading.Lock()
    _held.since = 0.0


os.register_at_fork(after_in_child=_forget)
