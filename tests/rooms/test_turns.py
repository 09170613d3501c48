"""One thread at a time has the turn, gives it up where it waits, and nobody starves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from vfs import turns

PATIENCE = 30


def started(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def take(seen: list[str], name: str) -> Callable[[], None]:
    def action() -> None:
        with turns.hold():
            seen.append(name)

    return action


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody goes on without the turn, though this thread is kept from the processor for a while."""
    monkeypatch.setattr(turns, "_PATIENCE", float(PATIENCE))


@pytest.mark.usefixtures("patient")
def test_others_wait_until_the_block_ends() -> None:
    seen: list[str] = []
    with turns.hold():
        other = started(take(seen, "other"))
        other.join(0.01)
        seen.append("first")
    other.join(PATIENCE)
    assert seen == ["first", "other"]


def test_nobody_waits_for_ever() -> None:
    """Who has the turn may hang in something that nobody knew could wait."""
    seen: list[str] = []
    with turns.hold():
        started(take(seen, "other")).join(PATIENCE)
        assert seen
        with turns.waiting():
            pass
    started(take(seen, "another")).join(PATIENCE)
    assert seen == ["other", "another"]


def test_others_run_while_it_waits() -> None:
    seen: list[str] = []
    with turns.hold(), turns.hold():
        other = started(take(seen, "other"))
        with turns.waiting(), turns.waiting():
            other.join(PATIENCE)
        seen.append("first")
    assert seen == ["other", "first"]


@pytest.mark.usefixtures("patient")
def test_what_is_inside_a_wait_may_take_the_turn_again() -> None:
    with turns.hold(), turns.waiting(), turns.hold():
        seen: list[str] = []
        other = started(take(seen, "other"))
        other.join(0.01)
        assert not seen
    other.join(PATIENCE)
    assert seen


def test_an_error_gives_the_turn_back() -> None:
    try:
        with turns.hold(), turns.waiting():
            raise OSError
    except OSError:
        pass
    seen: list[str] = []
    started(take(seen, "other")).join(PATIENCE)
    assert seen


def test_long_work_lets_others_in_between() -> None:
    seen: list[str] = []
    with turns.hold():
        other = started(take(seen, "other"))
        until = time.monotonic() + PATIENCE
        while not seen and time.monotonic() < until:
            turns.breathe()
        assert seen
    other.join(PATIENCE)


def test_a_forked_child_begins_anew() -> None:
    with turns.hold():
        child = os.fork()
        if not child:
            with turns.hold(), turns.waiting():
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_without_the_turn_nothing_happens() -> None:
    with turns.waiting():
        turns.breathe()
    seen: list[str] = []
    started(take(seen, "other")).join(PATIENCE)
    assert seen
