"""Older contents on the NAS, and the ways in which programs save a document."""

from __future__ import annotations

import os

import pytest

from jobs import batches
from tests.mirror_drive import MirrorDrive
from vfs.model import OnConflict
from vfs.operations import versioning


def nas_versions(drive: MirrorDrive) -> list[bytes]:
    below = ".kelp/versions"
    if not (drive.root / below).is_dir():
        return []
    return sorted(content for content in drive.raw_nas(below).values() if content is not None)


def foreign(drive: MirrorDrive) -> list[bytes]:
    below = drive.root / ".kelp" / "foreign"
    return [path.read_bytes() for path in sorted(below.rglob("*")) if path.is_file()] if below.is_dir() else []


def write(drive: MirrorDrive, name: str, content: bytes, *, seconds: float = 10) -> None:
    drive.pass_time(seconds)
    drive.put(name, content)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no links"])
def test_what_an_overwrite_replaces_is_kept_on_the_nas_without_copying(drive: MirrorDrive, links: bool) -> None:
    if not links:
        drive.nas.inner.link = lambda *arguments, **options: False
    drive.put("f.txt", b"1")
    drive.settle_down()
    inode = os.stat(drive.nas_path("f.txt")).st_ino
    for content in (b"2", b"3"):
        write(drive, "f.txt", content)
        drive.settle_down()
    drive.check_mirrored()
    assert drive.versions("f.txt") == [b"2", b"1"] and nas_versions(drive) == [b"1", b"2"]
    kept = {path.stat().st_ino: path.suffix for path in (drive.root / ".kelp/versions").rglob("*.txt")}
    assert kept[inode] == ".txt"


def test_versions_that_were_never_mirrored_are_written(drive: MirrorDrive) -> None:
    drive.put("f", b"1")
    write(drive, "f", b"2")
    write(drive, "f", b"3")
    drive.check_mirrored()
    assert nas_versions(drive) == [b"1", b"2"] and drive.on_nas() == {"f": b"3"}


def test_versions_beyond_the_number_kept_leave_the_nas(drive: MirrorDrive) -> None:
    for number in range(13):
        write(drive, "f", bytes([number]))
        drive.drain()
    drive.check_mirrored()
    assert nas_versions(drive) == [bytes([number]) for number in range(2, 12)]


def test_versions_past_their_days_leave_the_nas(drive: MirrorDrive) -> None:
    drive.put("f", b"1")
    write(drive, "f", b"2")
    drive.settle_down()
    drive.pass_time(31 * 86_400)
    batches.run_all(drive.kelp)
    drive.check_mirrored()
    assert nas_versions(drive) == [] and drive.versions("f") == []


def test_a_version_restored(drive: MirrorDrive) -> None:
    drive.put("f", b"1")
    write(drive, "f", b"2")
    drive.settle_down()
    drive.pass_time(10)
    (old,) = versioning.list_versions(drive.kelp, drive.caller, drive.entry("f").id)
    versioning.restore_version(drive.kelp, drive.caller, old.uuid)
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"1"} and set(drive.versions("f")) == {b"1", b"2"}


def test_versions_go_with_a_purged_file(drive: MirrorDrive) -> None:
    drive.put("f", b"1")
    write(drive, "f", b"2")
    drive.settle_down()
    drive.purge(drive.trash("f"))
    drive.check_mirrored()
    assert nas_versions(drive) == []


# --- what programs do (clients.md §4)


def word_saves(drive: MirrorDrive, content: bytes, number: int) -> None:
    drive.put(f"~WRD{number:04}.tmp", b"")
    drive.put(f"~WRD{number:04}.tmp", content)
    drive.move("d.docx", f"~WRL{number:04}.tmp")
    drive.move(f"~WRD{number:04}.tmp", "d.docx")
    drive.remove(f"~WRL{number:04}.tmp")


@pytest.mark.parametrize("mirrored", ["between the saves", "between the steps", "at the end"])
def test_word_saves_ten_times(drive: MirrorDrive, mirrored: str) -> None:
    """S2: the document keeps its identity, and each save its version."""
    document = drive.put("d.docx", b"0")
    if mirrored == "between the steps":
        drive.nas.before = lambda method, arguments: None
    for number in range(1, 11):
        drive.pass_time(10)
        drive.put("~$d.docx", b"owner")
        if mirrored == "between the steps":
            drive.put(f"~WRD{number:04}.tmp", b"%d" % number)
            drive.drain()
            drive.move("d.docx", f"~WRL{number:04}.tmp")
            drive.drain()
            drive.move(f"~WRD{number:04}.tmp", "d.docx")
            drive.drain()
            drive.remove(f"~WRL{number:04}.tmp")
            drive.drain()
        else:
            word_saves(drive, b"%d" % number, number)
        drive.remove("~$d.docx")
        if mirrored == "between the saves":
            drive.settle_down()
    assert drive.entry("d.docx").uuid == document.uuid
    assert drive.versions("d.docx") == [b"%d" % number for number in range(9, -1, -1)]
    drive.check_mirrored()
    assert drive.on_nas() == {"d.docx": b"10"} and "trash" not in str(list(drive.raw_nas(private=True)))
    assert nas_versions(drive) == sorted(b"%d" % number for number in range(10))


@pytest.mark.parametrize("mirrored", [True, False])
def test_macos_saves_safely(drive: MirrorDrive, mirrored: bool) -> None:
    """S5: a folder beside the document, the old one moved in, the new one out, the folder deleted."""
    document = drive.put("t.txt", b"0")
    drive.settle_down()
    for number in range(1, 4):
        drive.pass_time(10)
        beside = f"t.txt.sb-1a2b3c4d-Xy12Z{number}"
        drive.mkdir(beside)
        drive.put(f"{beside}/t.txt", b"%d" % number)
        drive.move("t.txt", f"{beside}/old")
        if mirrored:
            drive.drain()
        drive.move(f"{beside}/t.txt", "t.txt")
        drive.remove(beside)
        if mirrored:
            drive.drain()
    assert drive.entry("t.txt").uuid == document.uuid
    assert drive.versions("t.txt") == [b"2", b"1", b"0"]
    drive.check_mirrored()
    assert drive.on_nas() == {"t.txt": b"3"} and nas_versions(drive) == [b"0", b"1", b"2"]


def test_a_rename_over_the_document(drive: MirrorDrive) -> None:
    for number in range(3):
        drive.pass_time(10)
        drive.put("f.new", b"%d" % number)
        drive.move("f.new", "f", OnConflict.OVERWRITE)
        drive.drain()
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"2"} and nas_versions(drive) == [b"0", b"1"]


# --- someone works on the NAS directly


def test_a_file_changed_on_the_nas_is_kept_aside_by_an_overwrite_and_the_version_is_whole(drive: MirrorDrive) -> None:
    drive.put("f", b"first")
    drive.settle_down()
    drive.nas_path("f").write_bytes(b"changed by hand")
    write(drive, "f", b"second")
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"second"} and foreign(drive) == [b"changed by hand"]
    assert nas_versions(drive) == [b"first"]


def test_a_file_deleted_on_the_nas_is_written_anew(drive: MirrorDrive) -> None:
    drive.put("f", b"first")
    drive.put("g", b"moved")
    drive.settle_down()
    for name in "fg":
        drive.nas_path(name).unlink()
    write(drive, "f", b"second")
    drive.move("g", "h")
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"second", "h": b"moved"} and nas_versions(drive) == [b"first"]


def test_a_folder_deleted_on_the_nas_comes_back_with_all_in_it(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("a/f", b"f")
    drive.settle_down()
    drive.nas_path("a/f").unlink()
    drive.nas_path("a").rmdir()
    drive.move("a", "b")
    drive.check_mirrored()
    assert drive.on_nas() == {"b": None, "b/f": b"f"}


def test_something_that_stands_in_the_way_is_kept_aside(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.settle_down()
    (drive.root / "b").write_bytes(b"a stranger's")
    drive.move("a", "b")
    drive.check_mirrored()
    assert drive.on_nas() == {"b": None} and foreign(drive) == [b"a stranger's"]
