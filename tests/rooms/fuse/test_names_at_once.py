"""Names that go and come in the loop's own thread, as far as nothing has to be waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fuse_mount import changing
from fuse_mount.drafts import OpenFile
from fuse_mount.inodes import Inodes
from tests import engines, vaults
from tests.rooms.fuse.files import Files, close
from vfs.errors import AlreadyExists, Forbidden, KelpError, Locked, NameTooLong, NotEmpty, NotFound, WrongKind
from vfs.model import ROOT_ID, Caller, Kind, Place
from vfs.operations import posix

pytestmark = pytest.mark.skipif(
    engines.CHOSEN.database != "sqlite" or vaults.ALL, reason="a server, or keys, may have to be waited for"
)


@pytest.fixture
def files(files: Files) -> Iterator[Files]:
    """The log has begun: who begins it syncs it. And no thread tells the database just then that something is read."""
    files.drive.folder("begun")
    files.drive.remove("begun")
    with files.drive.kelp.holds._telling:
        yield files


def removed(files: Files, path: str, caller: Caller | None = None) -> bool:
    return changing.remove_at_once(
        files.open_files, Inodes(), caller or files.caller, files.drive.place(path), Kind.FILE
    )


def test_a_file_goes(files: Files) -> None:
    files.save("a", b"1")
    files.save("b", b"2")
    assert removed(files, "a")
    handle = files.open("b")
    files.save("c", b"3")
    assert removed(files, "c")  # though others are open
    assert files.drive.names() == ["b"]
    handle.release()
    assert removed(files, "b")
    assert files.drive.names() == []


def made(files: Files, path: str, caller: Caller | None = None) -> OpenFile | None:
    wanted, flags = changing.Wanted(mode=0o604, uid=12), os.O_RDWR | os.O_CREAT | os.O_EXCL
    found = changing.make_file_at_once(files.open_files, caller or files.caller, files.drive.place(path), wanted, flags)
    if found is None:
        return None
    node, file = found
    assert (node.name, node.mode, node.uid, node.id, node.size) == (path, 0o604, 12, file.inode, 0)
    return file


def test_a_file_comes(files: Files) -> None:
    file = made(files, "a")
    assert file is not None and file.has_row and file.unsynced and files.drive.names() == ["a"]
    file.write(0, b"some")
    close(file)
    assert files.drive.read("a") == b"some" and not file.unsynced


def test_beside_another_change_nothing_of_it_is_there(files: Files) -> None:
    place, wanted = files.drive.place("a"), changing.Wanted()
    with files.drive.kelp.database.write():
        assert changing.make_file_at_once(files.open_files, files.caller, place, wanted, os.O_RDWR) is None
        assert not files.open_files.any_open and not removed(files, "a")
    assert files.drive.names() == []
    file = made(files, "a")
    assert file is not None
    close(file)


def test_before_files_that_are_coming_have_their_rows_none_is_made(files: Files) -> None:
    files.open_files.coming.prepare()
    coming = changing.expect_file(
        files.open_files, files.caller, files.drive.place("a"), changing.Wanted(), os.O_RDWR | os.O_CREAT
    )
    assert coming is not None and made(files, "b") is None and files.drive.names() == []
    close(coming[1])
    file = made(files, "b")
    assert file is not None and sorted(files.drive.names()) == ["a", "b"]
    close(file)


def test_a_folder_comes_and_goes(files: Files) -> None:
    kelp, inodes, wanted = files.drive.kelp, Inodes(), changing.Wanted(mode=0o711, mtime_ns=5)
    node = changing.make_folder_at_once(kelp, files.caller, files.drive.place("folder"))
    assert node is not None and node.id == files.drive.entry("folder").id
    done = changing.set_at_once(files.open_files, files.caller, node.id, wanted)
    assert done is not None and done[0] is not None and (done[0].mode, done[0].mtime_ns) == (0o711, 5)
    files.save("folder/file", b"1")
    place = files.drive.place("folder")
    with pytest.raises(NotEmpty):
        changing.remove_at_once(files.open_files, inodes, files.caller, place, Kind.FOLDER)
    assert removed(files, "folder/file")
    assert changing.remove_at_once(files.open_files, inodes, files.caller, place, Kind.FOLDER)
    assert files.drive.names() == []
    with pytest.raises(NotFound):
        changing.set_at_once(files.open_files, files.caller, node.id, wanted)


def test_attributes_of_an_open_file_are_set_elsewhere(files: Files) -> None:
    """They come with what is being written to it, which may just be committed."""
    handle = files.create("a", b"some")
    assert changing.set_at_once(files.open_files, files.caller, handle.inode, changing.Wanted(mode=0o604)) is None
    close(handle)
    assert changing.set_at_once(files.open_files, files.caller, handle.inode, changing.Wanted(mode=0o604)) is not None
    with files.drive.kelp.database.write():
        assert changing.set_at_once(files.open_files, files.caller, handle.inode, changing.Wanted(uid=7)) is None
        assert changing.make_folder_at_once(files.drive.kelp, files.caller, Place(ROOT_ID, "folder")) is None
    node = posix.node(files.drive.kelp, files.caller, handle.inode)
    assert (node.mode, node.uid) == (0o604, None) and files.drive.names() == ["a"]


def test_an_open_file_goes_elsewhere(files: Files) -> None:
    """Its commit may have to be waited for; and it is there until it is closed."""
    handle = files.create("a", b"some")
    assert not removed(files, "a") and files.drive.names() == ["a"]
    changing.remove(files.open_files, Inodes(), files.caller, files.drive.place("a"), Kind.FILE)
    handle.write(0, b"more")
    assert handle.read(0, 4) == b"more"
    close(handle)
    assert files.drive.names() == []


def test_what_was_removed_is_known_to_be_ours(files: Files) -> None:
    files.save("a", b"1")
    inodes, id = Inodes(), files.drive.entry("a").id
    assert changing.remove_at_once(files.open_files, inodes, files.caller, files.drive.place("a"), Kind.FILE)
    assert inodes.take_removed(id)


def test_refusals_are_the_same(files: Files) -> None:
    drive = files.drive
    drive.folder("folder")
    drive.put("locked")
    drive.lock("locked", drive.other)
    open_files, inodes = files.open_files, Inodes()
    cases: list[tuple[str, Caller, type[KelpError]]] = [
        ("folder", files.caller, WrongKind),
        ("locked", files.caller, Locked),
        ("locked", drive.viewer, Forbidden),
        ("absent", files.caller, NotFound),
    ]
    for path, caller, error in cases:
        with pytest.raises(error):
            changing.remove(open_files, inodes, caller, drive.place(path), Kind.FILE)
        with pytest.raises(error):
            changing.remove_at_once(open_files, inodes, caller, drive.place(path), Kind.FILE)
    makings: list[tuple[str, Caller, type[KelpError]]] = [
        ("locked", files.caller, AlreadyExists),
        ("new", drive.viewer, Forbidden),
        ("n" * 300, files.caller, NameTooLong),
    ]
    for path, caller, error in makings:
        for make in (changing.make_file, changing.make_file_at_once):
            with pytest.raises(error):
                make(open_files, caller, drive.place(path), changing.Wanted(), os.O_RDWR)
    assert not open_files.any_open
    assert sorted(drive.names()) == ["folder", "locked"]


def test_in_a_folder_that_may_be_a_vaults_it_is_not_done(files: Files) -> None:
    files.save("a", b"1")
    place, seals = files.drive.place("a"), files.drive.kelp.database._seals
    seals.any_vaults = True
    try:
        seals._known.clear()
        assert not changing.remove_at_once(files.open_files, Inodes(), files.caller, place, Kind.FILE)
        files.drive.put("b")  # the folder is looked at
        assert removed(files, "a") and files.drive.names() == ["b"]
    finally:
        seals.any_vaults = False
