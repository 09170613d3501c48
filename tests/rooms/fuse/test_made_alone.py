"""Files that a mount makes with O_EXCL, without a row: who else must be the only one is told that they are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import pytest

from fuse_mount.drafts import OpenFile
from tests.rooms.core.drive import Drive, rest
from tests.rooms.fuse.files import Files, close, whole
from vfs.errors import AlreadyExists, KelpError, NotFound, PreconditionFailed
from vfs.metadata.sqlite import SqliteEngine
from vfs.model import Entry, OnConflict
from vfs.operations import drafting, linking, posix, trashing

pytestmark = pytest.mark.engine(database="sqlite", reason="elsewhere a file has a row at once")


def _make(files: Files, path: str, data: bytes = b"") -> OpenFile:
    files.open_files.coming.prepare()
    made = files.open_files.expect(files.drive.place(path), 0o640, files.caller, flags=os.O_RDWR | os.O_EXCL)
    assert made is not None
    if data:
        made[1].write(0, data)
    return made[1]


def _claimed(drive: Drive) -> int:
    engine = drive.kelp.database._engine
    assert isinstance(engine, SqliteEngine)
    assert not engine._claims._together
    return len(engine._claims)


def _none_match(entry: Entry | None, _tokens: frozenset[str]) -> None:
    if entry is not None:
        raise PreconditionFailed("it exists")


def _upload(drive: Drive, on: OnConflict = OnConflict.ERROR) -> Entry:
    return drive.put("a", b"other", on_conflict=on)


EXCLUSIVE: dict[str, Callable[[Drive], object]] = {
    "another mount, with a row": lambda drive: drafting.create(
        drive.kelp, drive.editor, drive.place("a"), {}, alone=True
    ),
    "mkdir": lambda drive: drive.folder("a"),
    "symlink": lambda drive: linking.make_link(drive.kelp, drive.editor, drive.place("a"), b"there"),
    "upload": _upload,
    "If-None-Match": lambda drive: drive.put("a", b"other", condition=_none_match),
    "move": lambda drive: drive.move("file", "a"),
    "move of a folder": lambda drive: drive.move("folder", "a"),
    "copy": lambda drive: drive.copy("file", "a"),
    "restore": lambda drive: trashing.restore(drive.kelp, drive.editor, drive.trash()[0].entry.uuid),
}


def _prepare(drive: Drive, what: str) -> None:
    drive.put("file", b"file")
    drive.folder("folder")
    if what == "restore":
        drive.put("a", b"before", rest(drive.editor))
        drive.remove("a", rest(drive.editor))


@pytest.mark.parametrize("what", EXCLUSIVE)
def test_nobody_else_makes_it(drive: Drive, files: Files, what: str) -> None:
    _prepare(drive, what)
    names = sorted(drive.names())
    handle = _make(files, "a", b"mount")
    with pytest.raises((AlreadyExists, PreconditionFailed)):
        EXCLUSIVE[what](drive)
    assert sorted(drive.names()) == names and _claimed(drive) == 1
    close(handle)
    assert (drive.read("a"), drive.entry("a").id, _claimed(drive)) == (b"mount", handle.inode, 0)
    with pytest.raises((AlreadyExists, PreconditionFailed)):
        EXCLUSIVE[what](drive)


@pytest.mark.parametrize("what", EXCLUSIVE)
def test_who_comes_before_has_it(drive: Drive, files: Files, what: str) -> None:
    _prepare(drive, what)
    EXCLUSIVE[what](drive)
    with pytest.raises(AlreadyExists):
        _make(files, "a")
    assert _claimed(drive) == 0


def test_another_name_will_do(drive: Drive, files: Files) -> None:
    handle, second = _make(files, "a", b"mount"), _make(files, "a (1)", b"mount")
    drive.put("file", b"file")
    _upload(drive, OnConflict.RENAME)
    drive.move("file", "a", OnConflict.RENAME)
    drive.folder("a", on_conflict=OnConflict.RENAME)
    close(handle)
    close(second)
    assert sorted(drive.names()) == ["a", "a (1)", "a (2)", "a (3)", "a (4)"]
    assert drive.read("a") == drive.read("a (1)") == b"mount"


@pytest.mark.parametrize("data", [b"", b"mount"])
@pytest.mark.parametrize("how", ["save", "move", "folder"])
def test_who_replaces_it_comes_after_and_nothing_is_lost(drive: Drive, files: Files, data: bytes, how: str) -> None:
    handle = _make(files, "a", data)
    if how == "save":
        drive.put("a", b"other")
    else:
        drive.folder("folder") if how == "folder" else drive.put("file", b"other")
        drive.move(how if how == "folder" else "file", "a", OnConflict.OVERWRITE)
    other = drive.entry("a")
    files.open_files.coming.settle()
    with pytest.raises(PreconditionFailed if data else AlreadyExists):
        close(handle)
    assert drive.entry("a") == other and (other.is_folder or drive.read("a") == b"other")
    beside = [name for name in drive.names() if name.startswith("a (conflict")]
    assert [drive.read(name) for name in beside] == ([b"mount"] if data else [])
    assert _claimed(drive) == 0


def test_a_name_that_was_lost_and_is_free_again_is_not_kept(drive: Drive, files: Files) -> None:
    handle = _make(files, "a", b"mount")
    drive.put("a", b"other")
    files.open_files.coming.settle()
    assert _claimed(drive) == 0
    drive.remove("a")
    drive.folder("a")
    with pytest.raises(PreconditionFailed):
        close(handle)
    assert drive.entry("a").is_folder and len(drive.names()) == 2


def test_a_mount_that_does_not_ask_for_that_makes_it_too(
    drive: Drive, files: Files, files_of: Callable[[Drive], Files]
) -> None:
    """As if it had opened the file of the other."""
    other = files_of(drive)
    handle = _make(files, "a", b"mount")
    other.save("a", b"other")
    with pytest.raises(PreconditionFailed):
        close(handle)
    assert drive.read("a") == b"other" and len(drive.names()) == 2 and _claimed(drive) == 0


def test_two_mounts(drive: Drive, files: Files, files_of: Callable[[Drive], Files]) -> None:
    other, handle = files_of(drive), _make(files, "a", b"mount")
    other.open_files.coming.prepare()
    asked = drive.place("a"), None, other.caller
    assert other.open_files.expect(*asked, flags=os.O_RDWR | os.O_EXCL) is None, "only a row can tell"
    with pytest.raises(AlreadyExists):
        other.open_files.create(*asked, flags=os.O_RDWR | os.O_EXCL)
    close(handle)
    with pytest.raises(AlreadyExists):
        other.open_files.create(*asked, flags=os.O_RDWR | os.O_EXCL)
    drive.remove("a")
    close(_make(other, "a", b"other"))
    assert drive.read("a") == b"other"


def test_every_way_out_gives_it_back(drive: Drive, files: Files) -> None:
    """A close, a sync, being asked for, a right that is taken, a folder that goes, a removal, the end of the mount."""
    close(_make(files, "empty"))
    synced, settled, asked = _make(files, "synced", b"1"), _make(files, "settled", b"1"), _make(files, "asked")
    assert _claimed(drive) == 3
    synced.fsync()
    asked.fsync()
    files.open_files.coming.settle()
    assert _claimed(drive) == 0 and sorted(drive.names()) == ["asked", "empty", "settled", "synced"]
    files.remove("settled")
    for handle in (synced, settled, asked):
        close(handle)
    drive.folder("folder")
    lost, locked = [_make(files, "folder/a", b"1"), _make(files, "folder/b")], _make(files, "locked", b"1")
    drive.remove("folder")
    for handle in lost:
        with pytest.raises(NotFound):
            close(handle)
    drive.lock("", drive.other, deep=True)
    with pytest.raises(KelpError):
        close(locked)
    with pytest.raises(KelpError):
        _make(files, "refused")
    assert _claimed(drive) == 0


def test_the_end_of_a_mount_gives_all_back(drive: Drive, files_of: Callable[[Drive], Files]) -> None:
    files = files_of(drive)
    handles = [_make(files, "a"), _make(files, "b", b"1")]
    assert _claimed(drive) == 2
    files.open_files.close()
    assert _claimed(drive) == 0 and sorted(drive.names()) == ["a", "b"]
    for handle in handles:
        with suppress(KelpError):
            handle.release()


def test_a_change_that_fails_gives_back_what_it_asked_for(drive: Drive, files: Files) -> None:
    drive.lock("", drive.other, deep=True)
    with pytest.raises(KelpError):
        drive.folder("a")
    assert _claimed(drive) == 0


def test_its_row_is_its_own_though_nobody_was_told_of_it(drive: Drive, files: Files) -> None:
    """As when the outcome of a commit is not known."""
    handle, empty = _make(files, "a", b"mount"), _make(files, "b")
    for each in (handle, empty):
        coming = each._file._coming
        assert coming is not None
        drafting.create(drive.kelp, files.caller, each.entry.place, birth=coming[1]).hold.release()
        close(each)
    assert drive.read("a") == b"mount" and whole(files.open("b")) == b""
    assert posix.node(drive.kelp, files.caller, empty.inode).name == "b" and sorted(drive.names()) == ["a", "b"]
