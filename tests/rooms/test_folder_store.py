"""What only the folder of objects has: its layout, its disk, and how it says that the disk is away."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tests.contracts.object_store_contract import new_key, patterned
from tests.small_disk import small_disk
from vfs.errors import ConfigurationError, NoSpace, ObjectMissing, StoreUnavailable
from vfs.model import PIECE_SIZE, Stored
from vfs.storage.folder import FolderObjectStore


def test_random_keys_spread_over_folders_named_by_their_first_digits(tmp_path: Path) -> None:
    store = FolderObjectStore(tmp_path / "new" / "cache")
    keys = [new_key() for _ in range(50)]
    for key in keys:
        store.put(key, [b"x"])
        assert (tmp_path / "new" / "cache" / "objects" / key[:2] / key).read_bytes() == b"x"


def test_another_process_finds_the_objects(tmp_path: Path) -> None:
    key = new_key()
    FolderObjectStore(tmp_path).put(key, [b"x"])
    assert b"".join(FolderObjectStore(tmp_path).get(key)) == b"x"


def test_empty_folders_may_be_tidied_up(tmp_path: Path) -> None:
    store = FolderObjectStore(tmp_path)
    store.put("aa1", [b"x"])
    store.delete("aa1")
    (tmp_path / "objects" / "aa").rmdir()
    store.put("aa2", [b"y"])
    assert [info.key for info in store.list()] == ["aa2"]


def test_strange_files_are_not_listed(tmp_path: Path) -> None:
    store = FolderObjectStore(tmp_path)
    store.put("aa1", [b"x"])
    folder = tmp_path / "objects" / "aa"
    (folder / "not a key").write_bytes(b"")
    (folder / "aafolder").mkdir()
    (folder / "aalink").symlink_to("/etc/passwd")
    assert [info.key for info in store.list()] == ["aa1"]
    with pytest.raises(StoreUnavailable):
        store.get("aalink")


def test_nothing_is_called_missing_while_the_disk_is_away(tmp_path: Path) -> None:
    store = FolderObjectStore(tmp_path)
    store.put("aa1", [b"x"])
    shutil.move(tmp_path / "objects", tmp_path / "elsewhere")
    for ask in (store.get, store.stat, store.delete, lambda key: store.put(key, [b""])):
        with pytest.raises(StoreUnavailable):
            ask("aa1")
    with pytest.raises(StoreUnavailable):
        list(store.list())
    with pytest.raises(StoreUnavailable):
        store.usage()
    shutil.move(tmp_path / "elsewhere", tmp_path / "objects")
    assert b"".join(store.get("aa1")) == b"x"
    with pytest.raises(ObjectMissing):
        store.get("aa2")


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot keep the cache in"):
        FolderObjectStore(tmp_path / "file")


def test_a_full_disk_leaves_the_old_and_nothing_of_the_new(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = FolderObjectStore(disk)
        store.put("aa1", [bytes(500_000)])
        before = store.usage()
        with pytest.raises(NoSpace):
            store.put("aa2", (bytes(100_000) for _ in range(100)))
        assert [info.key for info in store.list()] == ["aa1"]
        assert b"".join(store.get("aa1")) == bytes(500_000)
        assert store.usage() == before and before.total == 2 * 1024 * 1024
        store.put("aa2", [bytes(500_000)])


@pytest.mark.parametrize(
    "sizes",
    [
        [PIECE_SIZE, PIECE_SIZE],
        [PIECE_SIZE, PIECE_SIZE, 4096, 17],
        [17, PIECE_SIZE],
        [4096, 100, 3996, 8192],
        [0, 4096, 0, 1, 4096],
    ],
)
@pytest.mark.parametrize("at", [0, 1])
def test_what_is_written_past_the_memory_is_the_same(tmp_path: Path, sizes: list[int], at: int) -> None:
    """In memory that is used again, and that begins with a page or not (then the kernel refuses it)."""
    store, key, whole = FolderObjectStore(tmp_path), new_key(), patterned(sum(sizes))
    room = memoryview(mmap.mmap(-1, PIECE_SIZE + 1))

    def chunks() -> Iterator[memoryview]:
        begun = 0
        for size in sizes:
            room[at : at + size] = whole[begun : begun + size]
            yield room[at : at + size]
            begun += size

    assert store.put_directly(key, chunks()) == Stored(len(whole), blake3(whole).hexdigest())
    assert b"".join(store.get(key)) == whole


def test_a_disk_that_is_full_says_so_past_the_memory_too(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        store, room = FolderObjectStore(folder), memoryview(mmap.mmap(-1, PIECE_SIZE))
        with pytest.raises(NoSpace):
            store.put_directly(new_key(), (room for _ in range(4)))
        assert list(store.list()) == []


# --- begun, and finished later ---


def test_what_is_begun_and_not_finished_leaves_nothing(tmp_path: Path) -> None:
    store, key = FolderObjectStore(tmp_path), new_key()
    with pytest.raises(ZeroDivisionError), store.begin(key, b"not wanted"):
        raise ZeroDivisionError
    assert list(store.list()) == []
    with store.begin(key, b"wanted") as begun:
        begun.finish()
    assert b"".join(store.get(key)) == b"wanted"


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_what_is_begun_and_cannot_be_finished_leaves_nothing(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open`: of the folder, to be synced."""
    store, key = FolderObjectStore(tmp_path), new_key()
    store.put(new_key(), [b"the folders are there"])
    with store.begin(key, b"x") as begun, monkeypatch.context() as patch:
        patch.setattr(os, step, _fails)
        with pytest.raises(StoreUnavailable):
            begun.finish()
    assert [info.key for info in store.list() if info.key == key] == []


def _fails(*_: object) -> None:
    raise OSError(errno.EIO, "the disk does not answer")


def test_a_full_disk_leaves_nothing_of_what_is_begun(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store, key = FolderObjectStore(disk), new_key()
        with pytest.raises(NoSpace):
            store.begin(key, bytes(3_000_000))
        assert list(store.list()) == []
