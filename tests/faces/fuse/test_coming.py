"""Files that were just made on a mount, and whose rows come later: nobody can tell, but by the clock."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.waiting import until
from vfs.model import Row
from vfs.operations import reading


def _make(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o640)


def _found(drive: MountedDrive, name: str) -> Row | None:
    return next((row for row in _rows(drive) if row.name == name), None)


def _rows(drive: MountedDrive) -> list[Row]:
    folder = reading.resolve(drive.kelp, drive.caller(), drive.above).entry
    assert folder is not None
    return list(reading.list_folder(drive.kelp, drive.caller(), folder.id))


def test_others_see_it_though_nobody_closes_it(mounted: MountedDrive) -> None:
    fd = _make(mounted.top / "a")
    number = os.fstat(fd).st_ino
    until(lambda: _found(mounted, "a"))
    found = _found(mounted, "a")
    assert found is not None and (found.id, found.size) == (number, 0)
    os.write(fd, b"later")
    os.close(fd)
    found = _found(mounted, "a")
    assert found is not None and (found.id, found.size) == (number, 5)


def test_this_mount_knows_it_at_once(mounted: MountedDrive) -> None:
    path = mounted.top / "folder"
    path.mkdir()
    before = path.stat().st_mtime_ns
    fd = _make(path / "a")
    assert path.stat().st_mtime_ns > before
    os.close(fd)
    fd = _make(path / "b")
    assert sorted(os.listdir(path)) == ["a", "b"]
    os.close(fd)
    fd = _make(path / "c")
    with pytest.raises(OSError, match="not empty"):
        path.rmdir()
    os.fchmod(fd, 0o604)
    assert stat.S_IMODE((path / "c").stat().st_mode) == 0o604
    os.write(fd, b"12")
    os.rename(path / "c", path / "d")
    os.write(fd, b"3")
    os.close(fd)
    assert (path / "d").read_bytes() == b"123"
    fd = _make(path / "e")
    os.unlink(path / "e")
    os.write(fd, b"nobody's")
    assert os.pread(fd, 10, 0) == b"nobody's"
    os.close(fd)
    assert sorted(os.listdir(path)) == ["a", "b", "d"]


def test_mode_and_size_are_kept(mounted: MountedDrive) -> None:
    empty, full = mounted.top / "empty", mounted.top / "full"
    for path, data in ((empty, b""), (full, b"1" * 5000)):
        fd = _make(path)
        os.write(fd, data)
        assert (os.fstat(fd).st_size, stat.S_IMODE(os.fstat(fd).st_mode)) == (len(data), 0o640)
        os.close(fd)
        found = path.stat()
        assert (found.st_size, stat.S_IMODE(found.st_mode), path.read_bytes()) == (len(data), 0o640, data)
        entry = _found(mounted, path.name)
        assert entry is not None and (entry.id, entry.size) == (found.st_ino, len(data))


@pytest.mark.parametrize("synced", [False, True])
def test_what_is_closed_or_synced_outlives_the_mount(mounted: MountedDrive, synced: bool) -> None:
    for number in range(30):
        fd = _make(mounted.top / f"{number}")
        os.write(fd, b"%d" % number)
        os.fsync(fd) if synced else os.close(fd)
    fd = _make(mounted.top / "empty")
    os.fsync(fd)
    mounted.kill()
    mounted.start()
    assert {int(path.name): path.read_bytes() for path in mounted.top.glob("[0-9]*")} == {
        number: b"%d" % number for number in range(30)
    }
    assert (mounted.top / "empty").read_bytes() == b""


def test_what_was_written_and_not_closed_is_recovered(mounted: MountedDrive) -> None:
    fd = _make(mounted.top / "a")
    os.write(fd, b"open")
    mounted.kill()
    mounted.start("--recover")
    names = os.listdir(mounted.top)
    assert [(mounted.top / name).read_bytes() for name in names if "recovered" in name] == [b"open"]


def test_only_one_makes_a_file_that_must_be_new(mounted: MountedDrive) -> None:
    fd = os.open(mounted.top / "lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with pytest.raises(FileExistsError):
        os.open(mounted.top / "lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(fd)
    fd = _make(mounted.top / "a")
    with pytest.raises(FileExistsError):
        os.open(mounted.top / "a", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(fd)


def test_what_is_open_when_the_mount_ends_is_there(mounted: MountedDrive) -> None:
    works = f"exec 3>'{mounted.top}/a'; printf 1 >&3; exec 4>'{mounted.top}/b'; read x"
    program = subprocess.Popen(["sh", "-c", works], stdin=subprocess.PIPE)
    with program:
        until(lambda: _found(mounted, "b"))
        mounted.process.terminate()
        assert mounted.process.wait(60) == 0
        program.kill()
    sizes = {row.name: row.size for row in _rows(mounted)}
    assert sizes == {"a": 1, "b": 0}


def test_attributes_that_are_set_while_it_is_written(mounted: MountedDrive) -> None:
    """As tar does."""
    path = mounted.top / "a"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"1")
    for _ in range(2):
        os.fchmod(fd, 0o444)
        os.utime(fd, ns=(5, 1_000_000_007))
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns) == (0o444, 1_000_000_007)
        os.fsync(fd)
    os.write(fd, b"2")
    os.unlink(path)
    os.fchmod(fd, 0o404)
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o404
    os.close(fd)
