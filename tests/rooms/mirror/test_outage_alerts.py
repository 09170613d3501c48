"""An outage of the NAS is one alert and its end another, whoever sees it; a machine that lost its mount is told of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import pytest

from tests.mirror_drive import MirrorDrive, StagedNas
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import NasDown
from vfs.operations import alerts, nas_outage, nas_state
from vfs.operations.nas_outage import lost, reached
from vfs.operations.nas_state import NasState

SECOND = 1_000_000_000
UP = NasState(True, "", 0)
GONE = NasDown("it does not answer", "ESTALE")


def told(kelp: Kelp) -> list[tuple[str, str, bool, int]]:
    """(subject, message, is over, count) of each alert, oldest first."""
    return [
        (each.subject, each.message, each.closed_ns is not None, each.count)
        for each in reversed(alerts.listing(kelp, only_open=False))
        if each.kind == "NAS_DOWN"
    ]


def test_one_alert_up_and_one_down(drive: MirrorDrive) -> None:
    drive.settle_down()
    for number in range(3):
        drive.put(f"f{number}")
    for _ in range(3):
        nas_outage.declare(drive.kelp, GONE)
    assert told(drive.kelp) == [("", "the NAS is down: it does not answer; changes wait, nothing is lost", False, 1)]
    assert not nas_outage.is_up(drive.kelp)
    drive.pass_time(75)
    for _ in range(3):
        assert nas_outage.probe(drive.kelp)
    assert told(drive.kelp) == [("", "the NAS is back after 75 s, 3 entries wait to be carried", True, 1)]
    assert nas_outage.is_up(drive.kelp) and nas_state.read(drive.kelp).away == {}


def test_while_nothing_changes_nothing_is_committed(drive: MirrorDrive) -> None:
    nas_outage.probe(drive.kelp)
    before = drive.kelp.database.version()
    nas_outage.probe(drive.kelp)
    assert drive.kelp.database.version() == before
    nas_outage.declare(drive.kelp, GONE)
    before = drive.kelp.database.version()
    for _ in range(10):
        drive.pass_time(60)
        nas_outage.declare(drive.kelp, GONE)
    assert drive.kelp.database.version() == before


@contextmanager
def machines(drive: MirrorDrive, count: int) -> Iterator[list[Kelp]]:
    with ExitStack() as undo:
        opened = [build(drive.settings, clock=drive.clock) for _ in range(count)]
        for each in opened:
            undo.callback(each.close)
        yield opened


def at_once(actions: Sequence[Callable[[], object]]) -> None:
    ready = threading.Barrier(len(actions))
    failures: list[BaseException] = []

    def run(action: Callable[[], object]) -> None:
        ready.wait()
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_many_see_it_at_once(drive: MirrorDrive) -> None:
    with machines(drive, 6) as found:
        for _ in range(5):
            at_once([partial(nas_outage.declare, kelp, GONE, f"host{n}") for n, kelp in enumerate(found)])
            assert sum(not over for _, _, over, _ in told(drive.kelp)) == 1
            at_once([partial(nas_outage.probe, kelp, f"host{n}") for n, kelp in enumerate(found)])
            assert nas_state.read(drive.kelp).up
    assert [(subject, over, count) for subject, _, over, count in told(drive.kelp)] == [("", True, 1)] * 5
    assert nas_state.read(drive.kelp).away == {}


# --- one machine lost its mount, the others reach the NAS ---


def test_a_machine_that_lost_its_mount_parks_its_own_jobs_and_is_told_of_once(drive: MirrorDrive) -> None:
    with machines(drive, 1) as (here,):
        staged = StagedNas(here.nas)
        away = _with_nas(here, staged)
        staged.before = _fail
        nas_outage.declare(away, GONE, "a")
        assert nas_outage.probe(drive.kelp, "b")
        for _ in range(60):  # five minutes
            drive.pass_time(5)
            assert not nas_outage.is_up(away, "a") and nas_outage.is_away(away, "a")
            assert nas_outage.is_up(drive.kelp, "b") and not nas_outage.is_away(drive.kelp, "b")
            assert not nas_outage.probe(away, "a")
            if nas_outage.needs_sign(nas_state.read(drive.kelp), drive.clock.now_ns()):
                assert nas_outage.probe(drive.kelp, "b")
        first, second = told(drive.kelp)
        assert first[0] == "" and first[2], "the outage of all was over at once"
        assert second[0] == "a" and not second[2] and second[3] == 1 and "cannot be reached from a" in second[1]
        staged.calm()
        assert nas_outage.probe(away, "a")
    assert told(drive.kelp)[1][1:3] == ("a reaches the NAS again, or runs no more", True)
    assert nas_outage.is_up(drive.kelp, "a")


def _with_nas(kelp: Kelp, nas: StagedNas) -> Kelp:
    return replace(kelp, nas=nas)  # type: ignore[arg-type]


def _fail(method: str, arguments: object) -> None:
    raise GONE


def test_when_the_others_are_silent_it_is_down_after_all() -> None:
    state = reached(lost(UP, "a", "gone", 0, full=False), "b", 5 * SECOND)
    assert state.up and set(state.away) == {"a"}
    later = lost(state, "a", "gone", 200 * SECOND, full=False)
    assert later.up and later.away == {"a": (5 * SECOND, 200 * SECOND)}
    assert not lost(later, "a", "gone", 400 * SECOND, full=False).up


def test_a_machine_that_runs_no_more_is_forgotten() -> None:
    state = reached(lost(UP, "a", "gone", 0, full=False), "b", 5 * SECOND)
    assert set(reached(state, "b", 300 * SECOND).away) == {"a"}
    assert reached(state, "b", 700 * SECOND).away == {}


def test_after_an_outage_of_all_each_has_its_time_to_find_out() -> None:
    state = lost(lost(UP, "a", "gone", 0, full=False), "b", "gone", 3 * SECOND, full=False)
    assert not state.up and set(state.away) == {"a", "b"}
    state = reached(state, "b", 900 * SECOND)
    assert state.up and state.away == {"a": (900 * SECOND, 900 * SECOND)}
    assert reached(state, "a", 903 * SECOND).away == {}


def test_a_state_of_an_older_kelp_is_understood() -> None:
    old = '{"up": false, "reason": "EIO", "since_ns": 5, "full": false}'
    assert nas_state.parse(old) == NasState(False, "EIO", 5) and nas_state.parse(None).up


@pytest.mark.parametrize("reason", ["ENOSPC", "EDQUOT"])
def test_after_full_there_must_be_room(drive: MirrorDrive, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nas_outage.declare(drive.kelp, NasDown("full", reason))
    monkeypatch.setattr(nas_state, "RESERVE", 1 << 60)
    assert not nas_outage.probe(drive.kelp)
    monkeypatch.undo()
    assert nas_outage.probe(drive.kelp)
