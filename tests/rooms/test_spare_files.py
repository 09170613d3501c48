"""Files made ahead: what makes them, whom they are given to, and that none is left or given twice, whatever happens."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cache_listing import objects, settle_spares
from tests.contracts.object_store_contract import new_key
from tests.small_disk import small_disk
from vfs.errors import AlreadyExists, NoSpace
from vfs.operations import orphans
from vfs.storage import spare_files
from vfs.storage.folder import FolderObjectStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.object_store import new_key as next_key
from vfs.storage.spare_files import BATCH, FEW, FRESH, IN_A_ROW, SpareFiles


def empty_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "objects").glob("??/*") if not path.stat().st_size}


def put_in_a_row(store: ObjectStore, count: int = IN_A_ROW) -> list[str]:
    keys = []
    for _ in range(count):
        keys.append(next_key(store))
        store.put(keys[-1], [b"x"])
    return keys


@pytest.fixture(autouse=True)
def _a_slow_machine_puts_in_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_files, "_ROW", 60.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderObjectStore]:
    with closing(FolderObjectStore(tmp_path)) as store:
        yield store


def test_objects_one_after_the_other_have_files_made_for_the_next(store: FolderObjectStore, tmp_path: Path) -> None:
    *_, last = put_in_a_row(store)
    made = empty_files(tmp_path)
    assert len(made) == BATCH and {key[:2] for key in made} == {last[:2]}
    assert made.isdisjoint(info.key for info in objects(store)), "they are no objects yet"
    folder = tmp_path / "objects" / last[:2]
    inodes = {(folder / name).stat().st_ino for name in made}
    following = put_in_a_row(store, BATCH)
    assert set(following) == made and {(folder / key).stat().st_ino for key in following} == inodes


def test_more_are_made_before_they_are_used_up(store: FolderObjectStore, tmp_path: Path) -> None:
    put_in_a_row(store)
    for _ in range(5):
        first = empty_files(tmp_path)
        assert len(first) == BATCH
        assert set(put_in_a_row(store, BATCH - FEW - 1)) < first
        settle_spares()
        assert empty_files(tmp_path) < first, "none as long as there are enough"
        put_in_a_row(store, 1)
        settle_spares()
        second = empty_files(tmp_path) - first
        assert len(second) == BATCH and len({key[:2] for key in second}) == 1
        assert second.isdisjoint(info.key for info in objects(store)), "they are no objects yet"
        assert set(put_in_a_row(store, FEW)) < first


@pytest.mark.parametrize("fault", ["the folder cannot be synced", "the folder is gone", "there are too many threads"])
def test_what_cannot_be_made_meanwhile_is_made_later(
    store: FolderObjectStore, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_a_row(store)
    first = empty_files(tmp_path)
    with monkeypatch.context() as patch:
        if fault == "the folder cannot be synced":
            patch.setattr(spare_files, "sync_folder", _fails)
        elif fault == "there are too many threads":
            patch.setattr(threading.Thread, "start", _refuses)
        else:
            gone = next(path for path in (tmp_path / "objects").iterdir() if not any(path.iterdir()))
            gone.rmdir()
            patch.setattr(uuid, "uuid4", lambda: uuid.UUID(gone.name + 30 * "0"))
        put_in_a_row(store, BATCH)
        settle_spares()
        assert empty_files(tmp_path) == set()
    (last,) = put_in_a_row(store, 1)
    assert last not in first and len(empty_files(tmp_path)) == BATCH


def _fails(*_: object) -> None:
    raise OSError("sync")


def _refuses(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_the_end_comes_while_more_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_files, "_CLOSING", 60.0)
    store, closing_now = FolderObjectStore(tmp_path), threading.Event()

    def sync(folder: str) -> None:
        assert closing_now.wait(60)

    put_in_a_row(store)
    monkeypatch.setattr(spare_files, "sync_folder", sync)
    put_in_a_row(store, BATCH - FEW)
    ending = threading.Thread(target=store.close)
    ending.start()
    while not store._spares._closed:
        pass
    closing_now.set()
    ending.join(60)
    assert empty_files(tmp_path) == set()


def test_the_end_comes_as_the_thread_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, start = FolderObjectStore(tmp_path), threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        store.close()
        start(thread)

    put_in_a_row(store)
    monkeypatch.setattr(spare_files, "_CLOSING", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_late)
        put_in_a_row(store, BATCH - FEW)
    settle_spares()
    assert empty_files(tmp_path) == set()


def test_few_objects_and_readers_have_none_made(store: FolderObjectStore, tmp_path: Path) -> None:
    keys = put_in_a_row(store, IN_A_ROW - 1)
    for key in keys:
        store.put(key, [b"y"], replace=True)
        list(store.get(key))
    for _ in range(IN_A_ROW):
        store.put(new_key(), [b"of a key of its own"])
    list(store.list())
    assert empty_files(tmp_path) == set()


def test_objects_now_and_then_have_none_made(tmp_path: Path) -> None:
    now = 1e9
    spares = SpareFiles(lambda: now)
    for _ in range(3 * IN_A_ROW):
        now += 1.5 * spare_files._ROW
        assert spares.take() is None
        with spares.made_beside(str(tmp_path / "aa-object")):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passed, serves", [(FRESH - 1, True), (FRESH + 1, False), (-5.0, False), (1e7, False)])
def test_what_rested_is_given_to_nobody(tmp_path: Path, passed: float, serves: bool) -> None:
    """By the clock of the files: it may be set, and it goes on while the machine sleeps."""
    now = 1e9
    spares = SpareFiles(lambda: now)
    for _ in range(IN_A_ROW):
        assert spares.take() is None
    with spares.made_beside(str(tmp_path / "aa-object")):
        assert spares.keys() == frozenset() and spares.take() is None, "before they are synced"
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == BATCH and spares.keys() == names
    now += passed
    key = spares.take()
    if serves:
        assert key in names and spares.keys() == names - {key}
        assert spares.claim(key) and not spares.claim(key)
    else:
        assert key is None and list(tmp_path.iterdir()) == []


def test_a_sync_that_fails_leaves_none(tmp_path: Path) -> None:
    spares = SpareFiles()
    for _ in range(IN_A_ROW):
        spares.take()
    with pytest.raises(OSError, match="sync"), spares.made_beside(str(tmp_path / "aa-object")):
        assert len(list(tmp_path.iterdir())) == BATCH
        raise OSError("sync")
    assert list(tmp_path.iterdir()) == [] and spares.take() is None


def test_the_end_removes_them_and_what_comes_later_makes_none(tmp_path: Path) -> None:
    store = FolderObjectStore(tmp_path)
    keys = put_in_a_row(store)
    given = next_key(store)
    store.close()
    assert empty_files(tmp_path) == {given}
    store.put(given, [b"x"])
    keys += put_in_a_row(store, 2 * IN_A_ROW)
    assert empty_files(tmp_path) == set()
    assert [info.key for info in objects(store)] == sorted([given, *keys])


def test_somebody_may_tidy_up(store: FolderObjectStore, tmp_path: Path) -> None:
    put_in_a_row(store)
    for key in empty_files(tmp_path):
        (tmp_path / "objects" / key[:2] / key).unlink()
    put_in_a_row(store, BATCH + IN_A_ROW)
    assert len(objects(store)) == BATCH + 2 * IN_A_ROW


def test_a_forked_process_has_none_of_its_parents(store: FolderObjectStore, tmp_path: Path) -> None:
    put_in_a_row(store)
    before = empty_files(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            keys = put_in_a_row(store, 3)
            store.close()
            os._exit(0 if before.isdisjoint(keys) and empty_files(tmp_path) == before else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert set(put_in_a_row(store, BATCH)) == before


def test_a_process_forked_in_the_middle_of_another_thread_does_not_wait_for_it(store: FolderObjectStore) -> None:
    put_in_a_row(store)
    kept = new_key()
    store.put(kept, [b"x"])
    with store._spares._guard, store._spares._making:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            try:
                store.delete(kept)  # whose first step asks whether it was a spare
                put_in_a_row(store, BATCH)
                store.close()
                os._exit(0)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


def test_keys_are_uuids_whatever_they_were_made_beside(tmp_path: Path) -> None:
    """Files get their UUIDs from them; the orphan batch asks the store for its clock by an object `clock-…`."""
    for beside in ("clock-1", "zz", "0", "Z", "ff-1"):
        with closing(FolderObjectStore(tmp_path / beside)) as store:
            for _ in range(IN_A_ROW):
                next_key(store)
            store.put(beside, [b"."])
            made = empty_files(tmp_path / beside)
            keys = put_in_a_row(store, 3 * BATCH)
            assert set(keys[:BATCH]) == made and [str(uuid.UUID(key)) for key in keys] == keys


def test_each_is_given_once(store: FolderObjectStore) -> None:
    keys: list[str] = []
    strange: list[BaseException] = []

    def work() -> None:
        try:
            keys.extend(put_in_a_row(store, 200))
        except AlreadyExists as error:
            strange.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not strange and len(set(keys)) == 1600
    assert [info[:2] for info in objects(store)] == [(key, 1) for key in sorted(keys)]


def test_a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, closing(FolderObjectStore(disk)) as store:
        whole = dict.fromkeys(put_in_a_row(store), 1)
        refused = 0
        while refused < 3:
            key = next_key(store)
            try:
                whole[key] = store.put(key, [bytes(100_000)]).size
            except NoSpace:
                refused += 1
        assert {info.key: info.size for info in objects(store)} == whole


def test_their_age_leaves_time_before_they_are_orphans() -> None:
    assert spare_files.FRESH * 1e9 * 5 < orphans._ORPHAN_NS
