"""How much may be written and not closed: what the disk has room for, or what somebody said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fuse_mount.draft_disk import RECORD, DraftDisk, Header
from tests.small_disk import small_disk
from vfs.errors import NoSpace

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
        (folder / "others").write_bytes(bytes(_MIB - 2 * os.sysconf("SC_PAGE_SIZE")))
        began = log.stat().st_size
        with pytest.raises(NoSpace):
            for size in range(1000):
                draft.cut(size)
        assert log.stat().st_size == began + size * RECORD.size
        assert draft.written.size == size - 1
        disk.put_back(draft)
        disk.close()
