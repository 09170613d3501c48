"""The process beside a mount: what the mount needs comes first."""

from __future__ import annotations

import os
from pathlib import Path

from cli import companion
from tests.waiting import until


def test_it_steps_back_behind_the_mount_and_keeps_its_share(tmp_path: Path) -> None:
    """Starved while it holds the database's write lock, it would hold up the mount."""
    told, here = tmp_path / "told", (os.sched_getscheduler(0), os.nice(0))

    def work(hear: companion.Hear) -> None:
        told.write_text(f"{os.sched_getscheduler(0)} {os.nice(0)}\n")
        hear(lambda: None)

    with companion.beside(work, None) as beside:
        beside.ring()
        until(lambda: told.exists() and told.read_text().endswith("\n"))
    assert told.read_text().split() == [str(os.SCHED_BATCH), str(here[1])]
    assert (os.sched_getscheduler(0), os.nice(0)) == here
