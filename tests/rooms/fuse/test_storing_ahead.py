"""What is stored while a file is still being written is what the commit would have stored, or it is gone again."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from fuse_mount import recovering
from fuse_mount.drafts import OpenFile
from tests import cache_listing, vaults, warm_starts
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close, whole
from tests.waiting import until
from vfs.background import Background
from vfs.errors import Locked, NoSpace, StoreUnavailable
from vfs.model import PART_SIZE, PIECE_SIZE, Stored
from vfs.operations import contents, orphans, writing
from vfs.operations.storing_ahead import Ahead
from vfs.storage.object_store import ObjectStore
from vfs.storage.wrappers import FailingObjectStore, Failure, When

pytestmark = pytest.mark.skipif(vaults.ALL, reason="nothing of a vault is stored ahead")

MountOf = Callable[[Drive], Files]
SIZE = 3 * PART_SIZE + 5000
DATA = random.Random(1).randbytes(SIZE)


def known(drive: Drive) -> set[str]:
    """Keys of objects that have a row."""
    with drive.kelp.database.read() as tx:
        return {row[0] for row in tx.all("SELECT key FROM objects")}


def stored(drive: Drive) -> set[str]:
    """… and of those that no row names."""
    return cache_listing.keys(drive.kelp.cache) - known(drive)


def write(handle: OpenFile, start: int = 0, stop: int = SIZE) -> None:
    for at in range(start, stop, PIECE_SIZE):
        handle.write(at, DATA[at : min(at + PIECE_SIZE, stop)])


def rest(files: Files) -> None:
    """Nothing is being stored or removed any more."""
    assert files.open_files.storing.wait(60)


def written(files: Files, path: str = "f") -> OpenFile:
    handle = files.create(path)
    write(handle)
    rest(files)
    return handle


@pytest.fixture
def failing(drive: Drive) -> FailingObjectStore:
    cache = FailingObjectStore(drive.kelp.cache)
    drive.kelp = replace(drive.kelp, cache=cache)
    return cache


def test_whole_parts_are_stored_before_the_commit(drive: Drive, failing: FailingObjectStore, files_of: MountOf) -> None:
    files = files_of(drive)
    handle = written(files)
    early = stored(drive)
    assert len(early) == 3
    close(handle)
    assert failing.failures.calls("put") == 4
    assert set(files.objects("f")) > early
    assert stored(drive) == set()
    assert drive.read("f") == DATA
    assert files.open_files.disk.used == files.open_files.disk.ahead == 0


def test_a_file_of_one_part(drive: Drive, files: Files) -> None:
    """Its object has the content's name; and its checksum is that of the whole."""
    handle = files.create("f")
    write(handle, 0, PART_SIZE)
    rest(files)
    (early,) = stored(drive)
    close(handle)
    assert [early] == files.objects("f")
    assert drive.entry("f").content_id == early
    assert drive.read("f") == DATA[:PART_SIZE]


def test_what_was_the_second_part_cannot_be_the_only_one(drive: Drive, files: Files) -> None:
    handle = files.create("f")
    write(handle, PART_SIZE, 2 * PART_SIZE)
    write(handle, 0, PART_SIZE)
    rest(files)
    handle.truncate(PART_SIZE)
    handle.write(0, b"x")
    close(handle)
    rest(files)
    assert drive.read("f") == b"x" + DATA[1:PART_SIZE]
    assert (stored(drive), len(files.objects("f"))) == (set(), 1)


@pytest.mark.parametrize("at", [0, 5, PART_SIZE - 1, PART_SIZE, 3 * PART_SIZE - 3])
def test_a_part_that_is_written_again(drive: Drive, files: Files, at: int) -> None:
    handle, data = written(files), bytearray(DATA)
    handle.write(at, b"other")
    data[at : at + 5] = b"other"
    rest(files)
    touched = {at // PART_SIZE, (at + 4) // PART_SIZE}
    assert len(stored(drive)) == 3 - len(touched - {3})
    handle.write(at, b"again")  # it is not stored twice
    data[at : at + 5] = b"again"
    rest(files)
    assert whole(handle) == data
    close(handle)
    rest(files)
    assert drive.read("f") == data
    assert stored(drive) == set()


@pytest.mark.parametrize("size", [0, 7, PART_SIZE, 2 * PART_SIZE + 1, SIZE + 4 * PART_SIZE])
def test_a_file_that_is_cut(drive: Drive, files: Files, size: int) -> None:
    handle = written(files)
    handle.truncate(size)
    rest(files)
    assert len(stored(drive)) == min(size // PART_SIZE, 3)
    close(handle)
    assert drive.read("f") == DATA[:size] + bytes(max(size - SIZE, 0))
    rest(files)
    assert stored(drive) == set()


def test_more_is_undone_than_may_wait(drive: Drive, files: Files) -> None:
    files.open_files.storing = Background(threads=1, most=1)
    handle = files.create("f")
    for at in range(0, 3 * PART_SIZE, PART_SIZE):
        write(handle, at, at + PART_SIZE)
        rest(files)
    assert len(stored(drive)) == 3
    handle.truncate(0)
    rest(files)
    assert stored(drive) == set()
    assert files.open_files.disk.ahead == 0, "nothing stays reserved"
    close(handle)


def test_over_what_was_there(drive: Drive, files: Files) -> None:
    """The second part only; the others stay."""
    close(written(files))
    before = files.objects("f")
    handle = files.open("f")
    for at in range(PART_SIZE, 2 * PART_SIZE, PIECE_SIZE):
        handle.write(at, bytes(PIECE_SIZE))
    rest(files)
    (early,) = stored(drive)
    close(handle)
    assert files.objects("f") == [before[0], early, *before[2:]]
    assert drive.read("f") == DATA[:PART_SIZE] + bytes(PART_SIZE) + DATA[2 * PART_SIZE :]


def test_a_part_changes_while_it_is_stored(drive: Drive, files_of: MountOf) -> None:
    """Both by who writes in that moment, and by the commit that follows."""
    slow = _Slow(drive.kelp.cache)
    files, handle = _being_stored(drive, files_of, slow, PART_SIZE + 10)
    handle.write(PART_SIZE - 1, b"ab")
    slow.go_on.set()
    close(handle)
    rest(files)
    assert drive.read("f") == DATA[: PART_SIZE - 1] + b"ab" + DATA[PART_SIZE + 1 : PART_SIZE + 10]
    assert stored(drive) == set()


def test_a_commit_waits_for_what_is_being_stored(drive: Drive, files_of: MountOf) -> None:
    slow = _Slow(drive.kelp.cache)
    _, handle = _being_stored(drive, files_of, slow, PART_SIZE + 10)
    ending = threading.Thread(target=close, args=(handle,))
    ending.start()
    until(lambda: slow.puts == 2)
    slow.go_on.set()
    ending.join(60)
    assert slow.puts == 2
    assert drive.read("f") == DATA[: PART_SIZE + 10]


@pytest.mark.parametrize("size", [PART_SIZE, PART_SIZE + 10, 2 * PART_SIZE])
def test_a_commit_waits_for_what_fails(drive: Drive, files_of: MountOf, size: int) -> None:
    """And stores it itself: of a file of one part under a name of its own, which is the content's."""
    slow = _Slow(drive.kelp.cache, error=StoreUnavailable("for a moment"))
    files, handle = _being_stored(drive, files_of, slow, size)
    ending = threading.Thread(target=close, args=(handle,))
    ending.start()
    draft = handle._file._draft
    assert draft is not None and draft.ahead is not None
    until(partial(_is_claimed, draft.ahead))
    slow.go_on.set()
    ending.join(60)
    rest(files)
    assert drive.read("f") == DATA[:size]
    assert stored(drive) == set()


def _being_stored(drive: Drive, files_of: MountOf, slow: _Slow, size: int) -> tuple[Files, OpenFile]:
    """A file of so many bytes, whose first part is on its way to the store."""
    drive.kelp = replace(drive.kelp, cache=slow)
    files = files_of(drive)
    handle = files.create("f")
    write(handle, 0, size)
    assert slow.begun.wait(60)
    return files, handle


def _is_claimed(ahead: Ahead) -> bool:
    return ahead._id == ""


class _Slow:
    """Its first put waits in the middle; `error`: and then fails."""

    def __init__(self, inner: ObjectStore, error: Exception | None = None) -> None:
        self.inner, self.error = inner, error
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.puts = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        self.puts += 1
        return self.inner.put(key, self._held(chunks) if self.puts == 1 else chunks, replace=replace)

    def _held(self, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            self.begun.set()
            assert self.go_on.wait(60)
            if self.error is not None:
                raise self.error
            yield chunk


def test_many_parts_that_are_changed_at_once(drive: Drive, files: Files) -> None:
    close(written(files))
    handle, data = files.open("f"), bytearray(DATA)
    for at in (0, 100, PART_SIZE - 2, 2 * PART_SIZE + PIECE_SIZE - 1, 3 * PART_SIZE, SIZE - 1, SIZE + 9000):
        data[len(data) :] = bytes(max(at - len(data), 0))
        handle.write(at, b"new")
        data[at : at + 3] = b"new"
    close(handle)
    assert (drive.read("f"), stored(drive)) == (data, set())


# --- what fails ---


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_what_could_not_be_stored_ahead_is_stored_by_the_commit(
    drive: Drive, failing: FailingObjectStore, files_of: MountOf, call: int, when: When
) -> None:
    files = files_of(drive)
    failing.failures.plan(Failure("put", StoreUnavailable("away"), call, when))
    close(written(files))
    rest(files)
    assert drive.read("f") == DATA
    assert stored(drive) == set()
    assert files.open_files.disk.ahead == 0


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("again", [False, True])
def test_a_commit_that_fails_leaves_nothing(
    drive: Drive, failing: FailingObjectStore, files_of: MountOf, when: When, again: bool
) -> None:
    files = files_of(drive)
    handle = written(files)
    failing.failures.plan(Failure("put", StoreUnavailable("away"), 1, when))
    with pytest.raises(StoreUnavailable):
        handle.flush()
    rest(files)
    assert (stored(drive), drive.read("f")) == (set(), b"")
    if again:
        write(handle, 0, PART_SIZE)
        close(handle)
        assert drive.read("f") == DATA
    else:
        handle.release()
        assert drive.read("f") == DATA
    rest(files)
    assert stored(drive) == set()


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_one_of_several_that_are_stored_together_fails(
    drive: Drive, failing: FailingObjectStore, files_of: MountOf, call: int
) -> None:
    files = files_of(drive)
    close(written(files))
    handle, data = files.open("f"), bytearray(DATA)
    for number in range(4):
        handle.write(number * PART_SIZE + 70, b"changed")
        data[number * PART_SIZE + 70 : number * PART_SIZE + 77] = b"changed"
    failing.failures.plan(Failure("put", StoreUnavailable("away"), call, When.AFTER))
    with pytest.raises(StoreUnavailable):
        handle.flush()
    assert (stored(drive), drive.read("f")) == (set(), DATA)
    close(handle)
    assert (stored(drive), drive.read("f")) == (set(), data)


def test_a_transaction_that_fails_leaves_nothing(drive: Drive, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = written(files)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "commit", _no_room)
        with pytest.raises(NoSpace):
            handle.flush()
    assert stored(drive) == set()
    close(handle)
    assert (stored(drive), drive.read("f")) == (set(), DATA)


def _no_room(*_: object, **__: object) -> None:
    raise NoSpace("just now")


def test_what_is_refused_is_kept_beside_it(drive: Drive, files: Files) -> None:
    handle = written(files)
    drive.lock("f", caller=drive.other)
    with pytest.raises(Locked):
        close(handle)
    rest(files)
    (copy,) = (name for name in drive.names() if "(conflict editor " in name)
    assert (stored(drive), drive.read(copy), drive.read("f")) == (set(), DATA, b"")


@pytest.mark.parametrize("how", ["removed", "ended"])
def test_a_file_that_is_not_committed_leaves_nothing(drive: Drive, files_of: MountOf, how: str) -> None:
    files = files_of(drive)
    handle = written(files)
    assert len(stored(drive)) == 3
    if how == "removed":
        files.remove("f")
        close(handle)
        rest(files)
    else:
        files.open_files.close()
        assert drive.read("f") == DATA
    assert stored(drive) == set()


@pytest.mark.parametrize("more", [False, True])
def test_what_rested_is_not_relied_on(drive: Drive, files: Files, more: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orphan batch may have taken it."""
    handle = written(files)
    early = stored(drive)
    drive.clock.advance(3600)
    monkeypatch.setattr(orphans, "_ORPHAN_NS", -60 * 1_000_000_000)
    orphans.seek_orphans(drive.kelp)
    assert stored(drive) == set()
    if more:
        handle.write(SIZE, bytes(PART_SIZE))
    close(handle)
    rest(files)
    assert drive.read("f") == DATA + bytes(PART_SIZE) * more
    assert early.isdisjoint(files.objects("f"))
    assert stored(drive) == set()


def test_what_was_changed_again_keeps_nothing_else(drive: Drive, files: Files) -> None:
    """A program that goes back to each part: the first one has rested, whatever was begun since."""
    handle, data = files.create("f"), bytearray(DATA)
    write(handle, 0, PART_SIZE)
    rest(files)
    (first,) = stored(drive)
    for at in (PART_SIZE, 2 * PART_SIZE):
        drive.clock.advance(500)
        write(handle, at, at + PART_SIZE)
        handle.write(at, b"again")
        data[at : at + 5] = b"again"
        rest(files)
    drive.kelp.cache.delete(first)  # as the orphan batch would
    close(handle)
    assert drive.read("f") == data[: 3 * PART_SIZE]
    rest(files)
    assert stored(drive) == set()


def test_no_room_beside_what_waits_for_the_nas(drive_with: Callable[..., Drive], files_of: MountOf) -> None:
    """What was reserved for it is free again when it is gone."""
    drive = drive_with(cache_hard_limit="16 MiB")
    files = files_of(drive)
    handle = written(files)
    with pytest.raises(NoSpace):
        handle.flush()
    rest(files)
    assert stored(drive) == set()
    handle.truncate(2 * PART_SIZE)
    close(handle)
    assert drive.read("f") == DATA[: 2 * PART_SIZE]


def test_what_was_reserved_for_it_stays_reserved(drive_with: Callable[..., Drive], files_of: MountOf) -> None:
    drive = drive_with(cache_hard_limit="40 MiB")
    files = files_of(drive)
    close(written(files))
    handle = files.create("other")
    write(handle, 0, 2 * PART_SIZE + PIECE_SIZE)
    rest(files)  # else all is the commit's, and who asks again in the same moment is refused unseen
    with pytest.raises(NoSpace):
        handle.flush()
    handle.truncate(PART_SIZE)
    close(handle)
    rest(files)
    assert stored(drive) == set()


def test_nothing_of_a_vault_is_stored_ahead(drive: Drive, files: Files) -> None:
    vaults.make_vault(drive.kelp)
    handle = written(files, "vault/f")
    assert stored(drive) == set()
    close(handle)
    assert drive.read("vault/f") == DATA


# --- kills ---


@pytest.mark.parametrize("when", ["ahead", "claimed"])
def test_a_kill_leaves_the_draft_and_orphans(drive: Drive, files_of: MountOf, when: str) -> None:
    arguments = [str(drive.kelp.settings.data), str(drive.editor.user_id), str(drive.clock.now), when]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = warm_starts.run([sys.executable, "-m", "tests.rooms.fuse.dying_ahead", *arguments], environ, 120)
    assert child.returncode == -signal.SIGKILL
    assert len(stored(drive)) >= 2
    assert drive.find("f") is None or drive.read("f") == b""
    (left,) = recovering.found(drive.kelp)
    entry = recovering.recover(drive.kelp, drive.editor, left)
    assert drive.read_entry(entry) == bytes(range(256)) * (3 * PART_SIZE // 256)
    known_before = known(drive)
    contents.remove(drive.kelp, stored(drive))
    assert known(drive) == known_before
    close(files_of(drive).open(entry.name))
