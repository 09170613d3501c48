"""Adopted files are read once; from then on every byte of them can be verified."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.adopted import unlearn
from tests.mirror_drive import Killed, StagedNas
from tests.rooms.core.drive import Drive
from vfs.errors import ObjectMissing, StoreUnavailable
from vfs.model import BLOCK_SIZE, PART_SIZE, Content
from vfs.operations import alerts, learning
from vfs.storage.block_sums import BlockSums

SIZES = (0, 1, BLOCK_SIZE, BLOCK_SIZE + 1, PART_SIZE, 2 * PART_SIZE + 12345)


def adopted(drive: Drive, path: str, data: bytes) -> str:
    """An adopted file; its content's id."""
    drive.put(path, data)
    drive.mirror()
    content_id = drive.entry(path).content_id
    assert content_id is not None
    unlearn(drive.kelp, content_id)
    return content_id


def content(drive: Drive, content_id: str) -> Content:
    with drive.kelp.database.read() as tx:
        found = tx.contents.get(content_id)
    assert found is not None
    return found


def nas_file(drive: Drive, name: str) -> Path:
    return next(drive.nas.rglob(f"*__{name}"))


def staged(drive: Drive) -> tuple[StagedNas, Any]:
    nas = StagedNas(drive.kelp.nas)
    return nas, replace(drive.kelp, nas=nas)  # type: ignore[arg-type]


@pytest.fixture
def two_blocks() -> bytes:
    return random.Random(7).randbytes(2 * BLOCK_SIZE)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_learned_is_what_an_upload_would_have_recorded(drive: Drive, size: int) -> None:
    data = random.Random(size).randbytes(size)
    content_id = adopted(drive, "f", data)

    learned = learning.learn(drive.kelp, content_id)

    assert learned == content(drive, content_id)
    assert learned.checksum == blake3(data).hexdigest()
    for number, part in enumerate(learned.parts):
        own = data[number * PART_SIZE :][: part.size]
        sums = BlockSums()
        sums.update(own)
        assert (part.checksum, part.blocks) == (blake3(own).hexdigest(), sums.finish())
    assert drive.sql("SELECT nas_verified_ns FROM entries WHERE name = 'f'") == [(drive.clock.now,)]


def test_what_is_known_is_not_read_again(drive: Drive) -> None:
    content_id = adopted(drive, "f", b"x")
    learning.learn(drive.kelp, content_id)
    nas_file(drive, "f").write_bytes(b"another")
    drive.damaged = True
    assert learning.learn(drive.kelp, content_id).checksum == blake3(b"x").hexdigest()


@pytest.mark.parametrize("change", ["size", "time", "gone", "folder"])
def test_a_file_that_changed_since_is_told_and_not_learned(drive: Drive, change: str) -> None:
    content_id = adopted(drive, "f", b"x")
    drive.damaged = True
    file = nas_file(drive, "f")
    if change == "size":
        seen = file.stat()
        file.write_bytes(b"longer")
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    elif change == "time":
        file.write_bytes(b"y")
        os.utime(file, ns=(1, 1))
    else:
        file.unlink()
    if change == "folder":
        file.mkdir()

    for _ in range(2):
        with pytest.raises(learning.NasFileChanged, match="f on the NAS"):
            learning.learn(drive.kelp, content_id)

    assert content(drive, content_id).checksum == ""
    (alert,) = alerts.listing(drive.kelp)
    assert (alert.kind, alert.subject, alert.count) == ("NAS_FILE_CHANGED", "", 2)


@pytest.mark.parametrize("how", ["grows", "cut", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_not_learned(drive: Drive, how: str, two_blocks: bytes) -> None:
    content_id = adopted(drive, "f", two_blocks)
    drive.damaged = True
    file = nas_file(drive, "f")
    nas, kelp = staged(drive)

    def change(method: str, _: tuple[Any, ...]) -> None:
        if method != "read":
            return
        seen = file.stat()
        if how == "replaced":  # by one of the same size and time
            file.with_name("new").write_bytes(bytes(len(two_blocks)))
            file.with_name("new").rename(file)
        else:
            os.truncate(file, len(two_blocks) + 1 if how == "grows" else 5)
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    nas.after = change
    with pytest.raises(learning.NasFileChanged):
        learning.learn(kelp, content_id)
    assert content(drive, content_id).checksum == ""


def test_two_at_once_record_the_same(drive: Drive, two_blocks: bytes) -> None:
    content_id = adopted(drive, "f", two_blocks)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: learning.learn(drive.kelp, content_id), range(8)))
    assert found == {content(drive, content_id)}


def test_who_dies_while_it_reads_leaves_it_to_the_next(drive: Drive, two_blocks: bytes) -> None:
    content_id = adopted(drive, "f", two_blocks)
    nas, kelp = staged(drive)

    def die(method: str, _: tuple[Any, ...]) -> None:
        if method == "read":
            raise Killed

    nas.after = die
    with pytest.raises(Killed):
        learning.learn(kelp, content_id)
    assert content(drive, content_id).checksum == ""
    assert learning.learn(drive.kelp, content_id).checksum == blake3(two_blocks).hexdigest()


def test_a_version_and_a_copy_of_an_adopted_file_serve_as_well(drive: Drive) -> None:
    content_id = adopted(drive, "f", b"adopted")
    drive.copy("f", "copy")
    learning.learn(drive.kelp, content_id)
    drive.mirror()
    unlearn(drive.kelp, content_id)
    nas_file(drive, "f").write_bytes(b"changed by somebody")
    drive.damaged = True
    assert learning.learn(drive.kelp, content_id).checksum == blake3(b"adopted").hexdigest()


def test_a_file_on_its_way_is_found_where_it_comes_to(drive: Drive) -> None:
    """The mirror has moved it on the NAS, and not recorded that yet."""
    drive.folder("old")
    content_id = adopted(drive, "old/f", b"x")
    folder_id = drive.entry("old").id
    moved = drive.nas / "new"
    nas, kelp = staged(drive)
    looks = iter(range(3))

    def move(method: str, _: tuple[Any, ...]) -> None:
        if method != "stat":
            return
        look = next(looks, None)
        with drive.kelp.database.write() as tx:
            if look == 0:
                fence = tx.leases.take(folder_id, "job", drive.clock.now * 2, lambda _: "[]")
                tx.leases.take_paths(fence, [], [folder_id])
                (drive.nas / "old").rename(moved)
            elif look == 2:
                moved.rename(drive.nas / "old")
                tx.run("DELETE FROM path_leases")
                tx.run("DELETE FROM mirror_leases")

    nas.before = move
    assert learning.learn(kelp, content_id).checksum == blake3(b"x").hexdigest()
    assert not alerts.listing(drive.kelp)


def test_what_stays_on_its_way_is_no_fault_of_the_file(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_PATIENCE", 0.2)
    content_id = adopted(drive, "f", b"x")
    with drive.kelp.database.write() as tx:
        tx.leases.take(drive.entry("f").id, "job", drive.clock.now * 2, lambda _: "[]")
    aside = nas_file(drive, "f").rename(drive.nas / "aside")
    with pytest.raises(StoreUnavailable):
        learning.learn(drive.kelp, content_id)
    assert not alerts.listing(drive.kelp)
    with drive.kelp.database.write() as tx:
        tx.run("DELETE FROM mirror_leases")
    aside.rename(next(iter_expected(drive)))
    learning.learn(drive.kelp, content_id)


def iter_expected(drive: Drive) -> Iterator[Path]:
    for (name,) in drive.sql("SELECT nas_name FROM entries WHERE name = 'f'"):
        yield drive.nas / name


def test_what_nobody_knows(drive: Drive) -> None:
    with pytest.raises(ObjectMissing):
        learning.learn(drive.kelp, "nobody")


def test_many_share_one_transaction(drive: Drive) -> None:
    ids = [adopted(drive, f"f{number}", bytes([number])) for number in range(5)]
    with drive.kelp.database.read() as tx:
        read = [learning.read_once(drive.kelp, found) for id in ids if (found := tx.contents.get(id))]
    before = drive.kelp.database.version()
    learning.record(drive.kelp, read)
    after = drive.kelp.database.version()
    assert [content(drive, id).checksum for id in ids] == [blake3(bytes([n])).hexdigest() for n in range(5)]
    if isinstance(before, int) and isinstance(after, int):  # SQLite counts commits, by two
        assert after - before == 1
