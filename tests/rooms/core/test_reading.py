"""Reading through the cache to the NAS, whatever became of the cache."""

from __future__ import annotations

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import ContentLost, InvalidName, NotFound, WrongKind
from vfs.model import ByteRange
from vfs.operations import reading

BIG = bytes(range(256)) * (9 * 4096)  # 9 MiB: two parts


@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
@pytest.mark.parametrize("part", [0, 1])
def test_the_nas_gives_what_the_cache_cannot(drive: Drive, harm: str, part: int) -> None:
    entry = drive.put("big", BIG)
    drive.mirror()
    damage(drive, drive.objects()[part], harm)
    reader = reading.open_content(drive.kelp, drive.editor, entry)
    assert b"".join(reader.chunks()) == BIG
    for start, stop in ((0, 10), (8 * 1024**2 - 5, 8 * 1024**2 + 5), (len(BIG) - 3, len(BIG))):
        assert b"".join(reader.chunks(ByteRange(start, stop))) == BIG[start:stop]


def damage(drive: Drive, key: str, harm: str) -> None:
    whole = b"".join(drive.kelp.cache.get(key))
    drive.spoil(key, {"missing": None, "empty": b"", "cut": whole[: len(whole) // 2]}[harm])


def test_the_nas_goes_on_where_the_cache_ends_in_the_middle(drive: Drive) -> None:
    entry = drive.put("big", BIG)
    drive.mirror()
    pieces = reading.open_content(drive.kelp, drive.editor, entry).chunks()
    got = [next(pieces)]
    damage(drive, drive.objects()[0], "cut")
    damage(drive, drive.objects()[1], "missing")
    assert b"".join([*got, *pieces]) == BIG


def test_a_copy_of_the_same_content_serves_too(drive: Drive) -> None:
    drive.put("a", b"text")
    drive.mirror()
    drive.copy("a", "b")
    damage(drive, drive.objects()[0], "missing")
    assert drive.read("b") == b"text"


def test_a_version_is_read_from_its_place_on_the_nas(drive: Drive) -> None:
    drive.put("a", b"one")
    drive.mirror()
    drive.put("a", b"two!")
    drive.mirror()
    for key in drive.objects():
        damage(drive, key, "missing")
    assert drive.versions("a") == [b"one"] and drive.read("a") == b"two!"


def test_nowhere_is_said_before_a_byte_goes_out(drive: Drive) -> None:
    entry = drive.put("a", b"text")
    damage(drive, drive.objects()[0], "missing")
    reader = reading.open_content(drive.kelp, drive.editor, entry)
    with pytest.raises(ContentLost):
        reader.chunks()


def test_a_reader_keeps_its_content_while_the_file_changes(drive: Drive) -> None:
    pieces = reading.open_content(drive.kelp, drive.editor, drive.put("big", BIG)).chunks()
    got = [next(pieces)]
    drive.put("big", b"other")
    drive.remove("big")
    assert b"".join([*got, *pieces]) == BIG


def test_listings_are_sorted_and_streamed(drive: Drive) -> None:
    for name in ("b", "a", "C", "é", "z"):
        drive.put(name)
    drive.folder("d")
    assert drive.names() == ["C", "a", "b", "d", "z", "é"]
    rows = reading.list_folder(drive.kelp, drive.editor, drive.root_id)
    first = next(rows)
    drive.remove("z")  # a listing is one snapshot
    assert [first.name, *(row.name for row in rows)][-2:] == ["z", "é"]
    with pytest.raises(NotFound):
        next(reading.list_folder(drive.kelp, drive.editor, 999))


def test_what_cannot_be_read(drive: Drive) -> None:
    with pytest.raises(WrongKind):
        reading.open_content(drive.kelp, drive.editor, drive.folder("f"))
    for name in ("..", "", "a\0"):
        with pytest.raises(InvalidName):
            reading.resolve(drive.kelp, drive.editor, [name])
    drive.put("f/x")
    entry = drive.entry("f/x")
    drive.clock.advance(100)
    drive.remove("f")
    with pytest.raises(NotFound):
        reading.stat(drive.kelp, drive.editor, entry.id)


def test_usage_counts_what_is_kept(drive: Drive) -> None:
    drive.put("a", b"x" * 1000)
    drive.put("b", b"x" * 500)
    drive.clock.advance(100)
    drive.remove("b")
    usage = reading.usage(drive.kelp)
    assert usage.used == 1500 and 0 < usage.free < 1 << 60


def test_tokens_and_locks_of_a_path(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/x")
    flat = drive.lock("f")
    for path, expected in ((["f"], {flat}), (["f", "x"], set()), (["f", "new"], set())):
        found = drive.resolve(path)
        assert reading.entry_tokens(drive.kelp, found) == expected
    drive.damage("DELETE FROM dav_locks")
    deep = drive.lock("f", deep=True)
    for path in (["f"], ["f", "x"], ["f", "new"], ["f", "new", "deeper"]):
        found = drive.resolve(path)
        assert reading.entry_tokens(drive.kelp, found) == {deep}
    assert set(reading.locks_below(drive.kelp, drive.root_id)) == {drive.entry("f").id}
