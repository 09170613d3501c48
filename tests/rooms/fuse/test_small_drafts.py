"""The commit of a draft that becomes one small object: whatever fails on the way leaves nothing, and the draft."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator

import pytest

from fuse_mount.drafts import OpenFile
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import EDITED, Files, close, edit_digits
from tests.rooms.fuse.test_storing_ahead import stored
from vfs.errors import Locked, NoSpace, StoreUnavailable
from vfs.model import BLOCK_SIZE
from vfs.operations import writing

OLD = b"what was there before"


@pytest.fixture(params=["a new file", "over a file"])
def handle(request: pytest.FixtureRequest, drive: Drive, files: Files) -> Iterator[OpenFile]:
    """Something is written to it, and not committed."""
    if request.param == "over a file":
        drive.put("f", OLD)
        handle = files.open("f")
    else:
        handle = files.create("f")
    handle.write(0, b"new")
    yield handle
    handle.release()


@pytest.mark.parametrize("size", [1, 4096, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1])
def test_bytes_come_back(drive: Drive, files: Files, size: int) -> None:
    data = os.urandom(size)
    files.save("f", data)
    assert (drive.read("f"), stored(drive)) == (data, set())


def test_what_shows_through_is_part_of_it(drive: Drive, files: Files) -> None:
    drive.put("f", b"0123456789")
    handle = files.open("f")
    edit_digits(handle)
    close(handle)
    assert drive.read("f") == EDITED
    handle = files.open("f")
    handle.truncate(3)
    close(handle)
    assert (drive.read("f"), stored(drive)) == (b"01x", set())


def failing_sync(real: Callable[[int], None], fails: Callable[[], bool] = lambda: True) -> Callable[[int], None]:
    """Of files, not of folders. The error is the disk's."""

    def sync(fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode) and fails():
            raise OSError(errno.EIO, "the disk does not answer")
        real(fd)

    return sync


def needs_folder(drive: Drive) -> None:
    if not hasattr(drive.kelp.cache, "open"):
        pytest.skip("the cache of this drive is no folder")


def test_a_sync_that_fails_leaves_nothing(drive: Drive, handle: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_folder(drive)
    shown = drive.read("f")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_sync(os.fsync))
        with pytest.raises(StoreUnavailable):
            handle.flush()
        assert (drive.read("f"), stored(drive)) == (shown, set())
    handle.flush()
    assert (drive.read("f"), stored(drive)) == (b"new" + shown[3:], set())


def test_a_transaction_that_fails_leaves_nothing(
    drive: Drive, handle: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = drive.read("f")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "commit", _no_room)
        with pytest.raises(NoSpace):
            handle.flush()
        assert (drive.read("f"), stored(drive)) == (shown, set())
    handle.flush()
    assert (drive.read("f"), stored(drive)) == (b"new" + shown[3:], set())


def _no_room(*_: object, **__: object) -> None:
    raise NoSpace("just now")


def test_what_has_no_room_leaves_nothing(drive_with: Callable[..., Drive], files_of: Callable[[Drive], Files]) -> None:
    drive = drive_with(cache_hard_limit="10 KiB")
    files = files_of(drive)
    files.save("small", bytes(4096))
    handle = files.create("f", bytes(8192))
    with pytest.raises(NoSpace):
        handle.flush()
    assert (drive.read("f"), stored(drive)) == (b"", set())
    handle.truncate(1024)
    close(handle)
    assert (drive.read("f"), stored(drive)) == (bytes(1024), set())


def test_what_is_refused_is_kept_beside_it(drive: Drive, files: Files) -> None:
    handle = files.create("f", b"new")
    drive.lock("f", caller=drive.other)
    with pytest.raises(Locked):
        close(handle)
    (copy,) = (name for name in drive.names() if "(conflict editor " in name)
    assert (drive.read(copy), drive.read("f"), stored(drive)) == (b"new", b"", set())


def test_of_several_that_are_committed_at_once_only_the_one_that_fails_is_not(
    drive: Drive, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_folder(drive)
    handles = [files.create(f"f{number}", b"new") for number in range(3)]
    together, failed = threading.Barrier(3, timeout=60), list[int]()

    def fails() -> bool:
        return together.wait() == 0  # one of the three

    def commit(number: int) -> None:
        try:
            handles[number].flush()
        except StoreUnavailable:
            failed.append(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_sync(os.fsync, fails))
        threads = [threading.Thread(target=commit, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(failed) == 1
    assert [drive.read(f"f{number}") for number in range(3)] == [
        b"" if number in failed else b"new" for number in range(3)
    ]
    assert stored(drive) == set()
    for handle in handles:
        close(handle)
    assert {drive.read(f"f{number}") for number in range(3)} == {b"new"}
