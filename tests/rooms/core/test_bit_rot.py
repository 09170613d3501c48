"""Bytes that changed by themselves, or are gone, never reach a reader: it gets the right ones, or a clear error."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import descriptors
from tests.adopted import unlearn
from tests.mirror_drive import StagedNas
from tests.rooms.core.drive import Drive
from tests.rooms.core.rot import (
    PLACES,
    SIZES,
    alerts,
    content_of,
    flip,
    forget,
    in_cache,
    mirrored,
    nas_file,
    place,
    rot_cache,
    rot_nas,
    settle,
    some_bytes,
    statuses,
    whole_in_cache,
)
from vfs.background import Background
from vfs.errors import ContentCorrupt, ContentLost, NasDown, StoreUnavailable
from vfs.model import BLOCK_SIZE, PART_SIZE, ByteRange, Content
from vfs.operations import contents, nas_copies, reading


def read(drive: Drive, name: str, start: int = 0, stop: int | None = None) -> bytes:
    entry = drive.entry(name)
    reader = reading.open_content(drive.kelp, drive.editor, entry)
    return b"".join(reader.chunks(ByteRange(start, entry.size if stop is None else stop)))


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", SIZES)
def test_a_flipped_bit_in_the_cache_reaches_nobody_and_is_healed(drive: Drive, kind: str, where: str) -> None:
    data = some_bytes(SIZES[kind])
    content = mirrored(drive, "f", data)
    at = place(len(data), where)
    rot_cache(drive, content, at)
    assert read(drive, "f") == data
    settle(drive)
    assert whole_in_cache(drive, content) == data and statuses(drive, content) == {"AVAILABLE"}
    assert alerts(drive) == [("CONTENT_REPAIRED", "", 1)]
    nas_file(drive, "f").unlink()
    forget(drive)
    assert read(drive, "f") == data, "the cache alone has it"


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", SIZES)
def test_a_range_across_a_flipped_bit(drive: Drive, kind: str, where: str) -> None:
    data = some_bytes(SIZES[kind])
    content = mirrored(drive, "f", data)
    at = place(len(data), where)
    rot_cache(drive, content, at)
    start, stop = max(at - 10, 0), min(at + 10, len(data))
    assert read(drive, "f", start, stop) == data[start:stop]
    settle(drive)
    assert whole_in_cache(drive, content) == data


@pytest.mark.parametrize("harm", ["missing", "cut", "empty", "longer", "another's"])
@pytest.mark.parametrize("kind", SIZES)
def test_an_object_that_is_not_what_it_was(drive: Drive, kind: str, harm: str) -> None:
    data = some_bytes(SIZES[kind])
    content = mirrored(drive, "f", data)
    key = content.parts[0].key
    was = in_cache(drive, key)
    now = {"missing": None, "cut": was[: len(was) // 2], "empty": b"", "longer": was + b"x", "another's": was[::-1]}
    drive.spoil(key, now[harm])
    assert read(drive, "f") == data
    settle(drive)
    assert in_cache(drive, key) == was or harm == "longer", "what follows an object's bytes is never read"
    assert statuses(drive, content) == {"AVAILABLE"}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", SIZES)
def test_a_flipped_bit_on_the_nas_reaches_nobody(drive: Drive, kind: str, where: str) -> None:
    data = some_bytes(SIZES[kind])
    content = mirrored(drive, "f", data)
    rot_nas(drive, "f", place(len(data), where))
    assert read(drive, "f") == data, "the cache has it"
    for part in content.parts:
        drive.spoil(part.key, None)
    forget(drive)
    with pytest.raises(ContentLost):
        read(drive, "f")
    settle(drive)
    assert "ERROR" in statuses(drive, content)
    assert ("CONTENT_LOST", content.id) in [found[:2] for found in alerts(drive)]
    reader = reading.open_content(drive.kelp, drive.editor, drive.entry("f"))
    assert reader.size == len(data), "HEAD is unaffected"


def test_both_bad_is_one_alert_and_ends_when_it_is_found_again(drive: Drive) -> None:
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    at = PART_SIZE + 5
    rot_cache(drive, content, at)
    rot_nas(drive, "f", at)
    for _ in range(3):
        with pytest.raises(ContentLost):
            read(drive, "f")
        settle(drive)
    lost = [found for found in alerts(drive) if found[0] == "CONTENT_LOST"]
    assert lost == [("CONTENT_LOST", content.id, 1)]
    assert read(drive, "f", 0, PART_SIZE) == data[:PART_SIZE], "the other part is good"
    assert read(drive, "f", PART_SIZE + BLOCK_SIZE, len(data)) == data[PART_SIZE + BLOCK_SIZE :], (
        "so is the rest of this"
    )
    rot_nas(drive, "f", at)  # back again
    assert read(drive, "f") == data
    settle(drive)
    assert statuses(drive, content) == {"AVAILABLE"} and whole_in_cache(drive, content) == data
    assert "CONTENT_LOST" not in [found[0] for found in alerts(drive)]


def test_what_each_side_has_good_is_put_together(drive: Drive) -> None:
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    blocks = range(0, len(data), BLOCK_SIZE)
    rot_cache(drive, content, *blocks[::2])
    rot_nas(drive, "f", *blocks[1::2])
    drive.kelp = replace(drive.kelp, background=nothing())
    assert read(drive, "f") == data


def nothing() -> Background:
    """Nobody heals anything."""
    closed = Background()
    closed.close()
    return closed


def test_a_store_that_is_away_is_not_a_content_that_is_lost(drive: Drive) -> None:
    content = mirrored(drive, "f", some_bytes(SIZES["one part"]))
    rot_cache(drive, content, 5)
    nas = StagedNas(drive.kelp.nas)

    def down(method: str, arguments: object) -> None:
        raise NasDown("the NAS is away", "ESTALE")

    nas.before = down
    drive.kelp = replace(drive.kelp, nas=nas)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        read(drive, "f")
    settle(drive)
    assert alerts(drive) in ([], [("CONTENT_REPAIRED", "", 1)]) and "ERROR" not in statuses(drive, content)
    nas.calm()
    assert read(drive, "f") == some_bytes(SIZES["one part"])
    settle(drive)
    assert statuses(drive, content) == {"AVAILABLE"}


@pytest.mark.parametrize("where", PLACES)
def test_a_part_from_before_sums_were_kept_is_read_whole_first(drive: Drive, where: str) -> None:
    data = some_bytes(SIZES["full part"])
    content = mirrored(drive, "f", data)
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE objects SET blocks = NULL")
    old = content_of(drive, "f")
    assert old.parts[0].blocks is None
    rot_cache(drive, content, place(len(data), where))
    reader = contents.Reader(drive.kelp, old)
    assert b"".join(reader.chunks(ByteRange(100, 300))) == data[100:300]
    settle(drive)
    assert whole_in_cache(drive, content) == data
    assert b"".join(reader.chunks(ByteRange(100, 300))) == data[100:300]
    settle(drive)
    assert content_of(drive, "f").parts == content.parts, "from now on a range is enough"


def test_an_adopted_file_must_be_the_one_that_was_adopted(drive: Drive) -> None:
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    unlearn(drive.kelp, content.id)
    drive.damaged = True
    reader = contents.Reader(drive.kelp, content_of(drive, "f"))
    assert b"".join(reader.chunks()) == data
    assert b"".join(reader.chunks(ByteRange(5, PART_SIZE + 5))) == data[5 : PART_SIZE + 5]
    pieces = reader.chunks()
    got = [next(pieces)]
    file = nas_file(drive, "f")
    with file.open("r+b") as opened:  # somebody else writes into it while it is read
        opened.write(b"other")
    with pytest.raises(ContentCorrupt):
        got.extend(pieces)
    assert sum(map(len, got)) < len(data), "the reader was not told that it has all"
    with pytest.raises(ContentCorrupt):
        b"".join(reader.chunks(ByteRange(0, 10)))
    settle(drive)
    assert [found[0] for found in alerts(drive)] == ["NAS_FILE_CHANGED"]


def test_a_file_that_the_mirror_moves_is_waited_for(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas_copies, "_PATIENCE", 60.0)
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    for part in content.parts:
        drive.spoil(part.key, None)
    drive.kelp = replace(drive.kelp, background=nothing())
    file = nas_file(drive, "f")
    aside = file.rename(file.with_name("aside"))
    with pytest.raises(ContentLost):
        read(drive, "f")
    lease = "INSERT INTO mirror_leases (entry_id, owner, expires_ns, plan) VALUES (:id, 'me', :now, '[]')"
    drive.damage(lease, id=drive.entry("f").id, now=drive.clock.now + 10**12)
    back = threading.Timer(0.4, lambda: aside.rename(file))
    back.start()
    assert read(drive, "f") == data
    back.join()


def test_an_emptied_cache_heals_by_use_with_one_alert(drive: Drive) -> None:
    files = {f"f{n}": some_bytes(1000 + n) for n in range(12)} | {"big": some_bytes(SIZES["many parts"])}
    for name, data in files.items():
        drive.put(name, data)
    drive.mirror()
    forget(drive)
    for key in drive.objects():
        drive.spoil(key, None)
    for name, data in files.items():
        assert read(drive, name) == data
    settle(drive)
    assert [found[:2] for found in alerts(drive)] == [("CACHE_EMPTIED", "")]
    for file in drive.nas.glob("*__*"):
        file.unlink()
    forget(drive)
    for name, data in files.items():
        assert read(drive, name) == data


def test_sixteen_readers_of_a_missing_file_restore_it_once(drive: Drive) -> None:
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    for part in content.parts:
        drive.spoil(part.key, None)
    puts: list[str] = []
    cache = drive.kelp.cache
    drive.kelp = replace(drive.kelp, cache=Counting(cache, puts))  # type: ignore[arg-type]
    found: list[bool] = []
    entry = drive.entry("f")

    def reader() -> None:
        pieces = reading.open_content(drive.kelp, drive.editor, entry).chunks()
        found.append(b"".join(pieces) == data)

    threads = [threading.Thread(target=reader) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(drive)
    assert found == [True] * 16
    assert sorted(puts) == sorted(part.key for part in content.parts), "each part once"
    assert statuses(drive, content) == {"AVAILABLE"}


class Counting:
    """A cache that notes the keys of what is put."""

    def __init__(self, inner: object, puts: list[str]) -> None:
        self._inner, self._puts = inner, puts

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, chunks: object, **how: bool) -> object:
        self._puts.append(key)
        return self._inner.put(key, chunks, **how)  # type: ignore[attr-defined]


def test_a_hold_ends_with_its_reader(drive: Drive) -> None:
    content = mirrored(drive, "f", some_bytes(SIZES["many parts"]))
    holds = drive.kelp.holds
    reader = contents.Reader(drive.kelp, content)
    assert holds.count == 1
    pieces = reader.chunks()
    next(pieces)
    assert holds.count == 1
    b"".join(pieces)
    assert holds.count == 0, "read to the end"
    pieces = reader.chunks()
    next(pieces)
    del pieces
    assert holds.count == 0, "dropped"
    contents.Reader(drive.kelp, content)
    assert holds.count == 0, "never read"
    for part in content.parts:
        drive.spoil(part.key, None)
    rot_nas(drive, "f", PART_SIZE)
    drive.kelp = replace(drive.kelp, background=nothing())
    reader = contents.Reader(drive.kelp, content)
    gc.disable()
    try:
        with pytest.raises(ContentLost):
            b"".join(reader.chunks())
        assert holds.count == 0, "failed"
        assert open_files(drive) == [], "nothing waits for the garbage collector"
    finally:
        gc.enable()


def open_files(drive: Drive) -> list[str]:
    """Of the NAS and of a cache folder."""
    return descriptors.open_below(drive.nas, drive.nas.parent / "cache")


# --- any range, any damage -----------------------------------------------------------------------------------------

_BLOCKS = 2 * PART_SIZE // BLOCK_SIZE + 3


@pytest.fixture(scope="module")
def rotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Drive, Content, bytes]]:
    """A drive of its own for all examples; nothing in it heals."""
    from tests import engines
    from tests.rooms.core.conftest import _callers
    from tests.rooms.core.drive import Clock
    from vfs.bootstrap import build
    from vfs.model import Role

    folder: Path = tmp_path_factory.mktemp("rotten") / "data"
    clock = Clock()
    kelp = build(engines.load(folder), clock=clock)
    with kelp.database.write() as tx:
        for name in ("admin", "editor", "other", "viewer"):
            tx.accounts.insert(name, name, "!", Role.ADMIN, clock.now_ns())
    drive = Drive(kelp, clock, folder / "nas", *_callers(kelp))
    data = some_bytes(SIZES["many parts"])
    content = mirrored(drive, "f", data)
    drive.kelp = replace(kelp, background=nothing())
    yield drive, content, data
    kelp.close()
    engines.drop_below(folder)


blocks = st.sets(st.integers(0, _BLOCKS - 1), max_size=6)
edges = st.tuples(st.integers(0, _BLOCKS), st.sampled_from([-1, 0, 1, 777])).map(lambda at: at[0] * BLOCK_SIZE + at[1])
offsets = st.one_of(edges, st.integers(0, SIZES["many parts"]))


@given(in_cache_bad=blocks, on_nas_bad=blocks, ranges=st.lists(st.tuples(offsets, offsets), min_size=1, max_size=4))
def test_any_range_gives_the_right_bytes_or_an_error(
    rotten: tuple[Drive, Content, bytes],
    in_cache_bad: set[int],
    on_nas_bad: set[int],
    ranges: list[tuple[int, int]],
) -> None:
    drive, content, data = rotten
    damage(drive, content, in_cache_bad, on_nas_bad)
    try:
        for edge, other in ranges:
            start, stop = sorted(min(max(at, 0), len(data)) for at in (edge, other))
            touched = set(range(start // BLOCK_SIZE, -(-stop // BLOCK_SIZE))) if start < stop else set()
            reader = contents.Reader(drive.kelp, content)
            if touched & in_cache_bad & on_nas_bad:
                with pytest.raises(ContentLost):
                    b"".join(reader.chunks(ByteRange(start, stop)))
            else:
                assert b"".join(reader.chunks(ByteRange(start, stop))) == data[start:stop]
    finally:
        damage(drive, content, in_cache_bad, on_nas_bad)  # a bit that is flipped twice is right


def damage(drive: Drive, content: Content, in_cache_bad: set[int], on_nas_bad: set[int]) -> None:
    last = content.size - 1
    rot_cache(drive, content, *(min(n * BLOCK_SIZE + n, last) for n in in_cache_bad))
    rot_nas(drive, "f", *(min(n * BLOCK_SIZE + 3 * n, last) for n in on_nas_bad))


def test_flipping_twice_changes_nothing() -> None:
    assert flip(flip(b"abc", 1), 1) == b"abc" != flip(b"abc", 1)
