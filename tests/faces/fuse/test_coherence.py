"""What other processes change shows in a mount within a second, though its kernel remembers names for a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.waiting import until
from vfs.model import Entry, OnConflict, Place
from vfs.operations import folders, moving, posix, trashing, versioning, writing


class Elsewhere:
    """What another node does in one folder of the drive."""

    def __init__(self, drive: MountedDrive, folder: Path) -> None:
        self.drive, self.folder_id = drive, folder.stat().st_ino

    def put(self, name: str, body: bytes = b"x", folder_id: int | None = None) -> Entry:
        place = Place(folder_id or self.folder_id, name)
        return writing.put_file(self.drive.kelp, self.drive.caller(), place, [body]).entry

    def folder(self, name: str) -> Entry:
        return folders.make_folder(self.drive.kelp, self.drive.caller(), Place(self.folder_id, name))

    def move(self, name: str, target: str, folder_id: int | None = None) -> None:
        goal = Place(folder_id or self.folder_id, target)
        source = Place(self.folder_id, name)
        moving.move(self.drive.kelp, self.drive.caller(), source, goal, on_conflict=OnConflict.OVERWRITE)

    def remove(self, name: str) -> None:
        caller = self.drive.caller(face="rest")  # by which also what is young goes to the trash
        trashing.remove(self.drive.kelp, caller, Place(self.folder_id, name))


@pytest.fixture
def elsewhere(shared_mount: MountedDrive, place: Path) -> Iterator[Elsewhere]:
    return Elsewhere(shared_mount, place)


def test_a_new_file_where_nothing_was(place: Path, elsewhere: Elsewhere) -> None:
    for name in ("a", "ä"):
        assert not (place / name).exists()
        elsewhere.put(name, b"hello")
        until((place / name).exists)
        assert (place / name).read_bytes() == b"hello"
    assert sorted(os.listdir(place)) == ["a", "ä"]


def test_new_bytes_of_a_file_that_was_read_and_is_open(place: Path, elsewhere: Elsewhere) -> None:
    elsewhere.put("file", b"before")
    assert (place / "file").read_bytes() == b"before"
    with (place / "file").open("rb") as still_open:
        elsewhere.put("file", b"after, and longer")
        until(lambda: (place / "file").stat().st_size == 17)
        assert (place / "file").read_bytes() == b"after, and longer"
        assert still_open.read(1) in (b"b", b"a")
    elsewhere.put("file", b"again, and as long")
    until(lambda: (place / "file").read_bytes() == b"again, and as long")


def test_the_time_of_a_folder_that_others_change(place: Path, elsewhere: Elsewhere) -> None:
    inner = elsewhere.folder("inner")
    elsewhere.put("file")
    for change in (
        lambda: elsewhere.put("new"),
        lambda: elsewhere.move("file", "file 2"),
        lambda: elsewhere.move("file 2", "file", inner.id),
        lambda: elsewhere.remove("new"),
    ):
        os.listdir(place)
        os.utime(place, ns=(1, 1))
        assert place.stat().st_mtime_ns == 1
        change()
        until(lambda: place.stat().st_mtime_ns != 1)


def test_renamed_and_moved(place: Path, elsewhere: Elsewhere) -> None:
    inner = elsewhere.folder("inner")
    elsewhere.put("a", b"1")
    elsewhere.put("deep", b"2", inner.id)
    assert (place / "inner/deep").read_bytes() == b"2"
    inode = (place / "a").stat().st_ino
    elsewhere.move("a", "b")
    until(lambda: not (place / "a").exists())
    assert (place / "b").stat().st_ino == inode
    elsewhere.move("b", "c", inner.id)
    until(lambda: not (place / "b").exists())
    assert (place / "inner/c").read_bytes() == b"1"
    elsewhere.move("inner", "outer")
    until(lambda: not (place / "inner").exists())
    assert (place / "outer/deep").read_bytes() == b"2"
    assert not (place / "inner/deep").exists()


def test_replaced_by_a_move(place: Path, elsewhere: Elsewhere) -> None:
    elsewhere.put("old", b"old")
    elsewhere.put("new", b"new")
    assert ((place / "old").read_bytes(), (place / "new").read_bytes()) == (b"old", b"new")
    elsewhere.move("new", "old")
    until(lambda: not (place / "new").exists())
    assert (place / "old").read_bytes() == b"new"


def test_what_the_kernel_comes_across_before_it_is_told(place: Path, elsewhere: Elsewhere) -> None:
    """It asks for attributes, or finds the new name, while it still believes in the old one."""
    elsewhere.put("a", b"12345")
    assert (place / "a").read_bytes() == b"12345"
    elsewhere.move("a", "b")
    assert (place / "b").exists()
    until(lambda: not (place / "a").exists())
    with (place / "b").open("rb") as file:
        elsewhere.move("b", "c")
        assert file.read() == b"12345"  # reading makes it ask for the time of access
        os.fstat(file.fileno())
        until(lambda: not (place / "b").exists())
    mtime_ns = (place / "c").stat().st_mtime_ns
    put = Place(elsewhere.folder_id, "c")
    writing.put_file(elsewhere.drive.kelp, elsewhere.drive.caller(), put, [b"54321"], mtime_ns=mtime_ns)
    (place / "c").stat()
    until(lambda: (place / "c").read_bytes() == b"54321")


def test_removed_with_all_that_is_in_it_and_restored(place: Path, elsewhere: Elsewhere) -> None:
    folder = elsewhere.folder("folder")
    elsewhere.put("file", b"x", folder.id)
    assert (place / "folder/file").read_bytes() == b"x"
    elsewhere.remove("folder")
    until(lambda: not (place / "folder").exists())
    assert not (place / "folder/file").exists()
    trashing.restore(elsewhere.drive.kelp, elsewhere.drive.caller(), folder.uuid)
    until((place / "folder").exists)
    assert (place / "folder/file").read_bytes() == b"x"
    (place / "folder/new").write_bytes(b"y")


def test_a_file_becomes_a_folder(place: Path, elsewhere: Elsewhere) -> None:
    elsewhere.put("it")
    assert (place / "it").is_file()
    elsewhere.remove("it")
    elsewhere.folder("it")
    until((place / "it").is_dir)


def test_attributes(place: Path, elsewhere: Elsewhere) -> None:
    file = elsewhere.put("file")
    assert (place / "file").stat().st_mode & 0o777 == 0o644
    caller = elsewhere.drive.caller()
    posix.set_attributes(elsewhere.drive.kelp, caller, file.id, mode=0o600, mtime_ns=1_500_000_000_000_000_123)
    until(lambda: (place / "file").stat().st_mode & 0o777 == 0o600)
    assert (place / "file").stat().st_mtime_ns == 1_500_000_000_000_000_123


def test_a_restored_version(place: Path, elsewhere: Elsewhere) -> None:
    file = elsewhere.put("file", b"first")
    time.sleep(0.01)
    other = elsewhere.drive.caller("editor")
    writing.put_file(elsewhere.drive.kelp, other, Place(elsewhere.folder_id, "file"), [b"second"])
    assert (place / "file").read_bytes() == b"second"
    caller = elsewhere.drive.caller()
    (version,) = versioning.list_versions(elsewhere.drive.kelp, caller, file.id)
    versioning.restore_version(elsewhere.drive.kelp, caller, version.uuid)
    until(lambda: (place / "file").read_bytes() == b"first")


def test_what_this_mount_does_itself_stays_in_the_kernels_memory(place: Path, elsewhere: Elsewhere) -> None:
    """Else a program that works on many small files would ask for each of them twice."""
    (place / "file").write_bytes(b"x")
    (place / "folder").mkdir()
    os.rename(place / "file", place / "folder/file")
    time.sleep(0.5)
    assert (place / "folder/file").read_bytes() == b"x"
    assert "could not be told" not in elsewhere.drive.log_text()
