"""What was read is kept only while no process has changed the database."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from vfs.metadata.change_count import ChangeCount
from vfs.metadata.database import Database
from vfs.metadata.memory import Memory
from vfs.operations import reading


@pytest.fixture
def count(tmp_path: Path) -> Iterator[ChangeCount]:
    opened = ChangeCount(tmp_path / "drive.changes")
    yield opened
    opened.close()


class Looks:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.asked


def test_it_looks_once_until_something_changes(count: ChangeCount) -> None:
    memory, look = Memory(count.value), Looks()
    assert [memory.recall("a", look), memory.recall("a", look)] == [1, 1]
    assert memory.recall("b", look) == 2
    count.end(count.begin())
    assert [memory.recall("a", look), memory.recall("a", look)] == [3, 3]


def test_nothing_is_kept_while_a_change_is_under_way(count: ChangeCount) -> None:
    memory, look = Memory(count.value), Looks()
    memory.recall("a", look)
    number = count.begin()
    assert [memory.recall("a", look), memory.recall("a", look)] == [2, 3]
    count.end(number)
    assert [memory.recall("a", look), memory.recall("a", look)] == [4, 4]


def test_what_was_found_while_it_changed_is_not_kept_for_later(count: ChangeCount) -> None:
    memory = Memory(count.value)

    def look() -> str:
        count.end(count.begin())
        return "old"

    assert memory.recall("a", look) == "old"
    assert memory.recall("a", lambda: "new") == "new"


def test_the_end_of_an_earlier_change_does_not_hide_a_later_one(count: ChangeCount) -> None:
    first = count.begin()
    second = count.begin()
    count.end(first)
    assert count.value() is None
    count.end(second)
    assert count.value() == second


def test_what_was_found_beside_it_is_kept_as_long(count: ChangeCount) -> None:
    memory = Memory(count.value)
    more: list[tuple[object, int]] = []

    def look() -> int:
        more.append(("b", 2))
        return 1

    assert memory.recall("a", look, more) == 1
    assert memory.recall("b", lambda: 3) == 2
    count.end(count.begin())
    assert memory.recall("b", lambda: 3) == 3


def test_it_keeps_a_bounded_number(count: ChangeCount) -> None:
    memory = Memory(count.value)
    for number in range(10_000):
        memory.recall(number, lambda: number)  # noqa: B023  # asked at once
    assert len(memory._kept[1]) <= 4096


def _die_in_a_change(folder: Path) -> None:
    drive = MirrorDrive(folder)
    with drive.kelp.database.write():
        os.kill(os.getpid(), signal.SIGKILL)


def _write(folder: Path, name: str) -> None:
    drive = MirrorDrive(folder)
    drive.put(name, b"by another process")
    drive.close()


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "died before"])
def test_another_process_changes_the_drive(tmp_path: Path, dies: bool) -> None:
    processes = multiprocessing.get_context("spawn")
    drive = MirrorDrive(tmp_path)
    assert reading.resolve(drive.kelp, drive.caller, ["f"]).entry is None
    if dies:
        dead = processes.Process(target=_die_in_a_change, args=(tmp_path,))
        dead.start()
        dead.join()
        assert dead.exitcode == -signal.SIGKILL
    for name in ("f", "g"):
        assert reading.resolve(drive.kelp, drive.caller, [name]).entry is None
        other = processes.Process(target=_write, args=(tmp_path, name))
        other.start()
        other.join()
        assert reading.resolve(drive.kelp, drive.caller, [name]).entry is not None
        assert drive.read(name) == b"by another process"
    drive.close()


def _count(file: Path, seconds: float) -> None:
    other, until = ChangeCount(file), time.monotonic() + seconds
    while time.monotonic() < until:
        other.end(other.begin())


def test_a_number_is_never_half_written(count: ChangeCount, tmp_path: Path) -> None:
    """0 was read in every hundredth look while another process counted: the number of an unchanged database."""
    for _ in range(10):
        count.end(count.begin())
    other = multiprocessing.get_context("spawn").Process(target=_count, args=(tmp_path / "drive.changes", 0.3))
    other.start()
    seen = [10]
    while other.is_alive():
        value = count.value()
        if value is not None:
            assert value >= seen[-1]
            seen[-1] = value
    last = count.value()  # this process may have slept all the while
    assert last is not None and last >= seen[-1] and last > 10


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_the_file_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Other processes open what has the name now, and count there."""
    monkeypatch.setattr("vfs.metadata.change_count._FOLLOW", 0.0)
    file = tmp_path / "drive.changes"
    here = ChangeCount(file)
    here.end(here.begin())
    before = here.value()
    assert before is not None
    file.unlink()
    if change == "replaced":
        file.write_bytes(b"\xff" * 16)
    there = ChangeCount(file)
    for writer in (there, here):
        assert writer.enter()
        number = writer.begin()
        assert here.value() is there.value() is None
        writer.end(number)
        writer.leave()
        assert here.value() not in (None, before)
        assert there.value() is not None
    here.close()
    there.close()


def test_without_its_file_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.metadata.change_count._FOLLOW", 0.0)
    file = tmp_path / "drive.changes"
    count = ChangeCount(file)
    file.unlink()
    file.mkdir()
    assert count.value() is None
    file.rmdir()
    assert count.value() is not None
    count.close()


def test_who_hangs_in_a_change_holds_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may be stopped (Ctrl-Z) while it writes; SQLite's own patience decides then."""
    monkeypatch.setattr("vfs.metadata.change_count._PATIENCE", 0.05)
    here, there = ChangeCount(tmp_path / "drive.changes"), ChangeCount(tmp_path / "drive.changes")
    assert there.enter()
    assert [here.enter(), here.enter()] == [False, False]
    there.leave()
    monkeypatch.setattr("vfs.metadata.change_count._PATIENCE", 30.0)
    for _ in range(3):
        assert here.enter()
        threading.Timer(0.01, here.leave).start()
        assert there.enter()
        there.leave()
    here.close()
    there.close()


def test_its_block_is_taken_at_once(count: ChangeCount, tmp_path: Path) -> None:
    """On a full disk, the first change would kill the process (SIGBUS) if the file had a hole."""
    assert os.stat(tmp_path / "drive.changes").st_blocks > 0


def test_numbers_begin_anew_at_their_end(tmp_path: Path) -> None:
    (tmp_path / "drive.changes").write_bytes(b"\xff" * 16)
    count = ChangeCount(tmp_path / "drive.changes")
    before = count.value()
    count.end(count.begin())
    assert count.value() not in (None, before)
    count.close()


def test_a_database_behind_a_link_has_one_count(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    there = Database(f"sqlite:///{tmp_path}/there/kelp.db")
    (tmp_path / "kelp.db").symlink_to(tmp_path / "there" / "kelp.db")
    here = Database(f"sqlite:///{tmp_path}/kelp.db")
    assert here.recall("x", lambda tx: tx.accounts.value("x")) is None
    with there.write() as tx:
        tx.accounts.set_value("x", "1")
    assert here.recall("x", lambda tx: tx.accounts.value("x")) == "1"
    here.close()
    there.close()


@pytest.mark.parametrize("path", [["a"] * 1000, ["a" * 200] * 6], ids=["deep", "long"])
def test_large_paths_are_not_kept(tmp_path: Path, path: list[str]) -> None:
    """A client that asks for thousands of them shall not fill the memory."""
    drive = MirrorDrive(tmp_path)
    reading.resolve(drive.kelp, drive.caller, path)
    assert not drive.kelp.database._memory._kept[1]
    drive.close()


def test_rows_that_nobody_read_to_their_end_keep_no_old_state(tmp_path: Path) -> None:
    here, there = Database(f"sqlite:///{tmp_path}/kelp.db"), Database(f"sqlite:///{tmp_path}/kelp.db")
    with here.scan() as tx:
        rows = tx.each("SELECT a.name FROM sqlite_master a, sqlite_master b, sqlite_master c")
        next(rows)
    with there.write() as tx:
        tx.accounts.set_value("x", "1")
    assert here.recall("x", lambda tx: tx.accounts.value("x")) == "1"
    here.close()
    there.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_it_belongs_to_whom_the_database_does(tmp_path: Path) -> None:
    database = tmp_path / "drive.db"
    database.touch()
    os.chown(database, 12345, 12345)
    ChangeCount(tmp_path / "drive.changes", like=database).close()
    assert (tmp_path / "drive.changes").stat().st_uid == 12345
