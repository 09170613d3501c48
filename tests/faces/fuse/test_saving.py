"""What programs rely on when they save, through the kernel: nobody sees half a save, and who cannot save is told."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cli.mount import MountOptions
from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.test_names import refused
from vfs.errors import ConfigurationError
from vfs.model import Place, Scope
from vfs.operations import locking, reading, writing


def shown(drive: MountedDrive, path: Path) -> bytes:
    """As another node shows it."""
    caller = drive.caller()
    entry = reading.resolve(drive.kelp, caller, path.relative_to(drive.path).parts).entry
    assert entry is not None
    return b"".join(reading.open_content(drive.kelp, caller, entry).chunks())


def lock(drive: MountedDrive, path: Path) -> None:
    """As the editor, on another face."""
    place = Place(path.parent.stat().st_ino, path.name)
    locking.lock(
        drive.kelp, drive.caller("editor"), place, scope=Scope.EXCLUSIVE, infinite=False, owner="", timeout=600
    )


def test_a_file_that_is_saved_over_is_never_empty(place: Path, shared_mount: MountedDrive) -> None:
    (place / "a.txt").write_bytes(b"old")
    fd = os.open(place / "a.txt", os.O_WRONLY | os.O_TRUNC)
    assert shown(shared_mount, place / "a.txt") == b"old"
    os.write(fd, b"new")
    (place / "a.txt").read_bytes()  # closed again: it shows nobody else's half a save
    assert shown(shared_mount, place / "a.txt") == b"old"
    os.fsync(fd)
    assert shown(shared_mount, place / "a.txt") == b"new"
    os.close(fd)


def test_a_lock_that_comes_while_it_is_written_is_told_at_close(place: Path, shared_mount: MountedDrive) -> None:
    (place / "a.txt").write_bytes(b"old")
    fd = os.open(place / "a.txt", os.O_RDWR)
    os.write(fd, b"new")
    lock(shared_mount, place / "a.txt")
    with pytest.raises(OSError) as told:
        os.close(fd)
    assert told.value.errno == errno.EBUSY
    with pytest.raises(OSError) as told:
        os.open(place / "a.txt", os.O_RDWR)
    assert told.value.errno == errno.EBUSY
    assert (place / "a.txt").read_bytes() == b"old"
    (copy,) = place.glob("a (conflict *).txt")
    assert copy.read_bytes() == b"new"


def test_a_locked_file_is_busy(place: Path, shared_mount: MountedDrive) -> None:
    writing.put_file(shared_mount.kelp, shared_mount.caller(), Place(place.stat().st_ino, "file"), [b"x"])
    file = place / "file"
    lock(shared_mount, file)
    assert file.read_bytes() == b"x"
    refused(errno.EBUSY, file.write_bytes, b"y")
    refused(errno.EBUSY, file.unlink)
    refused(errno.EBUSY, file.rename, place / "other")


def test_what_another_face_saved_meanwhile_is_not_taken_back(place: Path, shared_mount: MountedDrive) -> None:
    (place / "a.txt").write_bytes(b"old old")
    fd = os.open(place / "a.txt", os.O_RDWR)
    os.pwrite(fd, b"NEW", 4)
    caller = replace(shared_mount.caller("editor"), face="dav")
    writing.put_file(shared_mount.kelp, caller, Place(place.stat().st_ino, "a.txt"), [b"theirs"])
    with pytest.raises(OSError) as told:
        os.fsync(fd)
    assert told.value.errno == errno.EBUSY
    os.pwrite(fd, b"!", 7)
    os.close(fd)
    (copy,) = place.glob("a (conflict *).txt")
    assert copy.read_bytes() == b"old NEW!"
    assert shown(shared_mount, place / "a.txt") == b"theirs"


def test_a_file_of_which_a_program_maps_a_part(place: Path, shared_mount: MountedDrive) -> None:
    import mmap

    path: Path = place / "mapped"
    path.write_bytes(bytes(10_000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000:5003] = b"abc"
        mapped.flush()
    assert shown(shared_mount, place / "mapped")[4999:5004] == b"\0abc\0"


def test_a_writeback_cache_is_refused() -> None:
    """It would show old sizes, and write old bytes over what others have saved (docs/fuse.md)."""
    for word in ("writeback", "writeback_cache"):
        with pytest.raises(ConfigurationError, match=f"{word} is refused"):
            MountOptions.parse(f"allow_other,{word}")
