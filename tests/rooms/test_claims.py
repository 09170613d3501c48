"""Names that are promised: `vfs/metadata/claims.py`. What changes do about them: `tests/rooms/fuse/test_coming.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vfs.metadata.change_count import ChangeCount
from vfs.metadata.claims import Claims


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Claims, Claims]]:
    """Of two processes, as far as the file can tell."""
    counts = [ChangeCount(tmp_path / "drive.changes") for _ in range(2)]
    one, other = map(Claims, counts)
    yield one, other
    for count in counts:
        count.close()


def test_a_name_is_claimed_until_it_is_released(two: tuple[Claims, Claims]) -> None:
    one, other = two
    claim = one.make(7, "a")
    assert claim is not None
    assert (one.meets(7, "a"), other.meets(7, "a")) == (False, True), "who claims it may use it"
    assert not other.meets(7, "b") and not other.meets(8, "a")
    assert one.make(7, "a") is None and other.make(7, "a") is None
    claim.release()
    assert not other.meets(7, "a") and not other.any()
    assert other.make(7, "a") is not None


def test_there_is_room_for_some(two: tuple[Claims, Claims]) -> None:
    one, other = two
    made = [one.make(7, f"{number}") for number in range(64)]
    assert all(made)
    assert other.make(7, "more") is None and one.make(7, "more") is None
    assert made[9] is not None
    made[9].release()
    assert other.make(7, "more") is not None
    assert not one.meets(7, "9") and one.meets(7, "more")


def test_who_closes_the_database_claims_nothing(two: tuple[Claims, Claims]) -> None:
    one, other = two
    assert one.make(7, "a") is not None and other.make(7, "b") is not None
    one.close()
    assert not other.meets(7, "a") and one.meets(7, "b")


def test_the_file_is_replaced(two: tuple[Claims, Claims], tmp_path: Path) -> None:
    """What was claimed is lost with it, and both go on with the new one."""
    one, other = two
    lost = one.make(7, "a")
    (tmp_path / "drive.changes").unlink()
    for each in two:
        assert each._count.enter_at_once()  # which looks for it
        each._count.leave()
    assert lost is not None and not other.meets(7, "a")
    assert one.make(7, "a") is not None
    lost.release()
    assert other.meets(7, "a")
