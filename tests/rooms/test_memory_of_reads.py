"""What was read is kept only while no process has changed the database."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from vfs.metadata.memory import ChangeCount, Memory
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
    memory, look = Memory(count), Looks()
    assert [memory.recall("a", look), memory.recall("a", look)] == [1, 1]
    assert memory.recall("b", look) == 2
    count.end(count.begin())
    assert [memory.recall("a", look), memory.recall("a", look)] == [3, 3]


def test_nothing_is_kept_while_a_change_is_under_way(count: ChangeCount) -> None:
    memory, look = Memory(count), Looks()
    memory.recall("a", look)
    number = count.begin()
    assert [memory.recall("a", look), memory.recall("a", look)] == [2, 3]
    count.end(number)
    assert [memory.recall("a", look), memory.recall("a", look)] == [4, 4]


def test_what_was_found_while_it_changed_is_not_kept_for_later(count: ChangeCount) -> None:
    memory = Memory(count)

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


def test_it_keeps_a_bounded_number(count: ChangeCount) -> None:
    memory = Memory(count)
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
