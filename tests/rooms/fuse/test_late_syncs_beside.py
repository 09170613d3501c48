"""Syncs behind commits, and the rows that they rely on, beside what else there is: other processes that make more of
them, a disk that hangs, a process that may open few files, a drive that ends, a dump."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.rooms.fuse.files import Files
from tests.rooms.fuse.test_late_syncs import (
    DATA,
    _zeros,
    file_of,
    impatient,
    key_of,
    never,
    pytestmark,
    saved,
    waiting,
    warm,
)
from tests.rooms.fuse.test_small_drafts import failing_sync
from tests.waiting import until
from vfs.core import Kelp
from vfs.operations import dumping, redoing
from vfs.storage import late_syncs

__all__ = ["impatient", "never", "pytestmark", "saved"]  # fixtures


def test_all_that_wait_or_are_synced_are_counted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs: each has an open file."""
    monkeypatch.setattr(late_syncs, "_MOST", 3)
    monkeypatch.setattr(late_syncs, "_MANY", 2)
    begun, go_on = threading.Event(), threading.Event()

    def hangs() -> bool:
        if threading.current_thread().name == "late-syncs":
            begun.set()
            go_on.wait(60)
        return False

    monkeypatch.setattr(os, "fsync", failing_sync(os.fsync, hangs))
    warm(files)
    files.save("one", DATA)
    assert begun.wait(60)
    for number in range(5):
        files.save(f"{number}", DATA)
    assert len(waiting(files.drive.kelp)) == 3
    go_on.set()


def test_few_wait_where_few_files_may_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert late_syncs._affordable() == 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thread_that_cannot_begin_is_begun_later(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, real = files.drive, threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "late-syncs":
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        warm(files)
        files.save("f", DATA)
    assert waiting(drive.kelp)
    files.save("g", DATA)
    until(lambda: waiting(drive.kelp) == {})


class Hanging:
    """An object on a disk that does not answer until it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.is_open = threading.Event(), threading.Event(), True

    def begin_sync(self) -> None:
        pass

    def sync(self) -> None:
        self.begun.set()
        self.go_on.wait(60)
        self.close()

    def close(self) -> None:
        self.is_open = False


def test_a_disk_that_takes_too_long_is_left_when_the_drive_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database is closed by then."""
    monkeypatch.setattr(late_syncs, "_CLOSING", 0.01)
    monkeypatch.setattr(late_syncs, "_MANY", 2)
    forgotten = list[object]()
    late = late_syncs.LateSyncs(forgotten.extend)
    disk, other = Hanging(), Hanging()
    late.add((1, "a"), disk)
    late.add((2, "b"), other)
    assert disk.begun.wait(60)
    late.close()
    disk.go_on.set()
    assert late._thread is not None
    late._thread.join(60)
    assert (forgotten, disk.is_open, other.is_open, other.begun.is_set()) == ([], False, False, False)


def test_a_start_leaves_to_others_what_they_are_about_to_sync(saved: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files read as they should; to sync them all would take a slow disk minutes."""
    drive = saved.drive
    rows, synced = waiting(drive.kelp), list[str]()
    _zeros(file_of(drive.kelp.settings.data, key_of(drive)))

    def counted(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    monkeypatch.setattr(os, "fsync", counted)
    redoing.at_start(drive.kelp.database, drive.kelp.cache, drive.clock)
    assert [name for name in synced if name in rows] == [key_of(drive)]
    assert waiting(drive.kelp).keys() == rows.keys() - {key_of(drive)}
    assert drive.read("f") == DATA


def test_it_ends_though_others_go_on(saved: Files) -> None:
    """Small files come faster than they are written again."""
    drive, count = saved.drive, len(waiting(saved.drive.kelp))
    store = Growing(drive.kelp)
    redoing.redo(drive.kelp.database, store, drive.clock)
    assert store.asked <= count + redoing._AT_ONCE
    redoing.run(drive.kelp)


class Growing:
    """A cache; whenever an object is written again, others are made."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp, self.asked = kelp, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kelp.cache, name)

    def redo(self, key: str, data: bytes) -> bool:
        self.asked += 1
        if self.asked < 10 * redoing._AT_ONCE:
            with self._kelp.database.write() as tx:
                for _ in range(2):
                    tx.redo.insert(key, data)
        return True


def test_what_is_dumped_is_on_the_disk(saved: Files) -> None:
    """Its rows are not in the dump, and the cache may be that of the drive that is made of it."""
    dumping.dump(saved.drive.kelp, lambda _: None)
    assert waiting(saved.drive.kelp) == {}
