"""Cache and queue away: one alert after a minute, and one for the end."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.core.test_uploads_expire import Faulty
from vfs.core import Kelp
from vfs.errors import StoreUnavailable
from vfs.operations import alerts, away, backlog


def told(drive: Drive) -> list[tuple[str, bool, int]]:
    return [(each.kind, each.closed_ns is None, each.count) for each in alerts.listing(drive.kelp, only_open=False)]


def without(kelp: Kelp, fault: Any) -> Kelp:
    return replace(kelp, cache=Faulty(kelp.cache, "stat", fault))


def _fail(key: str) -> None:
    raise StoreUnavailable("no route")


def test_a_cache_that_is_away_for_a_minute(drive: Drive) -> None:
    broken = without(drive.kelp, _fail)
    for _ in range(4):
        away.look_at_cache(broken)
        drive.clock.advance(15)
    assert told(drive) == []
    for _ in range(4):
        away.look_at_cache(broken)
        drive.clock.advance(15)
    assert told(drive) == [("CACHE_AWAY", True, 1)] and "no route" in alerts.listing(drive.kelp)[0].message
    away.look_at_cache(drive.kelp)
    assert told(drive) == [("CACHE_AWAY", False, 1)]
    before = drive.kelp.database.version()
    away.look_at_cache(drive.kelp)
    away.look_at_queue(drive.kelp)
    assert drive.kelp.database.version() == before


def test_one_that_comes_back_at_once_is_not_told_of(drive: Drive) -> None:
    for _ in range(5):
        away.look_at_cache(without(drive.kelp, _fail))
        drive.clock.advance(30)
        away.look_at_cache(drive.kelp)
        drive.clock.advance(30)
    assert told(drive) == []


def test_a_cache_that_hangs_is_asked_by_one_thread_only(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "_CALL", 0.05)
    held = threading.Event()
    asked: list[str] = []

    def hang(key: str) -> None:
        asked.append(key)
        held.wait(60)

    for _ in range(6):
        away.look_at_cache(without(drive.kelp, hang))
        drive.clock.advance(15)
    assert len(asked) == 1 and told(drive) == [("CACHE_AWAY", True, 1)]
    held.set()
    for _ in range(100):
        away.look_at_cache(drive.kelp)
    assert told(drive) == [("CACHE_AWAY", False, 1)]


def test_a_queue_that_is_away_for_a_minute(drive: Drive) -> None:
    backlog.note_queue_away(drive.kelp, drive.clock.now)
    drive.clock.advance(50)
    away.look_at_queue(drive.kelp)
    assert told(drive) == []
    drive.clock.advance(20)
    for _ in range(3):
        away.look_at_queue(drive.kelp)
    assert told(drive) == [("QUEUE_AWAY", True, 1)]
    backlog.note_queue_away(drive.kelp, 0)
    away.look_at_queue(drive.kelp)
    assert told(drive) == [("QUEUE_AWAY", False, 1)]
