"""A mount whose disk for drafts is full, whose cache is full, or whose NAS is away with bytes that are only there."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.ledger import content
from tests.faces.fuse.conftest import MountedDrive, mounted_drive
from tests.faces.fuse.outage_program import from_mount
from tests.services import hanging_disk
from tests.services.hanging_disk import HangingDisk
from tests.small_disk import small_disk
from vfs.operations import backlog, reading
from vfs.operations.backlog import Waited

_MIB = 1 << 20
_DRAFTS, _CACHE = 16 * _MIB, 24 * _MIB  # what may be written and not closed; what may wait for the NAS
_ENOUGH = 90.0  # seconds


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HangingDisk]:
    if reason := hanging_disk.missing():
        pytest.skip(reason)
    with hanging_disk.hanging_disk(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, disk: HangingDisk) -> Iterator[MountedDrive]:
    folder = tmp_path_factory.mktemp("tight")
    (folder / "nas").symlink_to(disk.mount)
    limits = {"cache_hard_limit": _CACHE, "cache_reserve": _MIB, "mirror_probe": 1, "fuse_patience": 5}
    with small_disk(folder / "data" / "drafts", f"{_DRAFTS + _MIB}"), mounted_drive(folder, **limits) as drive:
        yield drive


@contextmanager
def without_nas(drive: MountedDrive) -> Iterator[None]:
    """It is not the one that it was."""
    marker = drive.nas / ".kelp" / "drive.json"
    kept = marker.read_bytes()
    marker.unlink()
    try:
        yield
    finally:
        marker.write_bytes(kept)


def write_until_full(path: Path, most: int) -> int:
    """Descriptor of a file that takes no more."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError) as told:
        for number in range(most // _MIB):
            data = content(number, _MIB)
            while data:
                data = data[os.write(fd, data) :]
    assert told.value.errno == errno.ENOSPC
    return fd


def save_soon(path: Path, data: bytes) -> None:
    """What was refused is not asked for again at once, and what waits is added up only now and then (`reserving`)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, data)
    end = time.monotonic() + _ENOUGH
    while True:
        try:
            os.fsync(fd)
            break
        except OSError as error:
            assert error.errno == errno.ENOSPC and time.monotonic() < end
            time.sleep(0.2)
    os.close(fd)


def test_no_room_for_what_is_written(tight: MountedDrive) -> None:
    (tight.top / "before").write_bytes(b"before")
    fd = write_until_full(tight.top / "too big", 2 * _DRAFTS)
    (tight.top / "before").read_bytes()
    os.ftruncate(fd, 0)
    os.close(fd)
    os.unlink(tight.top / "too big")
    (tight.top / "after").write_bytes(content(7, _DRAFTS // 2))
    assert (tight.top / "after").read_bytes() == content(7, _DRAFTS // 2)
    assert (tight.top / "before").read_bytes() == b"before"


def test_no_room_in_the_cache(tight: MountedDrive) -> None:
    closed: list[Path] = []
    with without_nas(tight):
        with pytest.raises(OSError) as told:
            for number in range(2 * _CACHE // (4 * _MIB)):
                path = tight.top / f"waits {number}"
                path.write_bytes(content(number, 4 * _MIB))
                closed.append(path)
        assert told.value.errno == errno.ENOSPC
        assert closed
    assert backlog.wait_until_mirrored(tight.kelp, timeout=_ENOUGH) is Waited.MIRRORED
    save_soon(tight.top / "again", content(9, 4 * _MIB))
    assert (tight.top / "again").read_bytes() == content(9, 4 * _MIB)
    for number, path in enumerate(closed):
        assert path.read_bytes() == content(number, 4 * _MIB)


def test_bytes_that_are_only_on_a_nas_that_hangs(tight: MountedDrive, disk: HangingDisk) -> None:
    path = tight.top / "evicted"
    path.write_bytes(content(3, _MIB))
    assert backlog.wait_until_mirrored(tight.kelp, timeout=_ENOUGH) is Waited.MIRRORED
    entry = reading.resolve(tight.kelp, tight.caller(), [*tight.above, "evicted"]).entry
    assert entry is not None and entry.content_id is not None
    tight.kelp.cache.delete(entry.content_id)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    disk.hang(600)
    try:
        with pytest.raises(OSError) as told:
            from_mount(fd, 4096, 0)
        assert told.value.errno == errno.EIO
        assert os.listdir(tight.top) and os.fstat(fd).st_size == _MIB
    finally:
        disk.answer()
    end = time.monotonic() + _ENOUGH
    while time.monotonic() < end:
        try:
            assert from_mount(fd, 4096, 0) == content(3, 4096)
            break
        except OSError:
            time.sleep(0.5)
    assert from_mount(fd, _MIB, 0) == content(3, _MIB)
    os.close(fd)
