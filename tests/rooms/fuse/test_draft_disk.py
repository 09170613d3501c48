"""How much may be written and not closed: what the disk has room for, or what somebody said."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from fuse_mount.draft_disk import DraftDisk
from fuse_mount.draft_file import RECORD, Header
from tests import descriptors
from tests.small_disk import small_disk
from vfs.errors import NoSpace, StoreUnavailable

_MIB = 1 << 20
_DISK = 12


def room(disk: DraftDisk) -> int:
    """MiB that one draft takes."""
    draft = disk.new(Header(7, 1, "a", "id", 0, "anna", 0))
    for number in range(2 * _DISK):
        try:
            draft.write(number * _MIB, bytes(_MIB))
        except NoSpace:
            return number
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("how", "expected"), [({}, 11), ({"twice": True}, 5), ({"limit": 3 * _MIB}, 3)])
def test_room_for_drafts(tmp_path: Path, how: dict[str, int], expected: int) -> None:
    with small_disk(tmp_path / "disk", f"{_DISK}m") as folder:
        disk = DraftDisk(folder, **{"reserve": _MIB - 100_000, **how})  # type: ignore[arg-type]
        assert room(disk) == expected
        disk.close()


def test_what_does_not_fit_into_a_full_disk_is_no_half_a_record(tmp_path: Path) -> None:
    """Half of one, and nothing after it could be recovered."""
    with small_disk(tmp_path / "disk", f"{_MIB}") as folder:
        disk = DraftDisk(folder)
        draft = disk.new(Header(7, 1, "a", "id", 0, "anna", 0))
        (log,) = disk.folder.glob("*.log")
        draft.cut(0)  # with which the header comes
        (folder / "others").write_bytes(bytes(_MIB - 2 * os.sysconf("SC_PAGE_SIZE")))
        began = log.stat().st_size
        with pytest.raises(NoSpace):
            for size in range(1000):
                draft.cut(size)
        assert log.stat().st_size == began + size * RECORD.size
        assert draft.written.size == size - 1
        disk.put_back(draft)
        disk.close()


def test_closing_again_closes_nobody_elses_file(tmp_path: Path) -> None:
    """A number that was closed is the next file's: perhaps the database's, which then cannot be read."""
    disk = DraftDisk(tmp_path / "drafts")
    kept, idle = (disk.new(Header(number, 1, "a", "id", 0, "anna", 0)) for number in (7, 8))
    idle.end()
    kept.write(0, b"some")
    for close in (kept.keep, disk.close, kept.keep, disk.close):
        close()
        with contextlib.ExitStack() as opened:
            others = [opened.enter_context((tmp_path / f"other {number}").open("wb")) for number in range(6)]
            kept.keep()
            disk.close()
            for other in others:
                os.fstat(other.fileno())


def test_half_a_new_draft_leaves_nothing(tmp_path: Path) -> None:
    disk = DraftDisk(tmp_path / "drafts")
    (disk.folder / "1.log").symlink_to("nothing")
    before = descriptors.open_below(disk.folder)
    with pytest.raises(StoreUnavailable):
        disk.new(Header(7, 1, "a", "id", 0, "anna", 0))
    assert descriptors.open_below(disk.folder) == before
    assert os.listdir(disk.folder) == ["lock"]
    disk.close()
