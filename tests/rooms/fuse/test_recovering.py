"""What a killed mount had written, and what could not be committed, is found and becomes a file beside the other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from fuse_mount import recovering
from fuse_mount.drafts import OpenFile
from tests import warm_starts
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import EDITED, Files, close, edit_digits
from vfs.errors import NotFound, StoreUnavailable
from vfs.model import PART_SIZE

MountOf = Callable[[Drive], Files]


def fail_to_commit(files: Files, handle: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        store = type(files.drive.kelp.cache)
        for name in {"put", "begin"}.intersection(dir(store)):
            patch.setattr(store, name, _away)
        with pytest.raises(StoreUnavailable):
            handle.flush()
        handle.release()


def _away(*_: object) -> None:
    raise StoreUnavailable("the cache is away")


def test_a_draft_that_cannot_be_committed_is_offered_when_its_mount_has_ended(
    drive: Drive, files_of: MountOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(drive)
    files.save("a.txt", b"0123456789")
    handle = files.open("a.txt")
    edit_digits(handle)
    fail_to_commit(files, handle, monkeypatch)
    assert recovering.found(drive.kelp) == []  # its mount is there
    files.open_files.close()
    (left,) = recovering.found(drive.kelp)
    assert left.header.name == "a.txt"
    entry = recovering.recover(drive.kelp, files.caller, left)
    assert drive.read_entry(entry) == EDITED
    assert entry.name.startswith("a (recovered editor ")
    assert drive.read("a.txt") == b"0123456789"
    assert recovering.found(drive.kelp) == []
    assert list((drive.kelp.settings.data / "drafts").iterdir()) == []


def test_the_same_draft_is_committed_when_the_file_is_opened_again_in_time(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save("a.txt", b"some")
    handle, other = files.open("a.txt"), files.open("a.txt", os.O_RDONLY)
    handle.write(4, b" more")
    fail_to_commit(files, handle, monkeypatch)
    other.flush()
    assert files.drive.read("a.txt") == b"some"
    other.fsync()
    other.release()
    assert files.drive.read("a.txt") == b"some more"


def test_its_folder_is_gone(drive: Drive, files_of: MountOf, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(drive)
    drive.folder("b")
    files.save("b/a.txt", b"some")
    handle = files.open("b/a.txt")
    handle.write(4, b" more")
    fail_to_commit(files, handle, monkeypatch)
    files.open_files.close()
    drive.remove("b")
    (left,) = recovering.found(drive.kelp)
    assert drive.read_entry(recovering.recover(drive.kelp, files.caller, left)) == b"some more"
    assert drive.names()[0].startswith("a (recovered ")


def test_what_it_was_made_of_is_gone(drive: Drive, files_of: MountOf, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(drive)
    files.save("a.txt", b"some")
    handle = files.open("a.txt")
    handle.write(4, b" more")
    fail_to_commit(files, handle, monkeypatch)
    files.open_files.close()
    content_id = drive.entry("a.txt").content_id
    drive.remove("a.txt")
    drive.put("a.txt", b"other")
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE contents SET freeing_ns = 1 WHERE id = :id", id=content_id)
    (left,) = recovering.found(drive.kelp)
    with pytest.raises(NotFound):
        recovering.recover(drive.kelp, files.caller, left)
    assert drive.read_entry(recovering.without_content(drive.kelp, files.caller, left)) == b"\0\0\0\0 more"
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE contents SET freeing_ns = NULL WHERE id = :id", id=content_id)


@pytest.mark.parametrize("when", ["written", 1, 2, "stored", "committed"])
def test_a_kill_leaves_the_old_version_or_the_new_one(drive: Drive, files_of: MountOf, when: int | str) -> None:
    old = bytes(3 * PART_SIZE)
    files_of(drive).save("big", old)
    about = (drive.kelp.settings.data, str(drive.editor.user_id), str(drive.entry("big").id), str(when))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = warm_starts.run([sys.executable, "-m", "tests.rooms.fuse.dying", *about], environ, 120)
    assert child.returncode == -signal.SIGKILL
    new = bytearray(old)
    new[5:8] = b"one"
    new[2 * PART_SIZE : 2 * PART_SIZE + 3] = b"two"
    _is_old_or_new(drive, files_of, "big", old, bytes(new), is_new=when == "committed")


def _is_old_or_new(drive: Drive, files_of: MountOf, name: str, old: bytes, new: bytes, *, is_new: bool) -> None:
    assert drive.read(name) == (new if is_new else old)
    left = recovering.found(drive.kelp)
    if is_new:
        assert left == []
        return
    entry = recovering.recover(drive.kelp, drive.editor, left[0])
    assert drive.read_entry(entry) == new
    again = files_of(drive)
    close(again.open(name))


@pytest.mark.parametrize("when", ["written", "begun", "stored", "committed"])
def test_the_same_of_a_small_file(drive: Drive, files_of: MountOf, when: str) -> None:
    if when == "begun" and (drive.entry("").vault_id is not None or not hasattr(drive.kelp.cache, "begin")):
        pytest.skip("it is stored in one step")
    files_of(drive).save("small", b"0123456789")
    about = (drive.kelp.settings.data, str(drive.editor.user_id), str(drive.entry("small").id), f"small {when}")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = warm_starts.run([sys.executable, "-m", "tests.rooms.fuse.dying", *about], environ, 120)
    assert child.returncode == -signal.SIGKILL
    _is_old_or_new(drive, files_of, "small", b"0123456789", b"01234one89", is_new=when == "committed")
