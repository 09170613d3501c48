"""The jobs' own threads, with the real clock: what nobody rang for, a stop in the middle, an outage, one leader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobs import runner, shares
from jobs.queue import InProcessQueue
from tests import engines, waiting
from tests.mirror_drive import MirrorDrive, Pause
from vfs.bootstrap import build
from vfs.core import SystemClock
from vfs.errors import StoreUnavailable
from vfs.model import Place
from vfs.operations import backlog, mirroring, nas_health, nas_state, recording, writing
from vfs.operations.backlog import Waited

QUICK = {"mirror_sweep": 0.05, "mirror_probe": 0.05}


@pytest.fixture
def live(open_drive: Callable[..., MirrorDrive]) -> MirrorDrive:
    return open_drive(clock=SystemClock(), **QUICK)


@contextmanager
def running(drive: MirrorDrive) -> Iterator[None]:
    jobs = runner.start(drive.kelp)
    try:
        yield
    finally:
        jobs.stop()


@contextmanager
def ringing(drive: MirrorDrive) -> Iterator[None]:
    """As if somebody changed something all the time."""
    over = threading.Event()

    def ring() -> None:
        while not over.wait(0.01):
            drive.kelp.queue.enqueue("mirror", 0, "")

    with ThreadPoolExecutor(1) as thread:
        work = thread.submit(ring)
        try:
            yield
        finally:
            over.set()
        work.result()


# Not so long that the next small file is due on the NAS: a minute after the last.
until = partial(waiting.until, seconds=50.0)


def mirrored(drive: MirrorDrive) -> None:
    assert backlog.wait_until_mirrored(drive.kelp, 120, interval=0.02) is Waited.MIRRORED


def test_the_sweep_finds_what_another_process_committed(live: MirrorDrive) -> None:
    """Which has no queue at all; nor does one need to be rung for what was there before the start."""
    live.put("before the start")
    with running(live), closing(build(live.settings)) as other:
        writing.put_file(other, live.caller, Place(1, "by another process"), [b"x"])
        mirrored(live)
    live.check_mirrored()
    assert set(live.on_nas()) == {"before the start", "by another process"}


def test_stopped_in_the_middle_and_started_again(live: MirrorDrive) -> None:
    for number in range(70):
        live.put(f"f{number}")
    pause = Pause(lambda method, arguments: method == "sync")
    live.nas.before = pause
    with running(live):
        pause.wait()
        pause.resume()
    with running(live):
        mirrored(live)
    live.check_mirrored()
    assert len(live.on_nas()) == 70


def test_the_jobs_come_back_by_themselves_after_an_outage(live: MirrorDrive) -> None:
    away = live.root.with_name("away")
    with running(live):
        live.put("a")
        mirrored(live)
        live.root.rename(away)
        live.root.mkdir()
        live.put("b")
        while backlog.backlog(live.kelp).nas_up:
            assert backlog.wait_until_mirrored(live.kelp, 0.1, interval=0.02) is Waited.TIMED_OUT
        assert list(live.root.iterdir()) == []
        live.root.rmdir()
        away.rename(live.root)
        mirrored(live)
    live.check_mirrored()


def test_an_outage_is_noticed_though_nobody_uses_the_nas(live: MirrorDrive) -> None:
    """Long before the next small file is written there: by its marker."""
    away = live.root.with_name("away")
    with running(live):
        until(lambda: nas_health.read(live.kelp).last is not None)
        live.root.rename(away)
        live.root.mkdir()
        until(lambda: not nas_state.read(live.kelp).up)
        live.root.rmdir()
        away.rename(live.root)
        until(lambda: nas_state.read(live.kelp).up)


def test_the_jobs_of_one_data_folder_run_in_one_process(
    live: MirrorDrive, open_drive: Callable[..., MirrorDrive]
) -> None:
    second = open_drive(clock=SystemClock(), **QUICK)
    live.put("first")
    with running(live):
        mirrored(live)  # so it leads
        with running(second):
            calls: list[str] = []
            second.nas.before = lambda method, arguments: calls.append(method)
            second.put("f")
            mirrored(second)
            assert "write" not in calls
    live.check_mirrored()


@pytest.mark.skipif(engines.CHOSEN.database == "sqlite", reason="SQLite is on one machine")
def test_two_machines_run_the_jobs_of_one_database_together(live: MirrorDrive, tmp_path: Path) -> None:
    """The lock in the data folder holds on neither for the other: leases keep them apart, and none is taken away."""
    settings = live.settings
    elsewhere = {"database_url": settings.database.url, "cache_url": settings.cache.url, "nas_root": live.root}
    elsewhere |= {"cache_access_key": settings.cache.access_key, "cache_secret_key": settings.cache.secret_key}
    second = MirrorDrive(tmp_path / "second", clock=SystemClock(), **elsewhere, **QUICK)  # type: ignore[arg-type]
    for number in range(100):
        live.put(f"f{number}")
    written: list[str] = []
    with closing(second):
        for drive in (live, second):
            drive.nas.before = lambda method, arguments: written.append(arguments[0]) if method == "write" else None
        with running(live), running(second):
            mirrored(live)
    live.check_mirrored()
    assert len(written) == len(set(written)) == 100, "each was written once, by one of them"


def test_only_removals_are_waited_for_that_long(live: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = runner.Runner(live.kelp, InProcessQueue())
    jobs.stop()  # it was never started, and holds a lock's file
    long = (runner._BURST + runner._REMOVALS) / 2
    live.put("a")
    assert jobs._may_wait(0) and not jobs._may_wait(long), "there is something to be written"
    live.drain()
    live.trash("a")
    assert jobs._may_wait(0) and jobs._may_wait(long) and not jobs._may_wait(runner._REMOVALS)
    with monkeypatch.context() as patch:
        patch.setattr(mirroring, "_MANY", 1)
        assert not jobs._may_wait(long), "that many are looked at by who carries them, once"
    live.put("c")
    assert not jobs._may_wait(long)


def test_removals_that_never_cease_are_carried(live: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what comes to be written in between wait for their end."""
    monkeypatch.setattr(runner, "_BURST", 0.2)
    monkeypatch.setattr(runner, "_REMOVALS", 0.5)
    for name in ("a", "b"):
        live.put(name)
    live.drain()
    with running(live), ringing(live):
        for name in ("a", "b"):
            live.trash(name)
            mirrored(live)
            assert name not in live.on_nas()
        live.put("new")
        mirrored(live)
    live.check_mirrored()


@pytest.mark.engine(database="sqlite", reason="elsewhere it matters to nobody what the mirror does meanwhile")
def test_removals_that_go_on_after_a_rest_are_waited_for_again(
    live: MirrorDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = runner.Runner(live.kelp, InProcessQueue())
    jobs.stop()  # it was never started, and holds a lock's file
    waited: list[float] = []
    monkeypatch.setattr(jobs, "_gather", waited.append)
    monkeypatch.setattr(shares, "_QUIET", 60.0)
    live.put("a")
    live.drain()
    live.trash("a")
    long_ago, began = time.monotonic() - runner._REMOVALS, time.monotonic()
    jobs._go_on(began, True)
    assert waited == [began]
    jobs._go_on(long_ago, True)
    assert waited == [began], "they have waited long enough"
    jobs._go_on(long_ago, False)
    assert len(waited) == 2 and waited[1] >= began, "what comes now may come together"
    live.put("b")
    jobs._go_on(began, True)
    assert len(waited) == 2, "there is something to be written"
    live.trash("b")
    monkeypatch.setattr(shares, "_QUIET", 0.0)
    jobs._go_on(began, True)
    assert len(waited) == 2, "nobody removes anything any more"


@pytest.mark.parametrize("question", ["is_due", "record"])
def test_a_database_that_does_not_answer_once_stops_nothing(
    live: MirrorDrive, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Neither the thread, nor what it had claimed: that is settled though nothing else is due."""
    asked = recording if question == "record" else mirroring
    real, failed = getattr(asked, question), threading.Event()

    def silent_once(*arguments: Any, **options: Any) -> Any:
        if failed.is_set() or not threading.current_thread().name.startswith("kelp-mirror-"):
            return real(*arguments, **options)
        failed.set()
        raise StoreUnavailable("the database did not answer")

    monkeypatch.setattr(asked, question, silent_once)
    live.put("a")
    with running(live):
        assert failed.wait(60)
        assert isinstance(live.kelp.queue, InProcessQueue)
        live.kelp.queue.ring()
        mirrored(live)
    live.check_mirrored()


def test_nor_does_one_that_does_not_answer_while_removals_are_waited_for(
    live: MirrorDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_BURST", 0.0)
    real, silent = mirroring.only_removes, set[str]()

    def silent_once(kelp: Any) -> bool:
        name = threading.current_thread().name
        if name in silent:
            return real(kelp)
        silent.add(name)
        raise StoreUnavailable("the database did not answer")

    monkeypatch.setattr(mirroring, "only_removes", silent_once)
    live.put("a")
    live.drain()
    with running(live), ringing(live):
        until(lambda: len(silent) == live.settings.mirror.workers)
        live.trash("a")
        mirrored(live)
    live.check_mirrored()
