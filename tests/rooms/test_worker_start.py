"""`kelp worker` while it starts."""

from __future__ import annotations

import threading
from pathlib import Path

from cli import worker
from tests import engines, new_drive


class ToldMeanwhile(threading.Event):
    """Set by a signal that comes just after it was looked at."""

    def wait(self, timeout: float | None = None) -> bool:
        told = self.is_set()
        self.set()
        return told


def test_a_signal_while_it_looks_for_the_drive_is_not_lost(tmp_path: Path) -> None:
    new_drive.put_into(tmp_path)
    settings = engines.load(tmp_path / "data", nas_root=tmp_path / "nas")
    assert worker._drive_exists(settings, threading.Event())
    assert not worker._drive_exists(settings, ToldMeanwhile())
