"""Small objects whose files are synced behind the commit: what a power cut, a kill, a bad disk takes from the file is
in the database as long as it may be missing. A power cut is played: the drive as it was when the close was answered,
with what nobody had synced spoilt."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests import engines
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
from vfs.operations import access, checking, freeing, reading, redoing
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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redoing, "_PATIENCE", 0.0)


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
        return {row.key: row for row in tx.redo.all()}


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
        after = Drive(kelp, drive.clock, target / "nas", *([access.system_caller(kelp, "test")] * 4))
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


def test_the_batch_leaves_alone_what_somebody_is_about_to_sync(saved: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that comes while it waits is a living process's."""
    drive = saved.drive
    before = set(waiting(drive.kelp))

    def sleep(_: float) -> None:
        saved.save("g", OTHER)

    with monkeypatch.context() as patch:
        patch.setattr(redoing.time, "sleep", sleep)
        assert redoing.run(drive.kelp) == Done(len(before))
    assert set(waiting(drive.kelp)) == {key_of(drive, "g")}


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
