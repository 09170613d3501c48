"""What may wait is carried out in worker threads, and comes back into the loop."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from functools import partial

import pytest

trio = pytest.importorskip("trio")
pytest.importorskip("trio.testing")
threads = pytest.importorskip("fuse_mount.threads")

PATIENCE = 60.0

_word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="")


def _loud(text: str) -> None:
    raise ValueError(text)


def test_answers_and_errors_come_back_with_who_asked() -> None:
    async def ask() -> None:
        some = threads.Threads(2)
        _word.set("mine")
        assert await some.run(_word.get) == "mine"
        assert await some.run(lambda: threading.current_thread().daemon)
        with pytest.raises(ValueError, match="no"):
            await some.run(partial(_loud, "no"))
        assert await some.run(lambda: 7) == 7

    trio.run(ask)


def test_no_more_threads_than_allowed_and_no_more_than_needed() -> None:
    names: list[str] = []
    both = threading.Barrier(2)

    def note(wait: Callable[[], object]) -> None:
        wait()
        names.append(threading.current_thread().name)

    async def ask() -> None:
        some = threads.Threads(2)
        for _ in range(5):
            await some.run(partial(note, lambda: None))
        assert len(set(names)) == 1
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(some.run, partial(note, partial(both.wait, PATIENCE)))

    trio.run(ask)
    assert len(names) == 11
    assert len(set(names)) == 2


def test_who_is_cancelled_does_not_wait_and_what_has_not_begun_never_does() -> None:
    here, free, done = threading.Event(), threading.Event(), threading.Event()
    begun: list[int] = []

    def slow() -> None:
        here.set()
        assert free.wait(PATIENCE)
        done.set()

    async def ask() -> None:
        some = threads.Threads(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(some.run, slow)
            while not here.is_set():
                await trio.sleep(0.001)
            nursery.start_soon(some.run, partial(begun.append, 1))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        free.set()
        assert await some.run(lambda: 7) == 7  # after both, in the same thread

    trio.run(ask)
    assert done.is_set()
    assert begun == []
