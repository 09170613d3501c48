"""The process beside a mount: what the mount needs comes first."""

from __future__ import annotations

import os
from pathlib import Path

from cli import companion
from tests.waiting import until


def test_it_steps_back_behind_the_mount(tmp_path: Path) -> None:
    told, here = tmp_path / "nice", os.nice(0)

    def work(hear: companion.Hear) -> None:
        told.write_text(f"{os.nice(0)}\n")
        hear(lambda: None)

    with companion.beside(work, None) as beside:
        beside.ring()
        until(lambda: told.exists() and told.read_text().endswith("\n"))
    assert int(told.read_text()) == min(here + 10, 19) and os.nice(0) == here
