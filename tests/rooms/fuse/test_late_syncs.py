"""Small objects whose files are synced behind the commit: what a power cut, a kill, a bad disk takes from the file is
in the database as long as it may be missing. A power cut is played: the drive as it was when the close was answered,
with what nobody had synced spoilt."""

from __future__ import annotations

import itertools
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.faces.test_syncs import why_not
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close
from tests.rooms.fuse.test_sharing import evict
from tests.rooms.fuse.test_small_drafts import _no_room, failing_sync
from tests.waiting import until
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import NoSpace, StoreUnavailable
from vfs.metadata.redo import RedoRow
from vfs.model import Done, Entry
from vfs.operations import access, checking, dumping, freeing, reading, redoing
from vfs.storage import late_syncs
from vfs.storage.spare_files import IN_A_ROW

pytestmark = [
    pytest.mark.engine(database="sqlite", reason="a server's log is another disk's"),
    pytest.mark.engine(cache="folder", reason="an endpoint syncs by itself"),
]
DATA = b"bytes of a small file"
OTHER = b"other bytes"


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody syncs behind a commit before the drive is closed."""
    monkeypatch.setattr(late_syncs, "_SOON", 3600.0)
    monkeypatch.setattr(late_syncs, "_MANY", 3600)


def warm(files: Files) -> None:
    """From here on objects have names that were made ahead."""
    if files.drive.entry("").vault_id is not None:
        pytest.skip("vaults have no part in it")
    for number in range(IN_A_ROW + 1):
        files.save(f"warm{number}", b"warm")


@pytest.fixture
def saved(never: None, files: Files) -> Files:
    """There is a file, and its object is not synced."""
    warm(files)
    files.save("f", DATA)
    assert key_of(files.drive) in waiting(files.drive.kelp)
    return files


def key_of(drive: Drive, path: str = "f") -> str:
    content_id = drive.entry(path).content_id
    assert content_id is not None
    return content_id


def waiting(kelp: Kelp) -> dict[str, RedoRow]:
    """Rows whose objects are not known to be on the disk."""
    with kelp.database.read() as tx:
        return {row.key: row for row, _, _ in tx.redo.page(0, 1000)}


def file_of(data: Path, key: str) -> Path:
    (path,) = (data / "cache" / "objects").glob(f"*/{key}")
    return path


def cut(drive: Drive, target: Path, spoil: Callable[[Path], None]) -> list[str]:
    """The drive after a power cut now. Keys of what was spoilt: all that nobody had synced."""
    data, rows = drive.kelp.settings.data, list(waiting(drive.kelp))
    engines.copy_drive(data, target)
    for key in rows:
        spoil(file_of(target, key))
    return rows


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _long(path: Path) -> None:
    path.write_bytes(b"?" * (path.stat().st_size + 4096))


def found(kelp: Kelp, entry: Entry) -> bytes:
    return b"".join(reading.open_content(kelp, access.system_caller(kelp, "test"), entry).chunks())


@pytest.mark.parametrize("spoil", [_empty, _short, _zeros, _long])
def test_a_power_cut_takes_nothing_that_was_answered(
    saved: Files, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    drive, target = saved.drive, tmp_path / "after"
    drive.put("over", OTHER)
    handle = saved.open("over")
    handle.write(0, b"again")
    close(handle)
    entries = [drive.entry(name) for name in ("f", "over", "warm4")]
    rows = cut(drive, target, spoil)
    assert len(rows) >= 2
    with closing(build(engines.load(target), clock=drive.clock)) as kelp:
        assert waiting(kelp) == {}
        assert [found(kelp, entry) for entry in entries] == [DATA, b"again bytes", b"warm"]
        assert checking.check(kelp).problems == []
        caller = access.system_caller(kelp, "test")
        after = Drive(kelp, drive.clock, target / "nas", caller, caller, caller, caller)
        after.mirror()
        assert sorted(after.nas_files().values()) == sorted(drive_bytes(drive))
        assert checking.check(kelp, mirrored=True).problems == []


def drive_bytes(drive: Drive) -> list[bytes]:
    return [drive.read(name) for name in drive.names()]


def test_without_its_row_it_would_be_lost(saved: Files, tmp_path: Path) -> None:
    """So the tests above show something."""
    drive, target = saved.drive, tmp_path / "after"
    with drive.kelp.database.write() as tx:
        tx.redo.forget(waiting(drive.kelp).values())
    engines.copy_drive(drive.kelp.settings.data, target)
    _empty(file_of(target, key_of(drive)))
    with closing(build(engines.load(target), clock=drive.clock)) as kelp:
        assert checking.check(kelp).problems != []


def test_its_row_goes_behind_its_sync(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, missing = files.drive, list[str]()
    synced = set[str]()
    real = os.fsync

    def sync(fd: int) -> None:
        key = Path(os.readlink(f"/proc/self/fd/{fd}")).name
        if threading.current_thread().name == "late-syncs":
            if key not in waiting(drive.kelp):
                missing.append(key)
            synced.add(key)
        real(fd)

    monkeypatch.setattr(os, "fsync", sync)
    warm(files)
    wanted = set[str]()
    for number in range(late_syncs._MANY + 5):
        files.save(f"{number}", b"%d" % number)
        wanted.add(key_of(drive, f"{number}"))
    until(lambda: waiting(drive.kelp) == {})
    assert (missing, wanted - synced) == ([], set())


def test_it_ends_with_the_drive(saved: Files) -> None:
    data = saved.drive.kelp.settings.data
    saved.open_files.close()
    saved.drive.kelp.late_syncs.close()
    assert waiting(saved.drive.kelp) == {}
    assert file_of(data, key_of(saved.drive)).read_bytes() == DATA


@pytest.mark.parametrize("size", [redoing._LARGEST, redoing._LARGEST + 1])
def test_of_larger_ones_the_log_is_spared(never: None, files: Files, size: int) -> None:
    warm(files)
    files.save("f", bytes(size))
    assert (key_of(files.drive) in waiting(files.drive.kelp)) == (size <= redoing._LARGEST)


def test_a_disk_that_is_behind_is_waited_for(never: None, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_syncs, "_MOST", 2)
    warm(files)
    for number in range(5):
        files.save(f"{number}", DATA)
    assert len(waiting(files.drive.kelp)) == 2


def test_all_that_wait_or_are_synced_are_counted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs: each has an open file."""
    monkeypatch.setattr(late_syncs, "_MOST", 3)
    monkeypatch.setattr(late_syncs, "_MANY", 2)
    begun, go_on = threading.Event(), threading.Event()

    def hangs() -> bool:
        if threading.current_thread().name == "late-syncs":
            begun.set()
            go_on.wait(60)
        return False

    monkeypatch.setattr(os, "fsync", failing_sync(os.fsync, hangs))
    warm(files)
    files.save("one", DATA)
    assert begun.wait(60)
    for number in range(5):
        files.save(f"{number}", DATA)
    assert len(waiting(files.drive.kelp)) == 3
    go_on.set()


def test_few_wait_where_few_files_may_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert late_syncs._affordable() == 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thread_that_cannot_begin_is_begun_later(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, real = files.drive, threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "late-syncs":
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        warm(files)
        files.save("f", DATA)
    assert waiting(drive.kelp)
    files.save("g", DATA)
    until(lambda: waiting(drive.kelp) == {})


class Hanging:
    """An object on a disk that does not answer until it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.is_open = threading.Event(), threading.Event(), True

    def begin_sync(self) -> None:
        pass

    def sync(self) -> None:
        self.begun.set()
        self.go_on.wait(60)
        self.close()

    def close(self) -> None:
        self.is_open = False


def test_a_disk_that_takes_too_long_is_left_when_the_drive_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database is closed by then."""
    monkeypatch.setattr(late_syncs, "_CLOSING", 0.01)
    monkeypatch.setattr(late_syncs, "_MANY", 2)
    forgotten = list[object]()
    late = late_syncs.LateSyncs(forgotten.extend)
    disk, other = Hanging(), Hanging()
    late.add((1, "a"), disk)
    late.add((2, "b"), other)
    assert disk.begun.wait(60)
    late.close()
    disk.go_on.set()
    assert late._thread is not None
    late._thread.join(60)
    assert (forgotten, disk.is_open, other.is_open, other.begun.is_set()) == ([], False, False, False)


def test_a_start_leaves_to_others_what_they_are_about_to_sync(saved: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files read as they should; to sync them all would take a slow disk minutes."""
    drive = saved.drive
    rows, synced = waiting(drive.kelp), list[str]()
    _zeros(file_of(drive.kelp.settings.data, key_of(drive)))

    def counted(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    monkeypatch.setattr(os, "fsync", counted)
    redoing.at_start(drive.kelp.database, drive.kelp.cache, drive.clock)
    assert [name for name in synced if name in rows] == [key_of(drive)]
    assert waiting(drive.kelp).keys() == rows.keys() - {key_of(drive)}
    assert drive.read("f") == DATA


def test_it_ends_though_others_go_on(saved: Files) -> None:
    """Small files come faster than they are written again."""
    drive, count = saved.drive, len(waiting(saved.drive.kelp))
    store = Growing(drive.kelp)
    redoing.redo(drive.kelp.database, store, drive.clock)
    assert store.asked <= count + redoing._AT_ONCE
    redoing.run(drive.kelp)


class Growing:
    """A cache; whenever an object is written again, others are made."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp, self.asked = kelp, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kelp.cache, name)

    def redo(self, key: str, data: bytes) -> bool:
        self.asked += 1
        if self.asked < 10 * redoing._AT_ONCE:
            with self._kelp.database.write() as tx:
                for _ in range(2):
                    tx.redo.insert(key, data)
        return True


def test_what_is_dumped_is_on_the_disk(saved: Files) -> None:
    """Its rows are not in the dump, and the cache may be that of the drive that is made of it."""
    dumping.dump(saved.drive.kelp, lambda _: None)
    assert waiting(saved.drive.kelp) == {}


def test_a_commit_that_fails_leaves_nothing(never: None, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    warm(files)
    handle, before = files.create("f", DATA), waiting(files.drive.kelp)
    with monkeypatch.context() as patch:
        patch.setattr("vfs.operations.writing.commit", _no_room)
        with pytest.raises(NoSpace):
            handle.flush()
    assert waiting(files.drive.kelp) == before
    close(handle)
    assert files.drive.read("f") == DATA


def test_what_could_not_be_synced_is_written_again(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """After such a fault the memory of the machine may have what the disk has not."""
    drive, failed = files.drive, threading.Event()
    warm(files)
    until(lambda: waiting(drive.kelp) == {})

    def fails() -> bool:
        is_late = threading.current_thread().name == "late-syncs"
        if is_late:
            failed.set()
        return is_late

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_sync(os.fsync, fails))
        files.save("f", DATA)
        assert failed.wait(60)
        until(lambda: drive.kelp.late_syncs._thread is not None)
        with pytest.raises(StoreUnavailable):
            patch.setattr(os, "fsync", failing_sync(os.fsync))
            redoing.run(drive.kelp)
        assert list(waiting(drive.kelp)) == [key_of(drive)]
    path = file_of(drive.kelp.settings.data, key_of(drive))
    inode = path.stat().st_ino
    _zeros(path)
    assert redoing.run(drive.kelp) == Done(1)
    assert (path.read_bytes(), path.stat().st_ino, waiting(drive.kelp)) == (DATA, inode, {})


def test_a_store_that_is_away_is_waited_for(saved: Files, tmp_path: Path) -> None:
    drive, target = saved.drive, tmp_path / "after"
    rows = cut(drive, target, _empty)
    objects = target / "cache" / "objects"
    objects.rename(target / "elsewhere")
    with closing(build(engines.load(target), clock=drive.clock)) as kelp:
        assert set(waiting(kelp)) == set(rows)
        assert list(objects.glob("??/*")) == [], "nothing is made on a disk that is another"
        shutil.rmtree(objects)
        (target / "elsewhere").rename(objects)
        assert redoing.run(kelp) == Done(len(rows))
        assert (found(kelp, drive.entry("f")), waiting(kelp)) == (DATA, {})


def _freed(files: Files) -> None:
    drive = files.drive
    drive.remove("f")
    for _ in range(2):
        drive.clock.advance(120)
        freeing.free_contents(drive.kelp)


def _evicted(files: Files) -> None:
    files.drive.mirror()
    evict(files.drive, key_of(files.drive))


def _restored(files: Files) -> None:
    _evicted(files)
    assert files.drive.read("f") == DATA
    assert files.drive.kelp.background.wait(60)


def _stored_again(files: Files) -> None:
    files.drive.kelp.cache.put(key_of(files.drive), [DATA], replace=True)


def _shared(files: Files) -> None:
    files.drive.copy("f", "g")
    files.drive.remove("f")
    files.drive.move("g", "f")


def _as_it_was(_: Files) -> None:
    pass


@pytest.mark.parametrize("change", [_freed, _evicted, _restored, _stored_again, _shared, _as_it_was])
def test_a_row_that_comes_back_does_no_harm(saved: Files, change: Callable[[Files], None]) -> None:
    """Its deletion is not synced: a power cut may take that back, whatever became of the object meanwhile."""
    drive = saved.drive
    key, before = key_of(drive), waiting(drive.kelp)
    with drive.kelp.database.write() as tx:
        tx.redo.forget(before.values())
    change(saved)
    there = set(drive.objects())
    for _ in range(2):
        with drive.kelp.database.write() as tx:
            tx.redo.insert(key, DATA)
        redoing.run(drive.kelp)
        assert waiting(drive.kelp) == {}
        assert set(drive.objects()) == there
    if drive.find("f") is not None:
        assert drive.read("f") == DATA


@pytest.mark.parametrize("change", [_freed, _evicted])
def test_what_went_before_it_was_synced_does_not_come_back(saved: Files, change: Callable[[Files], None]) -> None:
    drive = saved.drive
    key = key_of(drive)
    change(saved)
    assert key in waiting(drive.kelp)
    redoing.run(drive.kelp)
    assert waiting(drive.kelp) == {}
    assert key not in drive.objects()


@pytest.mark.parametrize("is_alive", [False, True])
def test_several_at_once_do_it_as_one(saved: Files, is_alive: bool) -> None:
    """… also beside the one whose they are; what nobody else has spoilt is well then."""
    drive = saved.drive
    for key in () if is_alive else waiting(drive.kelp):
        _zeros(file_of(drive.kelp.settings.data, key))
    threads = [threading.Thread(target=redoing.run, args=(drive.kelp,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    if is_alive:
        drive.kelp.late_syncs.close()
    for thread in threads:
        thread.join()
    assert (waiting(drive.kelp), drive.read("f")) == ({}, DATA)


WRITER = """
import os, sys
from pathlib import Path
from fuse_mount.drafts import OpenFiles
from tests import engines
from vfs.bootstrap import build
from vfs.model import Caller, Place, ROOT_ID, Role

kelp = build(engines.load(Path(sys.argv[1])))
files = OpenFiles(kelp)
with kelp.database.read() as tx:
    caller = Caller(tx.accounts.find("admin")[0].id, "admin", Role.ADMIN, "fuse", "test")
for number in range(int(sys.argv[3])):
    name = f"{sys.argv[2]}-{number}"
    _, handle = files.create(Place(ROOT_ID, name), 0o644, caller)
    handle.write(0, name.encode())
    handle.flush()
    os.write(1, name.encode() + b"\\n")
    handle.release()
kelp.close()
"""


def test_a_kill_and_then_a_power_cut_take_nothing(finished: Path, tmp_path: Path) -> None:
    data, left = tmp_path / "data", 0
    engines.copy_drive(finished, data)
    said = set[str]()
    for number in range(4):
        command = [sys.executable, "-c", WRITER, str(data), str(number), "1000000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(IN_A_ROW + 1 + 17 * number):
                said.add(writer.stdout.readline().strip())
            writer.send_signal(signal.SIGKILL)
            said.update(line.strip() for line in writer.stdout if line.endswith("\n"))
        for key in keys_left(data):
            _empty(file_of(data, key))
            left += 1
        with closing(build(engines.load(data))) as kelp:
            assert waiting(kelp) == {}
            caller = access.system_caller(kelp, "test")
            for name in said:
                entry = reading.resolve(kelp, caller, [name]).entry
                assert entry is not None
                assert found(kelp, entry) == name.encode()
            assert checking.check(kelp).problems == []
    assert left


_CALL = re.compile(
    r"(\d+) +(?:<\.\.\. )?(pwrite64|fdatasync|fsync|write)(?:\((\d+)<(.*?)>| resumed)(?:.*?(<unfinished)|.* = \d)"
)


def calls(trace: str) -> list[tuple[str, str, str]]:
    """(thread, call, path) of those that have returned, in that order."""
    done, begun = [], dict[str, str]()
    for line in trace.splitlines():
        if (match := _CALL.match(line)) is None:
            continue
        thread, call, _, path, unfinished = match.groups()
        if unfinished:
            begun[thread] = path
        else:
            done.append((thread, call, path or begun.pop(thread, "")))
    return done


def test_one_sync_comes_before_the_answer(finished: Path, tmp_path: Path) -> None:
    """… that of the log, after all that was written to it; and what is written when rows go, after those of the files.
    Seen by strace."""
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    data, trace, count = tmp_path / "data", tmp_path / "trace", 60
    engines.copy_drive(finished, data)
    watch = ["strace", "-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace)]
    command = [*watch, sys.executable, "-c", WRITER, str(data), "f", str(count)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    done = calls(trace.read_text())
    answers = [n for n, (_, call, path) in enumerate(done) if call == "write" and path.endswith("/null")]
    assert len(answers) == count
    main = done[answers[0]][0]
    for before, answer in itertools.pairwise(answers[10:]):
        mine = [(call, Path(path)) for thread, call, path in done[before:answer] if thread == main]
        assert not [path for call, path in mine if call == "fsync" and path.parent.parent.name == "objects"]
        log = [call for call, path in mine if path.name.endswith("-wal")]
        assert log[-1] == "fdatasync" and "pwrite64" in log
    late = {thread for thread, call, path in done if call == "fsync" and "/objects/" in path} - {main}
    behind = [(call, Path(path)) for thread, call, path in done if thread in late]
    synced = 0
    for (call, path), (following, _) in itertools.pairwise(behind):
        synced += call == "fsync" and path.parent.parent.name == "objects" and path.stat().st_size > 0
        if following == "pwrite64" and call == "fsync":  # the rows of all that came before, no others
            with_rows = synced
    assert with_rows == synced >= count - IN_A_ROW - 1


def keys_left(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "kelp.db")) as database:
        return [row[0] for row in database.execute("SELECT key FROM redo_objects")]
