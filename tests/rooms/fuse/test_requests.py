"""Tasks that take requests in turn: who answers at once goes on, who waits lets another read, and all end together."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable

import pytest

from tests.waiting import until
from vfs.errors import NotFound, StoreUnavailable

trio = pytest.importorskip("trio")
pytest.importorskip("trio.testing")
requests = pytest.importorskip("fuse_mount.requests")
bridge = pytest.importorskip("fuse_mount.bridge")

PATIENCE = 60.0


class Kernel:
    """Requests are bytes of a pipe; tasks are as pyfuse3's (`_session_loop`), at most three."""

    def __init__(self, *, hard: bool = False) -> None:
        self.requests = requests.Requests()
        self.bridge = bridge.Bridge(2, PATIENCE, hard=hard, requests=self.requests)
        self.work: Callable[[], object] = int  # what "t" has done in a thread
        self.mine, self.theirs = os.pipe()
        self.answered: list[tuple[bytes, str]] = []
        self.over = False
        self.later = trio.Event()
        self.tasks = self.readers = 0

    async def serve(self, nursery: object) -> None:
        name = self.requests.lowlevel.current_task().name
        while not self.over:
            self.readers += 1
            try:
                async with self.requests.Lock():
                    if self.over:
                        break
                    await self.requests.lowlevel.wait_readable(self.mine)
            finally:
                self.readers -= 1
            request = os.read(self.mine, 1)
            if not self.readers and self.tasks < 3:
                self.tasks += 1
                nursery.start_soon(self.serve, nursery, name=f"task {self.tasks}")  # type: ignore[attr-defined]
            if request == b"x":
                self.over = True
            elif request == b"w":
                with self.requests.waiting():
                    await self.later.wait()
            elif request == b"t":
                await self.bridge.work(self.work)
            self.answered.append((request, name))

    async def run(self) -> None:
        async with self.requests.open_nursery() as nursery:
            self.tasks = 1
            nursery.start_soon(self.serve, nursery, name="task 1")

    async def have_answered(self, count: int) -> None:
        with trio.fail_after(PATIENCE):
            while len(self.answered) < count:
                await trio.sleep(0.001)


def test_who_answers_at_once_takes_the_next_request_too() -> None:
    kernel = Kernel()
    os.write(kernel.theirs, b"a" * 200 + b"x")
    trio.run(kernel.run)
    assert [request for request, _ in kernel.answered] == [b"a"] * 200 + [b"x"]
    assert {name for _, name in kernel.answered} == {"task 1"}


def test_while_one_waits_another_reads_and_at_the_end_all_end() -> None:
    kernel = Kernel()

    async def ask() -> None:
        os.write(kernel.theirs, b"aw")
        await kernel.have_answered(1)
        os.write(kernel.theirs, b"bwc")
        await kernel.have_answered(3)
        assert [request for request, _ in kernel.answered] == [b"a", b"b", b"c"]
        kernel.later.set()
        await kernel.have_answered(5)
        os.write(kernel.theirs, b"x")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await kernel.run()

    trio.run(both)
    assert sorted(request for request, _ in kernel.answered) == [b"a", b"b", b"c", b"w", b"w", b"x"]


def gaps_between_turns(kernel: Kernel, count: int) -> list[int]:
    """How many of so many requests are answered between one turn of another task of the loop and the next one."""
    seen: list[int] = []

    async def look() -> None:
        while not kernel.over:
            seen.append(len(kernel.answered))
            await trio.lowlevel.checkpoint()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await kernel.run()

    trio.run(both)
    return [later - earlier for earlier, later in itertools.pairwise([*seen, count])]


def test_other_tasks_of_the_loop_have_their_turn_while_requests_come() -> None:
    kernel = Kernel()
    os.write(kernel.theirs, b"a" * 1000 + b"x")
    gaps = gaps_between_turns(kernel, 1001)
    assert max(gaps) <= 2 * 64  # the loop draws lots who of two goes first: at the worst last, then first


def test_while_a_thread_works_requests_are_answered() -> None:
    kernel, free = Kernel(), threading.Event()

    def work() -> None:
        assert free.wait(PATIENCE)

    def ask() -> None:
        os.write(kernel.theirs, b"atb")
        until(lambda: len(kernel.answered) == 2)
        os.write(kernel.theirs, b"tc")
        until(lambda: len(kernel.answered) == 3)
        free.set()
        until(lambda: len(kernel.answered) == 5)
        os.write(kernel.theirs, b"x")

    kernel.work = work
    asker = threading.Thread(target=ask)
    asker.start()
    trio.run(kernel.run)
    asker.join()
    assert [request for request, _ in kernel.answered] == [b"a", b"b", b"c", b"t", b"t", b"x"]


def test_other_tasks_have_their_turn_while_threads_work_for_one_request_after_the_other() -> None:
    kernel = Kernel()

    def ask() -> None:
        for number in range(100):
            os.write(kernel.theirs, b"t")
            while len(kernel.answered) <= number:
                threading.Event().wait(0.0005)
        os.write(kernel.theirs, b"x")

    asker = threading.Thread(target=ask)
    asker.start()
    gaps = gaps_between_turns(kernel, 101)
    asker.join()
    assert max(gaps) <= 2 * 64 // 4  # each of them counts as four that are answered at once


def test_requests_are_answered_however_soon_or_late_they_come() -> None:
    kernel = Kernel()

    def ask() -> None:
        for number, pause in enumerate([0.0] * 50 + [0.00005] * 50 + [0.0003] * 20 + [0.003] * 5 + [0.0] * 50):
            os.write(kernel.theirs, b"a")
            while len(kernel.answered) <= number:
                threading.Event().wait(0.00001)
            threading.Event().wait(pause)
        os.write(kernel.theirs, b"x")

    asker = threading.Thread(target=ask)
    asker.start()
    trio.run(kernel.run)
    asker.join()
    assert len(kernel.answered) == 176


def test_what_a_thread_raises_comes_back_and_what_is_away_is_waited_for() -> None:
    kernel, left, told = Kernel(hard=True), [StoreUnavailable("away", retry_after=0), NotFound("gone")], []

    def work() -> None:
        if left:
            raise left.pop(0)

    async def ask() -> None:
        async with kernel.requests.open_nursery():
            await kernel.requests.wait_readable(kernel.mine)
            os.read(kernel.mine, 1)
            try:
                await kernel.bridge.work(work)
            except NotFound as error:
                told.append(str(error))

    os.write(kernel.theirs, b"a")
    trio.run(ask)
    assert told == ["gone"]


def test_it_ends_with_the_descriptor() -> None:
    kernel = Kernel()

    async def close() -> None:
        await kernel.have_answered(2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        kernel.over = True
        kernel.requests.lowlevel.notify_closing(kernel.mine)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with pytest.raises(BaseExceptionGroup):
                await kernel.run()

    os.write(kernel.theirs, b"ab")
    trio.run(both)
    assert len(kernel.answered) == 2
