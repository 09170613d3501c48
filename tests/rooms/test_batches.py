"""How batches run: in turns, whatever fails, and in one process of all."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobs.batches import Batch, Group, Rounds, run_all
from tests import engines
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import StoreUnavailable
from vfs.model import Done
from vfs.operations.duties import Duty


@pytest.fixture
def kelp(tmp_path: Path) -> Iterator[Kelp]:
    with closing(build(engines.load(tmp_path / "data", nas_root=tmp_path / "nas"))) as kelp:
        yield kelp
    engines.drop_below(tmp_path)


@contextmanager
def another(kelp: Kelp) -> Iterator[Kelp]:
    with closing(build(kelp.settings)) as other:
        yield other


def batch(round: Callable[[Kelp], Done], name: str = "things", seconds: float = 0.0) -> Batch:
    return Batch(name, "objects freed", Group.QUICK, seconds, round, first=0)


def test_a_round_that_did_something_is_one_line_and_another_is_none(
    kelp: Kelp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run_all(kelp, [batch(lambda _: Done()), batch(lambda _: Done(3, 4096))])
    (record,) = caplog.records
    assert re.fullmatch(r"objects freed: 3, 4096 bytes, in \d+\.\d s", record.message)


def test_the_same_complaint_is_told_once_and_its_end_too(kelp: Kelp, caplog: pytest.LogCaptureFixture) -> None:
    faults: list[Exception | None] = [StoreUnavailable("away")] * 3 + [KeyError("surprise"), None, None]

    def work(_: Kelp) -> Done:
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return Done()

    rounds = Rounds(kelp, Group.QUICK, [batch(work)])
    while faults:
        rounds._due["things"] = 0.0
        rounds.run_due(lambda: True)
    assert [record.message for record in caplog.records] == ["things: away", "things failed", "things: works again"]


def test_a_batch_that_fails_holds_up_no_other(kelp: Kelp) -> None:
    done: list[str] = []

    def fail(_: Kelp) -> Done:
        raise StoreUnavailable("away")

    def work(_: Kelp) -> Done:
        done.append("work")
        return Done()

    table = [batch(fail, "a"), batch(work, "b")]
    rounds = Rounds(kelp, Group.QUICK, table)
    for _ in range(3):
        rounds.run_due(lambda: True)
    assert len(done) == 3 and rounds.seconds_to_wait() == 0.0
    run_all(kelp, table)
    assert len(done) == 4


def test_each_has_its_own_pause_which_settings_may_give(kelp: Kelp) -> None:
    done: list[str] = []
    table = [
        Batch(
            "a",
            "did a",
            Group.QUICK,
            lambda settings: settings.nas.health,
            lambda _: done.append("a") or Done(1),
            first=0,
        ),
        Batch("b", "did b", Group.QUICK, 30.0, lambda _: done.append("b") or Done(1)),
        Batch("c", "did c", Group.SLOW, 0.0, lambda _: done.append("c") or Done(1)),
    ]
    begun = time.monotonic()
    rounds = Rounds(kelp, Group.QUICK, table)
    for _ in range(3):
        rounds.run_due(lambda: True)
    assert done == ["a"]
    left = rounds.seconds_to_wait()
    assert 30 - (time.monotonic() - begun) <= left <= 30


def test_one_process_has_the_duty_and_another_takes_it_when_that_is_gone(kelp: Kelp) -> None:
    with another(kelp) as other:
        first, second = (Duty(k, "d", name, 60.0, alone=False) for k, name in ((kelp, "one"), (other, "two")))
        assert first.has() and not second.has()
        with kelp.database.write() as tx:  # the first one was killed: the row's time is over
            tx.accounts.set_value("duty:d", f"one {kelp.clock.now_ns() - 1}")
        first._looked = second._looked = -math.inf  # and each looks again
        assert second.has() and not first.has()
        second.lay_down()
        assert not first.has()
        first._looked = -math.inf
        assert first.has()


def test_a_duty_costs_one_commit_for_many_looks(kelp: Kelp) -> None:
    duty = Duty(kelp, "d", "me", 60.0, alone=False)
    assert duty.has()
    before = kelp.database.version()
    assert all(duty.has() for _ in range(100))
    assert kelp.database.version() == before
    assert Duty(kelp, "d", "me too", 60.0, alone=True).has() and kelp.database.version() == before
