"""What POSIX says of single calls, where random steps and a public suite have found a mount to be wrong."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.test_names import refused
from vfs.model import OnConflict, Place
from vfs.operations import moving, nas_state, trashing

_LONG_AGO = 10**18  # ns


def test_a_removed_file_that_is_open_has_the_size_of_its_last_save(place: Path) -> None:
    (place / "a").write_bytes(b"old")
    fd = os.open(place / "a", os.O_RDWR)
    os.pwrite(fd, b"x" * 1000, 500)
    os.close(os.dup(fd))  # commits
    os.unlink(place / "a")
    info = os.fstat(fd)
    assert (info.st_size, info.st_nlink) == (1500, 0)
    assert os.pread(fd, 2000, 500) == b"x" * 1000
    os.close(fd)


def test_a_size_that_cannot_be_is_refused_at_once(place: Path, shared_mount: MountedDrive) -> None:
    """Else it would be a file of zeros that the NAS could never hold."""
    (place / "a").write_bytes(b"as it is")
    _require_refused(place / "a", 999_999_999_999_999)  # also where nobody has measured yet, or can: S3 does not tell
    nas_state.measure(shared_mount.kelp)
    free = os.statvfs(place)
    _require_refused(place / "a", free.f_bavail * free.f_frsize + (1 << 30))
    assert (place / "a").read_bytes() == b"as it is"


def _require_refused(path: Path, size: int) -> None:
    with pytest.raises(OSError) as told:
        os.truncate(path, size)
    assert told.value.errno == errno.EFBIG
    fd = os.open(path, os.O_RDWR)
    with pytest.raises(OSError) as told:
        os.pwrite(fd, b"x", size)
    assert told.value.errno == errno.EFBIG
    os.close(fd)


def test_truncating_is_a_change_of_an_empty_file_too(place: Path) -> None:
    """make(1) looks at the times of what `: > stamp` makes."""
    (place / "stamp").touch()
    os.utime(place / "stamp", ns=(_LONG_AGO, _LONG_AGO))
    os.close(os.open(place / "stamp", os.O_WRONLY | os.O_TRUNC))
    assert (place / "stamp").stat().st_mtime_ns > _LONG_AGO


def test_what_is_made_in_a_set_group_folder_is_of_its_group(place: Path) -> None:
    """inode(7): and folders in it are such folders again."""
    os.chown(place, -1, 1234)
    os.chmod(place, 0o2775)
    (place / "folder").mkdir()
    (place / "file").touch()
    os.symlink("file", place / "link")
    (place / "folder" / "below").touch()
    for name in ("folder", "file", "link", "folder/below"):
        assert (place / name).lstat().st_gid == 1234, name
    assert (place / "folder").stat().st_mode & stat.S_ISGID
    assert not (place / "file").stat().st_mode & stat.S_ISGID
    os.chmod(place, 0o775)
    (place / "another").touch()
    assert (place / "another").stat().st_gid == os.getgid()


def test_a_mapping_of_a_file_that_is_appended_to_is_written_where_it_belongs(place: Path) -> None:
    """The kernel sends its pages by any descriptor, also by one of O_APPEND."""
    (place / "log").write_bytes(bytes(20_000))
    fd = os.open(place / "log", os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fd, 0) as memory:
        memory[5000:5003] = b"map"
        memory.flush()
    os.write(fd, b"end")
    with mmap.mmap(fd, 0) as memory:
        memory[20_001:20_003] = b"ND"
        memory.flush()
    os.write(fd, b".")
    os.close(fd)
    assert (place / "log").read_bytes() == bytes(5000) + b"map" + bytes(14_997) + b"eND."


def test_a_file_that_others_replace_by_rename_is_never_gone(shared_mount: MountedDrive, place: Path) -> None:
    """The kernel remembers the inode of the old one for a moment: it has to be told to look the name up again."""
    for name in ("it", "new"):
        (place / name).write_text(name)
    assert (place / "it").stat().st_size == 2
    folder, caller = place.stat().st_ino, shared_mount.caller()
    replace = moving.move(
        shared_mount.kelp, caller, Place(folder, "new"), Place(folder, "it"), on_conflict=OnConflict.OVERWRITE
    )
    assert (place / "it").read_text() == "new"
    assert (place / "it").stat().st_ino == replace.entry.id
    trashing.remove(shared_mount.kelp, caller, Place(folder, "it"))
    with pytest.raises(FileNotFoundError):
        (place / "it").read_bytes()


def test_a_removed_file_that_is_open_has_attributes_to_set(place: Path) -> None:
    fd = os.open(place / "a", os.O_RDWR | os.O_CREAT)
    os.unlink(place / "a")
    os.fchmod(fd, 0o600)
    os.utime(fd, ns=(10**18, 10**18))
    os.ftruncate(fd, 10)
    info = os.fstat(fd)
    assert (stat.S_IMODE(info.st_mode), info.st_size, info.st_nlink) == (0o600, 10, 0)
    os.close(fd)


def test_a_mount_without_extended_attributes(place: Path) -> None:
    (place / "a").write_bytes(b"x")
    refused(errno.ENOTSUP, os.setxattr, place / "a", "user.a", b"x")
    refused(errno.ENOTSUP, os.getxattr, place / "a", "user.a")
    assert shutil.copystat(place / "a", place / "a") is None
