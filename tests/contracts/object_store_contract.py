"""What every ObjectStore does. A test file of an implementation subclasses this and has a fixture `store`."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from blake3 import blake3

from vfs.errors import AlreadyExists, ContentCorrupt, ObjectMissing, StoreUnavailable
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Stored
from vfs.storage import object_store
from vfs.storage.object_store import ObjectStore
from vfs.storage.retrying import RetryingObjectStore


def new_key() -> str:
    return str(uuid.uuid4())


def patterned(size: int) -> bytes:
    """Bytes in which a shift or a repeated piece shows."""
    block = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return block[:size]


class BodyLost(Exception):
    """What a face's body raises when the client goes away."""


def lost_after(chunks: list[bytes], error: BaseException) -> Iterator[bytes]:
    yield from chunks
    raise error


class ObjectStoreContract:
    many = 2000  # more than a process may have open, files or connections
    may_be_busy = False  # may refuse (StoreUnavailable) when many ask at once

    # --- put and get

    @pytest.mark.parametrize("size", [0, 1, 4096, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE + 17])
    def test_bytes_come_back(self, store: ObjectStore, size: int) -> None:
        key, content = new_key(), patterned(size)
        stored = store.put(key, [content[:100], b"", content[100:]])
        assert stored == Stored(size, blake3(content).hexdigest())
        pieces = list(store.get(key))
        assert b"".join(pieces) == content
        assert all(0 < len(piece) <= PIECE_SIZE for piece in pieces)
        assert store.stat(key) == size

    def test_a_buffer_may_be_reused(self, store: ObjectStore) -> None:
        key, buffer = new_key(), bytearray(1000)

        def chunks() -> Iterator[memoryview]:
            for number in range(5):
                buffer[:] = bytes([number]) * 1000
                yield memoryview(buffer)[:900]

        store.put(key, chunks())
        assert b"".join(store.get(key)) == b"".join(bytes([number]) * 900 for number in range(5))

    @pytest.mark.parametrize("start, stop", [(0, 0), (0, 1), (5, 5), (7, 19), (0, 2500000), (1048570, 1048590)])
    def test_ranges(self, store: ObjectStore, start: int, stop: int) -> None:
        key, content = new_key(), patterned(2500000)
        store.put(key, [content])
        assert b"".join(store.get(key, ByteRange(start, stop))) == content[start:stop]

    def test_a_range_past_the_end_means_the_object_was_cut(self, store: ObjectStore) -> None:
        key = new_key()
        store.put(key, [b"0123456789"])
        with pytest.raises(ContentCorrupt):
            b"".join(store.get(key, ByteRange(0, 11)))

    @pytest.mark.parametrize("start, stop", [(-1, 3), (5, 4)])
    def test_ranges_that_are_none(self, store: ObjectStore, start: int, stop: int) -> None:
        key = new_key()
        store.put(key, [b"0123456789"])
        with pytest.raises(ValueError):
            store.get(key, ByteRange(start, stop))

    def test_missing_shows_at_the_call(self, store: ObjectStore) -> None:
        for ask in (store.get, store.stat):
            with pytest.raises(ObjectMissing):
                ask(new_key())

    def test_a_key_is_used_once(self, store: ObjectStore) -> None:
        key = new_key()
        store.put(key, [b"first"])
        with pytest.raises(AlreadyExists):
            store.put(key, [b"second"])
        assert b"".join(store.get(key)) == b"first"

    @pytest.mark.parametrize(
        "error", [BodyLost(), OSError(104, "reset"), KeyboardInterrupt(), FileNotFoundError(2, "x")]
    )
    def test_a_body_that_breaks_leaves_nothing(self, store: ObjectStore, error: BaseException) -> None:
        key = new_key()
        with pytest.raises(type(error)) as caught:
            store.put(key, lost_after([patterned(PIECE_SIZE), b"more"], error))
        assert caught.value is error, "the body's error is not the store's: it must pass untranslated"
        assert [info.key for info in store.list()] == []
        assert store.put(key, [b"again"]).size == 5

    # --- keys of the store's choice

    def test_keys_that_the_store_gives(self, store: ObjectStore) -> None:
        put: dict[str, bytes] = {}
        for number in range(45):
            key = object_store.new_key(store)
            assert key not in put and uuid.UUID(key).version == 4
            put[key] = b"%d" % number * number
            store.put(key, [put[key]])
            with pytest.raises(AlreadyExists):
                store.put(key, [b"again"])
        # One that is just being made ahead may show.
        listed = [info[:2] for info in store.list() if info.size or info.key in put]
        assert listed == [(key, len(put[key])) for key in sorted(put)]
        assert all(b"".join(store.get(key)) == whole for key, whole in put.items())

    def test_keys_that_the_store_gave_and_that_come_to_nothing(self, store: ObjectStore) -> None:
        for _ in range(10):
            kept = object_store.new_key(store)
            store.put(kept, [b"kept"])
        broken, deleted, replaced = (object_store.new_key(store) for _ in range(3))
        with pytest.raises(BodyLost):
            store.put(broken, lost_after([b"some"], BodyLost()))
        store.delete(deleted)
        store.put(replaced, [b"instead"], replace=True)
        for key in (broken, deleted):
            with pytest.raises(ObjectMissing):
                store.stat(key)
            assert store.put(key, [b"later"]).size == 5
        assert b"".join(store.get(replaced)) == b"instead" and len(list(store.list())) == 13

    # --- put over what is there

    @pytest.mark.parametrize("size", [0, 7, 3 * PIECE_SIZE + 17, PART_SIZE + 5])
    def test_what_is_there_is_replaced(self, store: ObjectStore, size: int) -> None:
        key, content = new_key(), patterned(size)
        store.put(key, [b"x" * 5000])
        stored = store.put(key, [content[:100], content[100:]], replace=True)
        assert stored == Stored(size, blake3(content).hexdigest())
        assert b"".join(store.get(key)) == content
        assert [info[:2] for info in store.list()] == [(key, size)]
        with pytest.raises(AlreadyExists):
            store.put(key, [b"new"])

    @pytest.mark.parametrize("key", ["6a367ae1-133a-4c84-ac65-7ca5211c59ab", "-", "zz", "x" * 200])
    def test_there_may_be_nothing_to_replace(self, store: ObjectStore, key: str) -> None:
        assert store.put(key, iter([b"first"]), replace=True).size == 5
        assert store.put(key, iter([b"second"]), replace=True).size == 6
        assert b"".join(store.get(key)) == b"second" and [info.key for info in store.list()] == [key]

    @pytest.mark.parametrize("size", [PIECE_SIZE, PART_SIZE + 5])
    @pytest.mark.parametrize("error", [BodyLost(), OSError(104, "reset"), KeyboardInterrupt()])
    def test_a_body_that_breaks_replaces_nothing(self, store: ObjectStore, error: BaseException, size: int) -> None:
        key = new_key()
        store.put(key, [b"old"])
        with pytest.raises(type(error)) as caught:
            store.put(key, lost_after([patterned(size), b"more"], error), replace=True)
        assert caught.value is error
        assert b"".join(store.get(key)) == b"old" and [info.key for info in store.list()] == [key]

    def test_a_reader_finds_the_old_or_the_new(self, store: ObjectStore) -> None:
        key, over = new_key(), threading.Event()
        contents = [bytes([number]) * 300_000 for number in range(10)]
        store.put(key, contents[:1])
        strange: list[object] = []

        def read() -> None:
            while not over.is_set():
                try:
                    if b"".join(store.get(key)) not in contents:
                        strange.append("neither")
                except Exception as error:
                    if not (self.may_be_busy and isinstance(error, StoreUnavailable)):
                        strange.append(error)

        writer = RetryingObjectStore(store) if self.may_be_busy else store
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for _ in range(5):
            for content in contents:
                writer.put(key, [content[:1000], content[1000:]], replace=True)
        over.set()
        for reader in readers:
            reader.join()
        assert not strange, strange[:5]
        assert b"".join(store.get(key)) == contents[-1]

    @pytest.mark.parametrize("key", ["", ".", "..", "a/b", "/a", "../x", "a\0b", "a\n", "é", "a b", "x" * 201])
    def test_keys_that_are_none(self, store: ObjectStore, key: str) -> None:
        asks = (
            lambda: store.put(key, [b""]),
            lambda: store.put(key, [b""], replace=True),
            lambda: store.get(key),
            lambda: store.stat(key),
        )
        for ask in asks:
            with pytest.raises(ValueError):
                ask()
        with pytest.raises(ValueError):
            store.delete(key)

    @pytest.mark.parametrize("key", ["-rf", ".hidden", "...", "A", "_", "zx", "0", "ff", "x" * 200])
    def test_odd_keys(self, store: ObjectStore, key: str) -> None:
        store.put(key, [b"odd"])
        assert [info.key for info in store.list()] == [key]
        assert b"".join(store.get(key)) == b"odd"

    def test_readers_dropped_half_way_hold_nothing(self, store: ObjectStore) -> None:
        key = new_key()
        store.put(key, [patterned(3 * PIECE_SIZE)])
        for _ in range(self.many):
            store.get(key)
            next(store.get(key))

    # --- delete

    def test_delete(self, store: ObjectStore) -> None:
        key = new_key()
        store.put(key, [b"gone"])
        store.delete(key)
        store.delete(key)
        with pytest.raises(ObjectMissing):
            store.get(key)
        assert list(store.list()) == []

    # --- list

    def test_list_is_in_order_and_can_go_on(self, store: ObjectStore) -> None:
        keys = sorted([new_key() for _ in range(30)] + ["A", "zz", "-", "5", "f_", "Z", "fz", "00"])
        for key in keys:
            store.put(key, [key.encode()])
        found = list(store.list())
        assert [info.key for info in found] == keys
        assert [info.size for info in found] == [len(key) for key in keys]
        for at in (0, 3, len(keys) - 1):
            assert [info.key for info in store.list(after=keys[at])] == keys[at + 1 :]
        assert [info.key for info in store.list(after="5a")] == [key for key in keys if key > "5a"]

    def test_list_by_prefix(self, store: ObjectStore) -> None:
        content = new_key()
        parts = [content, *(f"{content}.{number:06d}" for number in range(1, 6))]
        for key in [*parts, *(new_key() for _ in range(5)), "f", "fa", "g", "ee"]:
            store.put(key, [b"x"])
        assert [info.key for info in store.list(content)] == parts
        assert [info.key for info in store.list(content, after=parts[2])] == parts[3:]
        assert [info.key for info in store.list("f", after="f") if len(info.key) == 2] == ["fa"]
        assert list(store.list("g", after="h")) == []
        with pytest.raises(ValueError):
            store.list("a/..")

    def test_list_tells_the_stores_own_time(self, store: ObjectStore) -> None:
        first, second = sorted([new_key(), new_key()])
        for key in (first, second):
            store.put(key, [b"x"])
        times = [info.modified_ns for info in store.list()]
        assert times[0] <= times[1] and times[0] > 1_600_000_000 * 10**9

    # --- together

    def test_many_threads(self, store: ObjectStore) -> None:
        keys = [new_key() for _ in range(40)]

        def work(mine: list[str]) -> None:
            for key in mine:
                store.put(key, [key.encode() * 100])

        threads = [threading.Thread(target=work, args=(keys[number::4],)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [info.key for info in store.list()] == sorted(keys)
        assert all(b"".join(store.get(key)) == key.encode() * 100 for key in keys)

    def test_one_of_two_puts_of_a_key_wins(self, store: ObjectStore) -> None:
        key, won, gate = new_key(), [], threading.Barrier(4)

        def work(number: int) -> None:
            gate.wait()
            try:
                store.put(key, [bytes([number]) * 5000])
            except AlreadyExists:
                return
            won.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert b"".join(store.get(key)) == bytes(won) * 5000

    def test_usage(self, store: ObjectStore) -> None:
        total, free = store.usage()
        assert 0 < free <= total
