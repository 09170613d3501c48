"""Names that go and come in the loop's own thread, as far as nothing has to be waited for."""

from __future__ import annotations

import pytest

from fuse_mount import changing
from fuse_mount.inodes import Inodes
from tests import engines, vaults
from tests.rooms.fuse.files import Files, close
from vfs.errors import Forbidden, KelpError, Locked, NotFound, WrongKind
from vfs.model import Caller, Kind

pytestmark = pytest.mark.skipif(
    engines.CHOSEN.database != "sqlite" or vaults.ALL, reason="a server, or keys, may have to be waited for"
)


def removed(files: Files, path: str, caller: Caller | None = None) -> bool:
    return changing.remove_at_once(files.open_files, Inodes(), caller or files.caller, files.drive.place(path))


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
    assert changing.remove_at_once(files.open_files, inodes, files.caller, files.drive.place("a"))
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
            changing.remove_at_once(open_files, inodes, caller, drive.place(path))
    assert sorted(drive.names()) == ["folder", "locked"]


def test_in_a_folder_that_may_be_a_vaults_it_is_not_done(files: Files) -> None:
    files.save("a", b"1")
    place, seals = files.drive.place("a"), files.drive.kelp.database._seals
    seals.any_vaults = True
    try:
        seals._known.clear()
        assert not changing.remove_at_once(files.open_files, Inodes(), files.caller, place)
        files.drive.put("b")  # the folder is looked at
        assert removed(files, "a") and files.drive.names() == ["b"]
    finally:
        seals.any_vaults = False
