"""A NAS that is full in the middle of a batch of small files: what fits, or fits after what goes first, is carried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from tests.small_disk import small_disk
from vfs.operations import backlog

PIECE = bytes(60_000)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[MirrorDrive]:
    """A drive whose NAS has room for about 16 pieces."""
    with (
        small_disk(tmp_path / "nas", "1m") as disk,
        closing(MirrorDrive(tmp_path / "drive", nas_root=disk)) as drive,
    ):
        yield drive


def test_what_fits_is_carried(narrow: MirrorDrive) -> None:
    """A quota does not show in what a probe asks for: if a batch were all or nothing, none of it would ever come."""
    for number in range(30):
        narrow.put(f"f{number:02d}", PIECE)
    carried = narrow.drain()
    state = backlog.backlog(narrow.kelp)
    assert 8 <= carried < 20 and not state.nas_up and state.failed == 0
    assert narrow.on_nas() == {f"f{number:02d}": PIECE for number in range(carried)}, "the oldest"
    assert narrow.raw_nas(".kelp/tmp") == {}, "what did not fit takes no room"


def test_a_removal_makes_room_for_what_comes_after_it(narrow: MirrorDrive) -> None:
    narrow.put("large", bytes(600_000))
    narrow.settle_down()
    narrow.purge(narrow.trash("large"))
    for number in range(10):
        narrow.put(f"f{number}", PIECE)
    narrow.drain()
    assert backlog.backlog(narrow.kelp).nas_up
    narrow.check_mirrored()
