"""Worker threads for what may wait, and the way back into the loop.

trio.to_thread does the same, and more: each call of it took 140 µs of the processor, one of these 29, and a file that
is made, written and closed is three of them.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio


class Threads:
    """At most `most` threads, made when they are needed. For one loop; its methods run in the loop's thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._under_way = 0  # calls that were handed over and have not come back
        self._made = 0

    async def run(self, action: Callable[[], Any]) -> Any:
        """What `action` answers, or raises. Who is cancelled meanwhile does not wait for it: when it has begun it goes
        on, and nobody hears of it; else it is never begun."""
        call = _Call(action, self)
        self._under_way += 1
        if self._under_way > self._made < self._most:
            self._made += 1
            threading.Thread(target=self._work, name=f"fuse {self._made}", daemon=True).start()
        self._waiting.put(call)
        await trio.lowlevel.wait_task_rescheduled(call.give_up)
        return call.answer()

    def back(self) -> None:
        self._under_way -= 1

    def _work(self) -> None:
        while True:
            self._waiting.get().carry_out()


class _Call:
    """`waits`: the task to go on with the answer; None: it does not wait any more."""

    __slots__ = ("_action", "_answer", "_context", "_error", "_threads", "_token", "_waits")

    def __init__(self, action: Callable[[], Any], threads: Threads) -> None:
        self._action = action
        self._threads = threads
        self._context = contextvars.copy_context()
        self._token = trio.lowlevel.current_trio_token()
        self._waits: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self._answer: Any = None
        self._error: BaseException | None = None

    def give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waits = None
        return trio.lowlevel.Abort.SUCCEEDED

    def answer(self) -> Any:
        error, self._error = self._error, None  # it has its frames, and they have this call
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._answer

    def carry_out(self) -> None:
        """In a worker thread."""
        if self._waits is not None:
            try:
                self._answer = self._context.run(self._action)
            except BaseException as error:
                self._error = error
        with suppress(trio.RunFinishedError):  # the mount has ended, nobody waits
            self._token.run_sync_soon(self._come_back)

    def _come_back(self) -> None:
        self._threads.back()
        task, self._waits = self._waits, None
        if task is not None:
            trio.lowlevel.reschedule(task)
