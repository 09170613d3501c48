"""Objects that several contents have: counted once, kept as long as anybody needs them, stored anew when they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close
from vfs.metadata.contents import Contents
from vfs.model import PART_SIZE, Content, Part, StoreStatus
from vfs.operations import cache_limits, evicting, freeing

SIZE = 3 * PART_SIZE
BIG = bytes(range(256)) * (SIZE // 256)


def touch(files: Files, at: int = PART_SIZE, data: bytes = b"!") -> bytes:
    handle = files.open("big")
    handle.write(at, data)
    close(handle)
    return BIG[:at] + data + BIG[at + len(data) :]


def test_what_the_nas_has_is_not_counted_again(files: Files) -> None:
    files.save("big", BIG)
    assert cache_limits.measure(files.drive.kelp).dirty == 3 * files.part_size
    files.drive.mirror()
    files.drive.clock.advance(60)
    assert cache_limits.measure(files.drive.kelp).dirty == 0
    touch(files)
    assert cache_limits.measure(files.drive.kelp).dirty == files.part_size
    files.drive.mirror()
    assert cache_limits.measure(files.drive.kelp).dirty == 0


def test_what_two_contents_share_that_wait_is_counted_once(files: Files) -> None:
    files.save("big", BIG)
    files.drive.clock.advance(60)
    touch(files)
    assert len(files.drive.versions("big")) == 1
    assert cache_limits.measure(files.drive.kelp).dirty == 4 * files.part_size


def test_freeing_one_content_leaves_what_the_other_has(files: Files) -> None:
    files.save("big", BIG)
    wanted = touch(files)  # by the same user, at once: the content before is no version, and nobody's
    files.drive.clock.advance(120)
    freeing.free_contents(files.drive.kelp)
    files.drive.clock.advance(120)
    done = freeing.free_contents(files.drive.kelp)
    assert (done.count, done.bytes) == (1, files.part_size)
    assert files.drive.read("big") == wanted


def test_what_was_evicted_is_stored_anew(files: Files) -> None:
    files.save("big", BIG)
    files.drive.mirror()
    before = files.objects("big")
    evict(files.drive, before[0])
    wanted = touch(files)
    after = files.objects("big")
    assert after[0] != before[0]
    assert after[2] == before[2]
    assert files.drive.read("big") == wanted


def test_what_is_evicted_while_it_is_committed_is_stored_anew(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save("big", BIG)
    files.drive.mirror()
    before = files.objects("big")
    handle = files.open("big")
    handle.write(PART_SIZE, b"!")
    inner = type(files.drive.kelp.cache).put
    put_one = []

    def put(self: object, key: str, chunks: object) -> object:
        if not put_one:
            put_one.append(key)
            evict(files.drive, before[0])
        return inner(self, key, chunks)  # type: ignore[arg-type]

    monkeypatch.setattr(type(files.drive.kelp.cache), "put", put)
    close(handle)
    assert put_one[0] not in files.objects("big")
    assert files.drive.read("big")[: PART_SIZE + 1] == BIG[:PART_SIZE] + b"!"
    assert files.objects("big")[0] != before[0]


def test_what_the_cache_loses_comes_from_the_nas_file_of_the_content_before(files: Files) -> None:
    files.save("big", BIG)
    files.drive.mirror()
    wanted = touch(files)
    lost = files.objects("big")[2]
    files.drive.kelp.cache.delete(lost)  # a fault of its disk
    assert files.drive.read("big") == wanted
    assert files.drive.kelp.background.wait(60)
    assert files.drive.kelp.cache.stat(lost) == files.part_size


def evict(drive: Drive, key: str) -> None:
    with drive.kelp.database.write() as tx:
        assert tx.restoring.switch(key, StoreStatus.AVAILABLE, StoreStatus.MISSING, drive.clock.now_ns())
    drive.kelp.cache.delete(key)


def test_an_eviction_that_looked_before_the_commit_sees_what_it_shares(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    kelp = files.drive.kelp
    files.save("big", BIG)
    files.drive.mirror()
    key = files.objects("big")[0]
    handle = files.open("big")
    handle.write(PART_SIZE, b"!")
    marked = []
    evictor = threading.Thread(target=lambda: marked.append(evicting._mark(kelp, [key])))
    inner = Contents.insert

    def insert(self: Contents, content: Content, now_ns: int, fresh: Sequence[Part] | None = None) -> None:
        evictor.start()
        time.sleep(0.3)  # PostgreSQL: it has seen that the object may go, and waits for its row
        inner(self, content, now_ns, fresh)

    monkeypatch.setattr(Contents, "insert", insert)
    close(handle)
    evictor.join()
    evicting._finish(kelp, [one for one in marked if one is not None])
    assert files.objects("big")[0] == key
    assert files.drive.read("big")[:PART_SIZE] == BIG[:PART_SIZE]
    assert kelp.cache.stat(key) == files.part_size
