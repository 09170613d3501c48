"""Work that nobody waits for: done once for a key at a time, bounded, and over when the drive is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vfs.background import Background
from vfs.errors import StoreUnavailable


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background(threads=2, most=3)
    yield background
    background.close()


def test_it_is_done(background: Background) -> None:
    done: list[int] = []
    assert background.submit("a", lambda: done.append(1)) and background.wait(60)
    assert background.submit("a", lambda: done.append(2)) and background.wait(60)
    assert done == [1, 2]


def test_one_run_of_a_key_at_a_time_and_what_is_too_much_is_dropped(background: Background) -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        assert go.wait(60)

    assert background.submit(1, work) and background.submit(2, work)
    for _ in range(2):
        assert begun.acquire(timeout=60)
    assert not background.submit(1, work), "it runs"
    assert all(background.submit(n, work) for n in (3, 4, 5))
    assert not background.submit(3, work), "it waits"
    assert not background.submit(6, work), "too much waits"
    assert background.submit(7, work, always=True)
    assert not background.submit(7, work, always=True), "it waits"
    assert not background.wait(0.01)
    go.set()
    assert background.wait(60) and background.submit(1, work) and background.wait(60)


def test_what_fails_is_logged_and_others_go_on(background: Background, caplog: pytest.LogCaptureFixture) -> None:
    def away() -> None:
        raise StoreUnavailable("the cache is away")

    def broken() -> None:
        raise ZeroDivisionError

    done: list[int] = []
    background.submit("a", away)
    background.submit("b", broken)
    background.submit("c", lambda: done.append(1))
    assert background.wait(60) and done == [1]
    assert "the cache is away" in caplog.text and "ZeroDivisionError" in caplog.text


def test_closing_waits_for_what_runs_and_drops_what_waits() -> None:
    background = Background(threads=1)
    begun, done = threading.Event(), []

    def work() -> None:
        begun.set()
        threading.Event().wait(0.1)
        done.append("ran")

    background.submit("a", work)
    background.submit("b", lambda: done.append("waited"))
    assert begun.wait(60)
    background.close()
    assert done == ["ran"] and not background.submit("c", work)
    Background().close()
