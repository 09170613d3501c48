"""Several who write one file, and what refuses a commit: nothing is lost, nothing is mixed, and who lost is told."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close, whole
from vfs.errors import Forbidden, Locked, NotFound, PreconditionFailed
from vfs.model import PART_SIZE

MountOf = Callable[[Drive], Files]


def copies(files: Files, folder: str = "") -> list[str]:
    return [name for name in files.drive.names(folder) if "(conflict editor " in name]


def test_what_another_mount_commits_is_read_after_the_next_open(files: Files, files_of: MountOf) -> None:
    other = files_of(files.drive)
    files.save("a.txt", b"one")
    handle = other.open("a.txt")
    handle.write(3, b" two")
    close(handle)
    again = files.open("a.txt", os.O_RDONLY)
    assert whole(again) == b"one two"
    again.release()


def test_a_descriptor_that_wrote_nothing_yet_begins_with_what_another_committed(
    files: Files, files_of: MountOf
) -> None:
    other = files_of(files.drive)
    files.save("a.txt", b"....")
    early = files.open("a.txt")
    handle = other.open("a.txt")
    handle.write(0, b"ab")
    close(handle)
    early.write(2, b"cd")
    close(early)
    assert files.drive.read("a.txt") == b"abcd"
    assert copies(files) == []


def test_who_commits_later_changes_made_to_what_was_there_before_gets_a_copy(files: Files, files_of: MountOf) -> None:
    other = files_of(files.drive)
    files.save("a.txt", b"....")
    first, second = files.open("a.txt"), other.open("a.txt")
    first.write(0, b"1")
    second.write(3, b"2")
    close(first)
    with pytest.raises(PreconditionFailed):
        second.flush()
    assert files.drive.read("a.txt") == b"1..."
    (copy,) = copies(files)
    assert files.drive.read(copy) == b"...2"
    assert copy.endswith(").txt")
    second.write(0, b"3")  # its descriptor is the copy's by now
    close(second)
    assert files.drive.read(copy) == b"3..2"
    assert files.drive.read("a.txt") == b"1..."
    assert copies(files) == [copy]


def test_who_replaces_everything_comes_last_and_what_was_there_is_a_version(files: Files, files_of: MountOf) -> None:
    other = files_of(files.drive)
    files.save("a.txt", b"old")
    files.drive.clock.advance(60)
    first, second = files.open("a.txt"), other.open("a.txt", os.O_WRONLY | os.O_TRUNC)
    first.write(0, b"first")
    second.write(0, b"second")
    close(first)
    files.drive.clock.advance(60)
    close(second)
    assert files.drive.read("a.txt") == b"second"
    assert files.drive.versions("a.txt") == [b"first", b"old"]


def test_parts_of_two_mounts_are_never_mixed(files: Files, files_of: MountOf) -> None:
    other = files_of(files.drive)
    files.save("big", b"." * (2 * PART_SIZE))
    first, second = files.open("big"), other.open("big")
    for at in range(0, 2 * PART_SIZE, PART_SIZE // 4):
        first.write(at, b"1" * 100)
        second.write(at + 50, b"2" * 100)
    close(first)
    with pytest.raises(PreconditionFailed):
        close(second)
    assert b"2" not in files.drive.read("big")
    assert b"1" not in files.drive.read(copies(files)[0])


def test_a_locked_file_is_not_opened_to_be_written_to(files: Files) -> None:
    files.save("a.txt", b"some")
    files.drive.lock("a.txt", files.drive.other)
    with pytest.raises(Locked):
        files.open("a.txt")
    handle = files.open("a.txt", os.O_RDONLY)
    assert whole(handle) == b"some"
    handle.release()


def test_a_lock_that_comes_later_refuses_the_commit(files: Files) -> None:
    files.drive.folder("b")
    files.save("b/a.txt", b"some")
    handle = files.open("b/a.txt")
    handle.write(4, b" more")
    files.drive.lock("b/a.txt", files.drive.other)
    with pytest.raises(Locked):
        handle.flush()
    handle.release()
    assert files.drive.read("b/a.txt") == b"some"
    assert files.drive.read("b/" + copies(files, "b")[0]) == b"some more"


def test_rights_that_were_taken_away_refuse_it_and_the_draft_is_kept(files: Files) -> None:
    files.drive.folder("b")
    files.save("b/a.txt", b"some")
    handle = files.open("b/a.txt")
    handle.write(4, b" more")
    files.drive.grant("b", 1, files.drive.editor)
    with pytest.raises(Forbidden):
        handle.flush()
    assert whole(handle) == b"some more"
    files.drive.grant("b", 2, files.drive.editor)
    close(handle)
    assert files.drive.read("b/a.txt") == b"some more"


def test_what_is_written_to_a_file_that_another_face_deletes_is_kept_beside(files: Files) -> None:
    files.save("a.txt", b"some")
    handle = files.open("a.txt")
    handle.write(4, b" more")
    files.drive.remove("a.txt", files.drive.other)
    with pytest.raises(NotFound):
        handle.flush()
    handle.release()
    (copy,) = files.drive.names()
    assert files.drive.read(copy) == b"some more"


def test_another_user_sees_neither_more_nor_less_than_on_other_faces(files: Files) -> None:
    files.drive.folder("b")
    files.save("b/a.txt", b"some")
    entry = files.drive.entry("b/a.txt")
    files.drive.grant("b", 0, files.drive.other)
    with pytest.raises(NotFound):
        files.open_files.open(entry, os.O_RDONLY, files.drive.other)


def test_a_long_name_makes_room_for_the_reason(files: Files, files_of: MountOf) -> None:
    name = "é" * 120 + ".docx"
    files.save(name, b"some")
    handle = files.open(name)
    handle.write(0, b"S")
    files.drive.remove(name, files.drive.other)
    with pytest.raises(NotFound):
        close(handle)
    (copy,) = copies(files)
    assert copy.startswith("é" * 90)
    assert copy.endswith(").docx")
    assert len(copy.encode()) <= 255
