"""The short form of `make soak`: all of it but the hour, and what only an hour can tell of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.log_lines import unexpected
from tests.soak.running import Plan, soak
from tests.soak.watching import MIB, Sample, grown, slope

SECONDS = float(os.environ.get("SOAK_SECONDS", "24"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_people_at_work(tmp_path: Path) -> None:
    plan = Plan(seconds=SECONDS, check=SECONDS / 2, warm=0, people=4, pause=0.05, sample=1, judged=False)
    report = soak(plan, tmp_path / "soak", print)
    print(report.as_text())
    assert report.wrong == []
    assert report.did.total() > 100


# --- what judges must be right itself


def _hour(growth: float, wobble: float = 0.0) -> list[Sample]:
    """`growth` in MiB per hour."""
    every = range(0, 3600, 5)
    return [Sample(at, 0, int(MIB * (100 + growth * at / 3600 + wobble * (-1) ** (at // 60))), 10, 20) for at in every]


@pytest.mark.parametrize("growth", [0.0, 3.0, 12.0, -7.0])
def test_the_slope_is_that_of_the_memory(growth: float) -> None:
    rise = slope(_hour(growth, wobble=4), warm=900)
    assert rise.mib_per_hour is not None and rise.confidence is not None
    assert abs(rise.mib_per_hour - growth) < rise.confidence < 6
    exact = slope(_hour(growth), warm=900).mib_per_hour
    assert exact is not None and abs(exact - growth) < 0.01


def test_too_short_for_a_slope() -> None:
    assert slope(_hour(3.0)[:30], warm=0).mib_per_hour is None


def test_files_that_stay_open_are_seen() -> None:
    steady = _hour(0.0)
    leaking = [Sample(each.at, 0, 0, 10 + int(each.at / 100), 20) for each in steady]
    assert grown(steady, 600) == []
    assert len(grown(leaking, 600)) == 1 and "files" in grown(leaking, 600)[0]


def test_which_lines_of_a_log_are_told() -> None:
    head = "2026-11-21 10:00:00,000 {}    dav-1 vfs.x: "
    log = "\n".join(
        (
            head.format("INFO") + "harmless",
            head.format("WARNING") + "entry 1: planned anew",
            head.format("ERROR") + "PUT failed",
            "Traceback (most recent call last):",
            '  File "x.py", line 1, in <module>',
            "ValueError: x",
            head.format("INFO") + "harmless",
            "Exception ignored in: <function x>",
        )
    )
    found = unexpected(log)
    assert len(found) == 2
    assert "PUT failed" in found[0] and "ValueError: x" in found[0]
    assert "Exception ignored" in found[1]
