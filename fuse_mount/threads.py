"""Worker threads for what may wait, and the way back into the loop.

trio.to_thread does the same, and more: each call of it took 140 µs of the processor, one of these 29, and a file that
is made, written and closed is three of them.

While nothing else happens in the loop, it sleeps until the thread rings a bell (`Requests.stay`): going through all of
its rounds it would take the interpreter's lock from the thread, and the thread from it, again and again.
"""

from __future__ import annotations

import contextvars
import os
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
        self._waiting: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._under_way = 0  # calls that were handed over and have not come back
        self._made = 0

    async def run(self, action: Callable[[], Any]) -> Any:
        """What `action` answers, or raises. Who is cancelled meanwhile does not wait for it: when it has begun it goes
        on, and nobody hears of it; else it is never begun."""
        return await self.begin(action).wait()

    def begin(self, action: Callable[[], Any], bell: int | None = None) -> Call:
        """As `run`: a task has to `wait`, next or later. `bell`: an eventfd(2) that rings when it is done, until the
        task has called `leave`, which comes first then."""
        call = Call(action, self, bell)
        self._under_way += 1
        if self._under_way > self._made < self._most:
            self._made += 1
            threading.Thread(target=self._work, name=f"fuse {self._made}", daemon=True).start()
        self._waiting.put(call)
        return call

    def back(self) -> None:
        self._under_way -= 1

    def _work(self) -> None:
        while True:
            self._waiting.get().carry_out()


class Call:
    """`waits`: the task to go on with the answer, when one does."""

    __slots__ = (
        *("_action", "_answer", "_back", "_bell", "_context", "_error", "_given_up", "_is_done", "_rope", "_threads"),
        *("_token", "_waits"),
    )

    def __init__(self, action: Callable[[], Any], threads: Threads, bell: int | None) -> None:
        self._action = action
        self._threads = threads
        self._context = contextvars.copy_context()
        self._token = trio.lowlevel.current_trio_token()
        self._waits: trio.lowlevel.Task | None = None
        self._given_up = False
        self._answer: Any = None
        self._error: BaseException | None = None
        self._is_done = False  # as the thread says it
        self._back = False  # as the loop has heard it
        self._bell = bell
        self._rope = [] if bell is None else [bell]  # taken by one of two: who rings, or who does not listen any more

    def listen(self, bell: int) -> bool:
        """It was begun without a bell, and has one from now on, as in `begin`. True: there is an answer already, and it
        never rings."""
        self._bell = bell
        self._rope.append(bell)
        # The thread looks for the rope after it has said that it is done: so it rings, or that is seen here.
        if not self._is_done or self._back:
            return self._back
        with suppress(IndexError):  # in this moment it rings
            self._rope.pop()
            self._back = True
            return True
        return False

    def leave(self) -> bool:
        """The bell is not listened to any more. True: there is an answer."""
        if self._back:
            return True
        if self._rope:
            with suppress(IndexError):  # in this moment it is done
                self._rope.pop()
                return False
        if self._bell is None:
            return False
        os.eventfd_read(self._bell)
        self._threads.back()
        self._back = True
        return True

    async def wait(self) -> Any:
        if not self._back:
            self._waits = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.give_up)
        return self.answer()

    def give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waits, self._given_up = None, True
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
        if not self._given_up:
            try:
                self._answer = self._context.run(self._action)
            except BaseException as error:
                self._error = error
        self._is_done = True
        if self._rope:
            with suppress(IndexError):  # in this moment the loop has left it
                os.eventfd_write(self._rope.pop(), 1)
                return
        with suppress(trio.RunFinishedError):  # the mount has ended, nobody waits
            self._token.run_sync_soon(self._come_back)

    def _come_back(self) -> None:
        self._threads.back()
        self._back = True
        task, self._waits = self._waits, None
        if task is not None:
            trio.lowlevel.reschedule(task)
