"""A file that is made, written and closed is one thing to carry: one event waits for the NAS and stands for all of it,
as long as nobody has begun to carry it. Where asking for it would be a round trip, each change has its own."""

from __future__ import annotations

import pytest

from jobs import plan
from tests import engines
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close
from vfs.operations import claiming

pytestmark = pytest.mark.skipif(engines.CHOSEN.database != "sqlite", reason="each change has an event of its own")


def events(drive: Drive) -> list[tuple[str, str]]:
    return [(type, status) for type, status in drive.sql("SELECT event_type, status FROM sync_events ORDER BY id")]


def altered(drive: Drive, change: str) -> None:
    with drive.kelp.database.write() as tx:
        tx.run(f"UPDATE sync_events SET {change}")


def written(drive: Drive, path: str, data: bytes) -> None:
    """The check finds nothing, and the NAS gets it."""
    assert drive.problems() == [] and drive.read(path) == data
    drive.mirror()
    assert drive.nas_files().popitem()[1] == data and drive.problems(mirrored=True) == []


def test_one_event_stands_for_all(drive: Drive, files: Files) -> None:
    handle = files.create("a", b"one")
    handle.flush()
    handle.write(3, b", two")
    handle.flush()
    close(handle)
    assert events(drive) == [("SYNC", "PENDING")]
    history = [event for (event,) in drive.sql("SELECT event FROM file_events WHERE event <> 'grant' ORDER BY id")]
    assert history == ["create", "write", "write"]
    written(drive, "a", b"one, two")


def test_not_for_what_comes_after_somebody_began_to_carry_it(drive: Drive, files: Files) -> None:
    handle = files.create("a", b"first")
    handle.flush()
    jobs, _ = claiming.claim(drive.kelp, "somebody", 10, plan.plan)
    assert len(jobs) == 1
    handle.write(0, b"other")
    close(handle)
    assert events(drive) == [("SYNC", "PROCESSING"), ("SYNC", "PENDING")]
    written(drive, "a", b"other")


@pytest.mark.parametrize("status", ["DONE", "FAILED", "CANCELLED"])
def test_not_by_an_event_that_does_not_wait(drive: Drive, files: Files, status: str) -> None:
    handle = files.create("a", b"some")
    altered(drive, f"status = '{status}', processed_ns = 1")
    close(handle)
    assert events(drive) == [("SYNC", status), ("SYNC", "PENDING")]


@pytest.mark.parametrize("change", ["retry_count = 1", "scheduled_ns = scheduled_ns + 9000000000", "litter = TRUE"])
def test_not_by_one_that_waits_for_something_else(drive: Drive, files: Files, change: str) -> None:
    handle = files.create("a", b"some")
    altered(drive, change)
    close(handle)
    assert len(events(drive)) == 2
    written(drive, "a", b"some")


def test_not_by_one_that_asked_for_something_else(drive: Drive, files: Files) -> None:
    handle = files.create("a", b"some")
    drive.move("a", "b")
    close(handle)
    assert [type for type, _ in events(drive)] == ["SYNC", "RENAME", "SYNC"]
    written(drive, "b", b"some")


@pytest.mark.parametrize(("name", "seconds"), [("a", 3), ("a.tmp", 30)])  # litter waits on from its last change
def test_not_by_one_of_long_ago(drive: Drive, files: Files, name: str, seconds: int) -> None:
    handle = files.create(name, b"some")
    drive.clock.advance(seconds)
    close(handle)
    assert len(events(drive)) == 2
    written(drive, name, b"some")


def test_who_puts_a_file_has_an_event_of_his_own(drive: Drive) -> None:
    drive.put("a", b"first")
    drive.put("a", b"second")
    assert len(events(drive)) == 2
