"""Stores around stores: trying again, and failing at a named call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from vfs.errors import AlreadyExists, NasDown, NoSpace, ObjectMissing, StoreUnavailable
from vfs.model import PIECE_SIZE, ByteRange, Stored
from vfs.storage.folder import FolderObjectStore
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_store import ROOT
from vfs.storage.retrying import RetryingObjectStore
from vfs.storage.wrappers import FailingNasStore, FailingObjectStore, Failure, When

AWAY = StoreUnavailable("away")


@pytest.fixture
def failing(tmp_path: Path) -> FailingObjectStore:
    return FailingObjectStore(FolderObjectStore(tmp_path))


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def retrying(failing: FailingObjectStore, slept: list[float]) -> RetryingObjectStore:
    return RetryingObjectStore(failing, delays=(0.1, 1.0), sleep=slept.append)


def plan(
    store: FailingObjectStore, method: str, *calls: int, when: When = When.BEFORE, error: Exception = AWAY
) -> None:
    for call in calls:
        store.failures.plan(Failure(method, error, call, when))


# --- failing


def test_only_the_named_call_fails(failing: FailingObjectStore) -> None:
    plan(failing, "stat", 2)
    failing.put("aa", [b"x"])
    assert failing.stat("aa") == 1
    with pytest.raises(StoreUnavailable):
        failing.stat("aa")
    assert failing.stat("aa") == 1
    assert failing.failures.calls("stat") == 3
    plan(failing, "stat", 1)
    with pytest.raises(StoreUnavailable):
        failing.stat("aa")


def test_before_and_after(failing: FailingObjectStore) -> None:
    plan(failing, "put", 1, error=NoSpace("full"))
    plan(failing, "put", 2, when=When.AFTER, error=NoSpace("full"))
    for key in ("before", "done"):
        with pytest.raises(NoSpace):
            failing.put(key, [b"x"])
    assert [info.key for info in failing.list()] == ["done"]


def test_in_the_middle_of_a_stream(failing: FailingObjectStore) -> None:
    plan(failing, "put", 1, when=When.MIDSTREAM)
    with pytest.raises(StoreUnavailable):
        failing.put("aa", [b"one", b"two"])
    assert list(failing.list()) == []
    failing.put("aa", [bytes(2 * PIECE_SIZE)])
    failing.put("bb", [b""])
    plan(failing, "get", 1, 2, when=When.MIDSTREAM)
    pieces = failing.get("aa")
    assert len(next(pieces)) == PIECE_SIZE
    with pytest.raises(StoreUnavailable):
        next(pieces)
    with pytest.raises(StoreUnavailable):
        list(failing.get("bb"))
    plan(failing, "list", 1, when=When.MIDSTREAM)
    names = failing.list()
    assert next(names).key == "aa"
    with pytest.raises(StoreUnavailable):
        next(names)
    with pytest.raises(ValueError):
        plan(failing, "stat", 1, when=When.MIDSTREAM)


def test_the_nas_fails_alike(tmp_path: Path) -> None:
    inner = FolderNasStore(tmp_path, "ours")
    inner.prepare(first_run=True)
    store = FailingNasStore(inner)
    down = NasDown("gone", "EIO")
    for failure in (Failure("write", down, 1, When.MIDSTREAM), Failure("write", down, 2, When.AFTER)):
        store.failures.plan(failure)
    for path in ("a", "b"):
        with pytest.raises(NasDown):
            store.write(path, [b"x", b"y"], 2, blake3(b"xy").hexdigest())
    assert {name for name, _ in store.list(ROOT)} == {".kelp", "b"}
    without_stream: list[tuple[str, Callable[[], object]]] = [
        ("verify", store.verify),
        ("probe", store.probe),
        ("stat", lambda: store.stat("b")),
        ("checksum", lambda: store.checksum("b")),
        ("touch", lambda: store.touch("b", 0)),
        ("move", lambda: store.move("b", "c")),
        ("link", lambda: store.link("b", "c")),
        ("remove", lambda: store.remove("b")),
        ("remove_folder", lambda: store.remove_folder("d")),
        ("make_folder", lambda: store.make_folder("d")),
        ("sync", lambda: store.sync([ROOT])),
        ("usage", store.usage),
        ("read", lambda: store.read("b")),
        ("list", lambda: store.list(ROOT)),
    ]
    for method, ask in without_stream:
        store.failures.plan(Failure(method, down))
        with pytest.raises(NasDown):
            ask()
    assert {name for name, _ in inner.list(ROOT)} == {".kelp", "b"}


# --- trying again


def test_a_store_away_for_a_moment_is_not_noticed(
    failing: FailingObjectStore, retrying: RetryingObjectStore, slept: list[float]
) -> None:
    for method in ("put", "stat", "get", "delete", "list", "usage"):
        plan(failing, method, 1, 2)
    retrying.put("aa", [b"x"])
    assert retrying.stat("aa") == 1
    assert list(retrying.get("aa")) == [b"x"]
    assert [info.key for info in retrying.list()] == ["aa"]
    assert retrying.usage().total > 0
    retrying.delete("aa")
    assert len(slept) == 12
    assert all(0.05 <= first <= 0.15 for first in slept[::2]) and all(0.5 <= second <= 1.5 for second in slept[1::2])


def test_a_store_away_for_long_is(failing: FailingObjectStore, retrying: RetryingObjectStore) -> None:
    plan(failing, "stat", 1, 2, 3)
    with pytest.raises(StoreUnavailable):
        retrying.stat("aa")
    with pytest.raises(ObjectMissing):
        retrying.stat("aa")
    assert failing.failures.calls("stat") == 4, "what is missing is not asked for again"


def test_who_undoes_a_put_waits_for_a_silent_store_once(
    failing: FailingObjectStore, retrying: RetryingObjectStore, slept: list[float]
) -> None:
    """The put itself has waited as long as anybody should; the orphan batch takes what is left."""
    silent = StoreUnavailable("no byte in time")
    silent.__cause__ = TimeoutError()
    failing.failures.plan(Failure("delete", silent))
    with pytest.raises(StoreUnavailable):
        retrying.delete("aa")
    assert slept == []


def test_a_read_goes_on_where_it_was_cut(failing: FailingObjectStore, retrying: RetryingObjectStore) -> None:
    whole = b"".join(number.to_bytes(4, "big") for number in range(3 * PIECE_SIZE // 4))
    failing.put("aa", [b""])
    failing.put("bb", [whole])
    plan(failing, "get", 1, when=When.MIDSTREAM)  # of an empty object, so before any piece
    assert list(retrying.get("aa")) == []
    for wanted in (None, ByteRange(5, 3 * PIECE_SIZE - 5)):
        plan(failing, "get", 1, 2, 3, when=When.MIDSTREAM)  # more often than tries, but each came on
        assert b"".join(retrying.get("bb", wanted)) == whole[slice(*wanted or (None,))]
    plan(failing, "get", 1, when=When.MIDSTREAM)
    plan(failing, "get", 2, 3, 4)
    pieces = retrying.get("bb")
    assert next(pieces) == whole[:PIECE_SIZE]
    with pytest.raises(StoreUnavailable):
        next(pieces)


def test_a_listing_goes_on_after_the_last_key(failing: FailingObjectStore, retrying: RetryingObjectStore) -> None:
    keys = ["aa", "ab", "b"]
    for key in keys:
        failing.put(key, [b"x"])
    plan(failing, "list", 1, 2, 3, when=When.MIDSTREAM)
    assert [info.key for info in retrying.list()] == keys


def test_a_put_whose_answer_was_lost_is_found_again(failing: FailingObjectStore, retrying: RetryingObjectStore) -> None:
    plan(failing, "put", 1, when=When.AFTER)
    assert retrying.put("aa", [b"x", b"y"]) == Stored(2, blake3(b"xy").hexdigest())
    failing.put("bb", [b"another's"])
    plan(failing, "put", 1)
    with pytest.raises(AlreadyExists):
        retrying.put("bb", [b"x"])


def test_a_replacement_whose_answer_was_lost_is_put_again(
    failing: FailingObjectStore, retrying: RetryingObjectStore
) -> None:
    failing.put("aa", [b"old"])
    for when in When:
        plan(failing, "put", 1, 2, when=when)
        assert retrying.put("aa", [b"x", b"y"], replace=True) == Stored(2, blake3(b"xy").hexdigest())
    assert list(failing.get("aa")) == [b"xy"]
    plan(failing, "put", 1, 2, 3)
    with pytest.raises(StoreUnavailable):
        retrying.put("aa", [b"z"], replace=True)
    assert list(failing.get("aa")) == [b"xy"]


def test_who_failed_for_long_enough_does_not_begin_again(failing: FailingObjectStore) -> None:
    impatient = RetryingObjectStore(failing, delays=(0.2, 0.2), patience=0.0)
    plan(failing, "stat", 1)
    with pytest.raises(StoreUnavailable):
        impatient.stat("aa")
    assert failing.failures.calls("stat") == 1


def test_a_body_that_cannot_be_had_twice_is_put_once(
    failing: FailingObjectStore, retrying: RetryingObjectStore, slept: list[float]
) -> None:
    plan(failing, "put", 1)
    with pytest.raises(StoreUnavailable):
        retrying.put("aa", iter([b"x"]))
    assert slept == [] and failing.failures.calls("put") == 1
