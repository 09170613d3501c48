"""How pyfuse3's tasks come by the kernel's next request.

By itself each of them waits for it by trio, and hands the descriptor to the next one by a fair lock: of a call that is
answered from memory that was most (43 µs of the processor, so 27). Here who has answered at once takes the next request
itself, which a program that asks for one thing after the other sends within a moment. Who has to wait for a thread lets
another task read, but not before there is something to read: mostly the thread is done by then. So the loop looks at
all the rest (timers, signals, what threads have done) some milliseconds later at most.

pyfuse3 has its event loop under the name `trio`, and puts another one there for asyncio: this takes the same place.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pyfuse3
import trio

# To sleep and be woken costs more than most answers: of 91 µs for a name that is known it was 40. So the next request
# is looked out for, as long as it is in vain only now and then.
_MOMENT = 100e-6  # seconds
_RAREST = 1024  # requests that have to come within a moment before the next try, after many that were in vain
_SOON = 1  # ms that the next request is waited for in which nothing else can happen
_MOST = 64  # requests in a row before the loop looks at what else there is …
_FEW = 4  # … and while threads are at work, whose answers come by it
_STAY = 5  # ms that a thread's answer is waited for in which nothing else can happen …
_ALONE = 1  # ms of them, at most, in which a request waits too
_OF_A_STAY = 4  # … which counts as so many requests


class Requests:
    """For one loop; in its thread only."""

    ClosedResourceError = trio.ClosedResourceError
    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)

    def __init__(self) -> None:
        self.lowlevel = self
        self._is_read = False  # by a task, which others leave it to
        self._idle: deque[trio.lowlevel.Task] = deque()
        self._away = 0
        self._in_a_row = 0
        self._prompt = 0  # requests that came within a moment each, while the loop slept
        self._required = 1  # so many of them, and the loop does not sleep
        self._readiness = select.poll()
        self._watched = -1
        self._bell = -1
        self._ringing = select.poll()
        self._either = select.poll()  # the next request, or the bell

    def install(self) -> None:
        """Before pyfuse3 serves the mount."""
        pyfuse3.trio = self  # type: ignore[attr-defined]

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what a task waits for: another one reads."""
        self._away += 1
        self._wake_one()
        try:
            yield
        finally:
            self._away -= 1

    @property
    def bell(self) -> int | None:
        """To be rung by a thread that is at work for this task, which may `stay`; None: other tasks wait too."""
        return self._bell if self._bell >= 0 and self._watched >= 0 and not self._away else None

    def stay(self, *, alone: bool = False) -> None:
        """Sleep until the bell rings, or a request comes, or the loop has to look at other things. `alone`: at first
        not for a request. Behind a removal the kernel tells that it has forgotten the file, often after the program has
        asked for the sync; to leave that to another task took more than what is left of the sync."""
        self._in_a_row += _OF_A_STAY
        if not (alone and self._ringing.poll(_ALONE)):
            self._either.poll(_STAY)

    def _wake_one(self) -> None:
        if self._idle and not self._is_read:
            trio.lowlevel.reschedule(self._idle.popleft())

    # --- what pyfuse3 asks of trio ---

    def Lock(self) -> Requests:  # noqa: N802  # trio's name
        return self

    async def __aenter__(self) -> None:
        while self._is_read:
            task = trio.lowlevel.current_task()
            self._idle.append(task)

            def leave(_raise_cancel: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._idle.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(leave)
        self._is_read = True

    async def __aexit__(self, *_: object) -> None:
        self._is_read = False  # nobody is woken: who reads has a request now, and mostly answers at once

    async def wait_readable(self, fd: int) -> None:
        """Raises ClosedResourceError when the mount ends."""
        if fd != self._watched:
            self._readiness.register(fd, select.POLLIN)
            self._either.register(fd, select.POLLIN)
            self._watched = fd
        self._in_a_row += 1
        if self._in_a_row < (_FEW if self._away else _MOST) and self._comes():
            return
        self._in_a_row = 0
        await trio.lowlevel.wait_readable(fd)

    def _comes(self) -> bool:
        """The next request is there, or comes soon."""
        if self._away:
            return bool(self._readiness.poll(0))
        until = time.perf_counter() + _MOMENT
        if self._prompt >= self._required:
            while time.perf_counter() < until:
                if self._readiness.poll(0):
                    self._required = 1
                    return True
            # Perhaps who asks has to do it on this processor, and could not.
            self._prompt, self._required = 0, min(2 * self._required, _RAREST)
        comes = bool(self._readiness.poll(_SOON))
        self._prompt = self._prompt + 1 if comes and time.perf_counter() < until else 0
        return comes

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator[_Nursery]:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        for poll in (self._either, self._ringing):
            poll.register(self._bell, select.POLLIN)
        try:
            async with trio.open_nursery() as nursery:
                yield _Nursery(self, nursery)
        finally:
            bell, self._bell = self._bell, -1
            for poll in (self._either, self._ringing):
                poll.unregister(bell)
            os.close(bell)


class _Nursery:
    """For tasks that read: when one ends, the next sees whether that is the end of all."""

    def __init__(self, requests: Requests, nursery: trio.Nursery) -> None:
        self._requests, self._nursery = requests, nursery

    def start_soon(self, task: Callable[..., Awaitable[None]], *arguments: object, name: str) -> None:
        self._nursery.start_soon(self._until_its_end, task, arguments, name=name)

    async def _until_its_end(self, task: Callable[..., Awaitable[None]], arguments: tuple[object, ...]) -> None:
        try:
            await task(*arguments)
        finally:
            self._requests._wake_one()
