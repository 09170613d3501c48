"""A store that gains by several parts at a time: order, failures, memory; over a folder, so that it is fast."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tests.services import s3
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import KelpError, NoSpace, StoreUnavailable, UploadIncomplete
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Content, Expected, Stored
from vfs.operations import contents, part_uploads
from vfs.settings import Settings
from vfs.storage.block_sums import BlockSums
from vfs.storage.folder import FolderObjectStore
from vfs.storage.wrappers import FailingObjectStore, Failure, When


class Several(FolderObjectStore):
    """Counts how many parts are on their way, and lets a test hold them up."""

    at_once = 4

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()
        self.gate.set()
        self._guard = threading.Lock()
        self.now = self.most = 0

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        with self._guard:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.gate.wait(30)
            return super().put(key, chunks, replace=replace)
        finally:
            with self._guard:
                self.now -= 1


@pytest.fixture
def several(tmp_path: Path) -> Several:
    return Several(tmp_path / "cache")


@pytest.fixture
def failing(several: Several) -> FailingObjectStore:
    return FailingObjectStore(several)


@pytest.fixture
def kelp(tmp_path: Path, failing: FailingObjectStore) -> Iterator[Kelp]:
    kelp = build(Settings.load(None, None, data=tmp_path), cache=failing)
    yield kelp
    kelp.close()
    assert part_uploads._memory._held == 0, "every part gave its memory back"


def pieces(size: int) -> Iterator[bytes]:
    """Different bytes everywhere, from one buffer that is used again, as servers do."""
    buffer = bytearray(PIECE_SIZE)
    for at in range(0, size, PIECE_SIZE):
        buffer[:8] = at.to_bytes(8, "big")
        buffer[-8:] = at.to_bytes(8, "big")
        yield memoryview(buffer)[: size - at]  # type: ignore[misc]


def whole(size: int) -> bytes:
    return b"".join(map(bytes, pieces(size)))


def read(kelp: Kelp, content: Content, wanted: ByteRange | None = None) -> bytes:
    return b"".join(contents.Reader(kelp, content).chunks(wanted))


@pytest.mark.parametrize("size", [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 11 * PART_SIZE + 5])
def test_parts_are_in_order(kelp: Kelp, several: Several, size: int) -> None:
    expected = whole(size)
    content = contents.store(kelp, pieces(size), Expected(length=size))
    assert (content.size, content.checksum) == (size, blake3(expected).hexdigest())
    assert [part.size for part in content.parts] == [min(PART_SIZE, size - at) for at in range(0, size, PART_SIZE)]
    for at, part in zip(range(0, size, PART_SIZE), content.parts, strict=True):
        sums = BlockSums()
        sums.update(expected[at : at + PART_SIZE])
        assert part.blocks == sums.finish()
    assert read(kelp, content) == expected
    wanted = ByteRange(size // 3, size - size // 5)
    assert read(kelp, content, wanted) == expected[wanted.start : wanted.stop]
    assert several.most <= 4


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("part", [1, 2, 7, 9])
@pytest.mark.parametrize("error", [StoreUnavailable("away"), NoSpace("full"), RuntimeError("unheard of")])
def test_one_part_fails_and_nothing_is_left(
    kelp: Kelp, failing: FailingObjectStore, part: int, when: When, error: Exception
) -> None:
    failing.failures.plan(Failure("put", error, part, when))
    with pytest.raises(type(error)) as caught:
        contents.store(kelp, pieces(9 * PART_SIZE), Expected())
    assert caught.value is error
    assert list(kelp.cache.list()) == []


@pytest.mark.parametrize("size", [10, PART_SIZE, 5 * PART_SIZE + 10])
def test_the_body_breaks_and_nothing_is_left(kelp: Kelp, size: int) -> None:
    class Lost(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield from pieces(size)
        raise Lost

    with pytest.raises(Lost):
        contents.store(kelp, breaking(), Expected())
    with pytest.raises(UploadIncomplete):
        contents.store(kelp, pieces(3 * PART_SIZE), Expected(length=3 * PART_SIZE - 1))
    assert list(kelp.cache.list()) == []


def test_uploads_share_their_memory_and_none_waits_for_another(kelp: Kelp, several: Several) -> None:
    """Ten uploads whose parts do not end: each may hold one, all together few more."""
    several.gate.clear()
    results: list[Content] = []
    threads = [
        threading.Thread(target=lambda: results.append(contents.store(kelp, pieces(6 * PART_SIZE), Expected())))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    seen = threading.Event()
    for _ in range(300):
        if part_uploads._memory._held >= 10:
            break
        seen.wait(0.05)
    seen.wait(0.3)
    assert 10 <= part_uploads._memory._held <= part_uploads._HELD + 10
    several.gate.set()
    for thread in threads:
        thread.join()
    assert len(results) == 10 and len({content.checksum for content in results}) == 1


def test_the_next_part_is_asked_for_early_and_a_fault_there_is_harmless(
    kelp: Kelp, failing: FailingObjectStore
) -> None:
    expected = whole(3 * PART_SIZE)
    content = contents.store(kelp, pieces(3 * PART_SIZE), Expected())
    stream = contents.Reader(kelp, content).chunks()
    before = failing.failures.calls("get")
    next(stream)
    next(stream)
    assert failing.failures.calls("get") == before + 1
    del stream
    failing.failures.plan(Failure("get", StoreUnavailable("away"), 2))
    assert read(kelp, content) == expected
    for call in (2, 3, 4):  # early, in its turn, and once more
        failing.failures.plan(Failure("get", StoreUnavailable("away"), call))
    with pytest.raises(KelpError):
        read(kelp, content)


def test_a_download_that_ends_early_holds_nothing(kelp: Kelp) -> None:
    content = contents.store(kelp, pieces(3 * PART_SIZE), Expected())
    for _ in range(1500):  # of two files each: more than a process may have open
        stream = contents.Reader(kelp, content).chunks()
        next(stream)
        next(stream)


_BIG = """
import resource, sys
from vfs.bootstrap import build
from vfs.model import Expected
from vfs.operations import contents
from vfs.settings import Settings

kelp = build(Settings.load(None, None, data=sys.argv[1], cache_url=sys.argv[2],
                           cache_access_key=sys.argv[3], cache_secret_key=sys.argv[4]))
contents.store(kelp, iter([b"warm"]), Expected())
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
piece = bytes(1024 * 1024)
content = contents.store(kelp, (piece for _ in range(512)), Expected(length=512 * 1024 * 1024))
assert sum(map(len, contents.Reader(kelp, content).chunks())) == content.size == 512 * 1024 * 1024
for part in content.parts:
    kelp.cache.delete(part.key)
kelp.close()
print((peak() - before) // 1024)
"""


@pytest.mark.slow
def test_half_a_gigabyte_takes_little_memory(tmp_path: Path) -> None:
    with s3.s3_endpoint() as url:
        arguments = [str(tmp_path), s3.bucket_url(url), s3.ACCESS_KEY, s3.SECRET_KEY]
        done = subprocess.run([sys.executable, "-c", _BIG, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150, f"{done.stdout.strip()} MiB more than before"
