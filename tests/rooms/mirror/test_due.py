"""When a change is carried: litter waits, faults of one entry are tried again, then reported, then superseded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.mirror_drive import MirrorDrive
from vfs.errors import NasFault, NotFound
from vfs.model import StoreStatus
from vfs.operations import backlog

LITTER = ("~$d.docx", ".~lock.d.odt#", ".DS_Store", "._d", "Thumbs.db", ".d.swp", "d.tmp", "d~")


def test_litter_waits_its_time_and_is_then_mirrored(drive: MirrorDrive) -> None:
    for name in LITTER:
        drive.put(name)
    drive.put("real")
    drive.drain()
    assert set(drive.on_nas()) == {"real"}
    assert backlog.wait_until_mirrored(drive.kelp, 5) is backlog.Waited.MIRRORED, "litter is not waited for"
    drive.pass_time(59)
    drive.drain()
    assert set(drive.on_nas()) == {"real"}
    drive.pass_time(2)
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"real", *LITTER}


@pytest.mark.parametrize("name", LITTER)
def test_litter_removed_in_time_needs_no_work(drive: MirrorDrive, name: str) -> None:
    entry = drive.put(name)
    drive.put(name, b"again")
    drive.pass_time(30)
    drive.remove(name)
    calls: list[str] = []
    drive.nas.before = lambda method, arguments: calls.append(method)
    drive.drain()
    drive.pass_time(100)
    drive.drain()
    assert set(drive.statuses(entry.id)) == {"CANCELLED"}
    assert "write" not in calls and drive.raw_nas(private=True).keys() <= {".kelp", ".kelp/drive.json", ".trash"}
    drive.nas.calm()
    drive.check_mirrored()


def test_litter_that_gets_a_real_name_is_mirrored_at_once(drive: MirrorDrive) -> None:
    drive.put("upload.tmp", b"bytes")
    drive.drain()
    drive.move("upload.tmp", "document")
    drive.drain()
    assert drive.on_nas() == {"document": b"bytes"}
    drive.check_mirrored()


def test_what_leaves_a_litter_folder_is_mirrored_at_once(drive: MirrorDrive) -> None:
    drive.mkdir("t.txt.sb-1a2b3c4d-Xy12Za")
    drive.put("t.txt.sb-1a2b3c4d-Xy12Za/t.txt", b"bytes")
    drive.drain()
    assert drive.on_nas() == {}
    drive.move("t.txt.sb-1a2b3c4d-Xy12Za/t.txt", "t.txt")
    drive.drain()
    assert drive.on_nas() == {"t.txt": b"bytes"}
    drive.remove("t.txt.sb-1a2b3c4d-Xy12Za")
    drive.check_mirrored()


def test_a_litter_folder_that_gets_a_real_name_is_mirrored_with_all_in_it(drive: MirrorDrive) -> None:
    drive.mkdir("build.tmp")
    drive.mkdir("build.tmp/deep")
    drive.put("build.tmp/deep/f", b"bytes")
    drive.drain()
    drive.move("build.tmp", "build")
    for _ in range(3):  # a folder at a time
        drive.drain()
        drive.pass_time(0.3)
    assert drive.on_nas() == {"build": None, "build/deep": None, "build/deep/f": b"bytes"}
    drive.check_mirrored()


def test_a_real_file_renamed_to_litter_leaves_its_nas_name_when_another_needs_it(drive: MirrorDrive) -> None:
    drive.put("d.docx", b"old")
    drive.settle_down()
    drive.move("d.docx", "d.tmp")
    drive.drain()
    assert set(drive.on_nas()) == {"d.docx"}
    drive.mkdir("d.docx")
    drive.drain()
    assert drive.on_nas()["d.docx"] is None or drive.on_nas()["d.docx"] == b"old"
    drive.pass_time(61)
    drive.check_mirrored()
    assert drive.on_nas() == {"d.docx": None, "d.tmp": b"old"}


# --- faults of one entry


def refuse(drive: MirrorDrive, part: str) -> list[int]:
    """The NAS refuses a name; when each try came."""
    tries: list[int] = []

    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "place_together":
            raise NasFault("these names cannot be together")
        if method == "move" and arguments[1].endswith(part):
            tries.append(drive.clock.now_ns())
            raise NasFault("this name cannot be")

    drive.nas.before = fail
    return tries


def give_up(drive: MirrorDrive) -> None:
    for seconds in (5, 10, 20):
        drive.drain()
        drive.pass_time(seconds)
    drive.drain()


def test_retries_after_5_10_and_20_seconds_and_then_it_failed(drive: MirrorDrive) -> None:
    bad = drive.put("bad")
    drive.put("good")
    tries = refuse(drive, "__bad")
    for _ in range(80):
        drive.drain()
        drive.pass_time(1)
    between = [round((later - sooner) / 1e9) for sooner, later in pairwise(tries)]
    assert between == [5, 10, 20]
    assert drive.events("FAILED") == [("SYNC", "FAILED", 3)]
    assert drive.entry("bad").nas_status == StoreStatus.ERROR
    (event,) = backlog.events(drive.kelp, 10, "FAILED")
    assert event.error_message == "this name cannot be"
    assert backlog.backlog(drive.kelp).failed == 1 and set(drive.on_nas()) == {"good"}
    assert backlog.wait_until_mirrored(drive.kelp, 1) is backlog.Waited.FAILED
    drive.check(mirrored=False)
    drive.nas.calm()
    assert backlog.retry_failed(drive.kelp, event.uuid) == 1
    drive.check_mirrored()
    assert drive.statuses(bad.id) == ["DONE"] and drive.entry("bad").nas_status == StoreStatus.AVAILABLE


def test_retry_of_an_unknown_event(drive: MirrorDrive) -> None:
    with pytest.raises(NotFound):
        backlog.retry_failed(drive.kelp, "no such event")
    assert backlog.retry_failed(drive.kelp) == 0
    drive.check()


@pytest.mark.parametrize("change", ["rename", "overwrite", "remove"])
def test_a_later_change_replaces_the_failed_one(drive: MirrorDrive, change: str) -> None:
    bad = drive.put("bad")
    refuse(drive, "__bad")
    give_up(drive)
    assert drive.statuses(bad.id) == ["FAILED"]
    if change == "rename":
        drive.move("bad", "better")
    elif change == "overwrite":
        drive.nas.calm()
        drive.put("bad", b"again")
    else:
        drive.remove("bad")
    drive.check_mirrored()
    assert set(drive.statuses(bad.id)) == ({"CANCELLED"} if change == "remove" else {"DONE"})


def test_what_is_below_a_folder_that_failed_waits_and_comes_with_it(drive: MirrorDrive) -> None:
    drive.mkdir("bad")
    drive.put("bad/f", b"f")

    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "make_folder":
            raise NasFault("no more folders")

    drive.nas.before = fail
    give_up(drive)
    assert [status for _, status, _ in drive.events()] == ["PENDING", "FAILED"]
    drive.nas.calm()
    backlog.retry_failed(drive.kelp)
    drive.pass_time(6)
    drive.check_mirrored()
    assert drive.on_nas() == {"bad": None, "bad/f": b"f"}


def test_a_name_held_by_what_failed_is_cleared(drive: MirrorDrive) -> None:
    drive.put("a", b"A")
    drive.settle_down()
    drive.move("a", "bad")
    refuse(drive, "__bad")
    give_up(drive)
    drive.put("a", b"new")
    drive.put("b", b"B")
    drive.drain()
    assert drive.on_nas() in ({"a": b"new", "b": b"B"}, {"a": b"new", "b": b"B", "bad": b"A"}, {"a": b"A", "b": b"B"})
    drive.nas.calm()
    backlog.retry_failed(drive.kelp)
    drive.check_mirrored()
    assert drive.on_nas() == {"a": b"new", "b": b"B", "bad": b"A"}


@pytest.mark.engine(database="sqlite", reason="reads its query plans")
def test_what_is_asked_all_the_time_does_not_look_at_every_event_there_ever_was(drive: MirrorDrive) -> None:
    asked: list[str] = []
    with drive.kelp.database.write() as tx:
        tx._connection.set_trace_callback(asked.append)
        tx.events.due(drive.clock.now_ns(), 32)
        tx.events.give_back_abandoned()
        tx.events.retry_failed(7, drive.clock.now_ns())
        tx._connection.set_trace_callback(None)
        plans = [row[3] for sql in asked for row in tx.all(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(asked) == 4 and [plan for plan in plans if plan.startswith("SCAN")] == []


def test_a_clock_set_back_does_not_keep_earlier_changes_waiting(drive: MirrorDrive) -> None:
    drive.put("before")
    drive.clock.advance(-3600)
    drive.put("after")
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"before", "after"}
