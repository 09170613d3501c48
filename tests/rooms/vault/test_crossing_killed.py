"""SIGKILL while a file goes into a vault or out of it: it is here or there, whole, and what was stored is cleared."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.crash.died import died
from tests.rooms.core.drive import Drive
from tests.rooms.vault.drive import VAULT
from tests.rooms.vault.test_crossing import BIG, content_of, require_sealed
from vfs.operations import orphans

pytestmark = pytest.mark.slow

_MOST = 30  # instants that one has at most


@pytest.mark.parametrize(
    ("what", "source", "target"),
    [
        *(("move", "a.txt", f"{VAULT}/b.bin"), ("move", f"{VAULT}/a.txt", "b.bin")),
        ("copy", "a.txt", f"{VAULT}/b.bin"),
    ],
    ids=["move in", "move out", "copy"],
)
def test_killed_at_every_instant(
    plain_drive_with: Callable[..., Drive], what: str, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_ORPHAN_NS", -(10**12))
    drive = plain_drive_with()
    drive.put(source, BIG)
    drive.put(target, b"old")
    data, seen = drive.kelp.settings.data, set[str]()
    for number in range(1, _MOST):
        where = died("tests.rooms.vault.dying_in_crossing", data, what, source, target, number=number)
        drive.clock.now = time.time_ns()  # as for those who died: what they left to be carried is due by their time
        seen.add(where.partition(" ")[0])
        orphans.seek_orphans(drive.kelp)
        known = {row[0] for row in drive.sql("SELECT key FROM objects")}
        assert set(drive.objects()) == known
        if not where:
            break
        _require_either(drive, what, source, target)
    assert seen == {"", "put,", "before", "after"}
    assert drive.find(source) is None if what == "move" else drive.read(source) == BIG
    require_sealed(drive, target, BIG)


def _require_either(drive: Drive, what: str, source: str, target: str) -> None:
    there = drive.read(target)
    assert there in (b"old", BIG)
    assert (content_of(drive, target).seal is not None) == (drive.entry(target).vault_id is not None)
    if what == "copy" or there == b"old":
        require_sealed(drive, source, BIG)
    else:
        assert drive.find(source) is None
        drive.put(source, BIG)
        drive.put(target, b"old")
