"""Files that are made on a mount without a row: `fuse_mount/coming.py`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from fuse_mount.drafts import OpenFile
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close, whole
from vfs.errors import AlreadyExists, Forbidden, NotFound, PreconditionFailed
from vfs.operations import checking, posix

pytestmark = pytest.mark.engine(database="sqlite", reason="elsewhere a file has a row at once")


def _expect(files: Files, path: str, data: bytes = b"", flags: int = os.O_RDWR) -> OpenFile:
    files.open_files.coming.prepare()
    made = files.open_files.expect(files.drive.place(path), 0o640, files.caller, flags=flags)
    assert made is not None
    if data:
        made[1].write(0, data)
    return made[1]


def _names(drive: Drive) -> list[str]:
    return sorted(drive.names())


def test_its_row_comes_with_what_is_written(drive: Drive, files: Files) -> None:
    handle = _expect(files, "a", b"12345")
    assert _names(drive) == []
    made_ns = handle.entry.created_ns
    close(handle)
    entry = drive.entry("a")
    assert entry.created_ns == made_ns
    assert (entry.id, entry.version, drive.read("a")) == (handle.inode, 1, b"12345")
    assert not files.open_files.coming


def test_or_with_a_close_or_when_somebody_asks_for_it(drive: Drive, files: Files) -> None:
    close(_expect(files, "empty"))
    read_only = _expect(files, "read", flags=os.O_RDONLY)
    read_only.flush()
    read_only.release()
    handle = _expect(files, "open", b"12")
    files.open_files.coming.settle()
    assert _names(drive) == ["empty", "open", "read"]
    assert (drive.entry("open").id, drive.read("open"), whole(handle)) == (handle.inode, b"", b"12")
    close(handle)
    assert drive.read("open") == b"12"


def test_what_is_refused_is_refused_at_once(drive: Drive, files: Files) -> None:
    drive.put("a", b"1")
    with pytest.raises(AlreadyExists):
        _expect(files, "a")
    files.caller = drive.viewer
    with pytest.raises(Forbidden):
        _expect(files, "b")


def test_a_name_that_is_coming_is_not_free(files: Files) -> None:
    handle = _expect(files, "a")
    assert files.open_files.expect(files.drive.place("a"), None, files.caller) is None
    with pytest.raises(AlreadyExists):
        files.create("a")
    close(handle)


@pytest.mark.parametrize("settled", [False, True])
def test_who_commits_last_has_the_name_that_two_have_made(drive: Drive, files: Files, settled: bool) -> None:
    handle = _expect(files, "a", b"mount")
    drive.put("a", b"other")
    other = drive.entry("a")
    if settled:
        files.open_files.coming.settle()
    close(handle)
    assert (drive.entry("a").id, drive.read("a"), handle.inode) == (other.id, b"mount", other.id)
    assert files.changed, "the kernel believes in another inode"


def test_who_wrote_nothing_takes_what_another_made(drive: Drive, files: Files) -> None:
    handle = _expect(files, "a")
    drive.put("a", b"other")
    files.open_files.coming.settle()
    assert (whole(handle), handle.inode) == (b"other", drive.entry("a").id)
    close(handle)
    assert drive.read("a") == b"other"


def test_a_folder_that_has_the_name_by_now(drive: Drive, files: Files) -> None:
    handle = _expect(files, "a", b"mount")
    drive.folder("a")
    with pytest.raises(PreconditionFailed):
        close(handle)
    folder, beside = _names(drive)
    assert (folder, beside[:11]) == ("a", "a (conflict")


def test_its_folder_is_gone(drive: Drive, files: Files) -> None:
    drive.folder("folder")
    handle, empty = _expect(files, "folder/a", b"mount"), _expect(files, "folder/b")
    drive.remove("folder")
    files.open_files.coming.settle()
    for each in (handle, empty):
        with pytest.raises(NotFound):
            close(each)
    assert not files.open_files.coming


def test_two_mounts(drive: Drive, files_of: Callable[[Drive], Files]) -> None:
    one, other = files_of(drive), files_of(drive)
    first, second = _expect(one, "a", b"one"), _expect(other, "a", b"other")
    assert first.inode != second.inode
    close(first)
    close(second)
    assert (_names(drive), drive.read("a")) == (["a"], b"other")
    assert checking.check(drive.kelp).problems == []


def test_attributes_come_with_what_is_written(drive: Drive, files: Files) -> None:
    new, old = _expect(files, "new", b"1"), files.create("old", b"1")
    for handle in (new, old):
        said = {"mode": 0o604, "uid": 7, "gid": 8}
        assert files.open_files.say(handle.inode, said, 123_000_000_005)
        assert files.open_files.said(handle.inode) == said
        close(handle)
        node = posix.node(drive.kelp, files.caller, handle.inode)
        assert (node.mode, node.uid, node.gid, node.mtime_ns) == (0o604, 7, 8, 123_000_000_005)
    assert not files.open_files.say(old.inode, {"mode": 0o600}, None)


def test_attributes_of_a_copy_beside(drive: Drive, files: Files) -> None:
    drive.put("a", b"12")
    handle = files.open("a")
    handle.write(1, b"3")
    assert files.open_files.say(handle.inode, {"mode": 0o604}, None)
    drive.put("a", b"other")
    with pytest.raises(PreconditionFailed):
        close(handle)
    assert posix.node(drive.kelp, files.caller, handle.inode).mode == 0o604
