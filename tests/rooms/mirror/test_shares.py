"""How many entries the mirror takes at a time: few while others change something, more while nobody does."""

from __future__ import annotations

import pytest

from jobs import shares
from jobs.shares import BATCH, SHARE, Shares
from tests.mirror_drive import MirrorDrive

embedded = pytest.mark.engine(database="sqlite", reason="where the database is a server nobody waits for its one lock")


@embedded
def test_shares_grow_when_nobody_else_changes_anything(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Shares(drive.kelp)
    assert mine.size() == SHARE, "nobody knows what was a moment ago"
    monkeypatch.setattr(shares, "_QUIET", 0.0)
    assert mine.size() == BATCH
    with drive.kelp.database.write():
        monkeypatch.setattr(shares, "_QUIET", 60.0)
    mine.committed()
    assert mine.size() == SHARE
    monkeypatch.setattr(shares, "_QUIET", 0.0)
    assert mine.size() == BATCH
    before = mine._heard
    with drive.kelp.database.write():
        pass
    mine.committed()
    assert mine.size() == BATCH and mine._heard == before, "it was the mirror's own"
    drive.put("a")
    assert mine.size() == BATCH and mine._heard > before, "it was somebody else's"


@embedded
def test_a_backlog_is_worked_off_in_both_sizes(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"f{number}" for number in range(3 * BATCH + 5)]
    for quiet in (60.0, 0.0):
        monkeypatch.setattr(shares, "_QUIET", quiet)
        for name in names:
            drive.put(name, f"{name} {quiet}".encode())
        assert drive.drain() == len(names)
        drive.check_mirrored()
