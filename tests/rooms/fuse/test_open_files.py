"""Open, write, close: what each descriptor sees, and what the drive shows when."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests import vaults
from tests.rooms.fuse.files import Files, close, tells_what_is_in_memory, whole
from vfs.errors import AlreadyExists, Forbidden, NoSpace, NotFound, WrongKind
from vfs.model import PART_SIZE
from vfs.storage.object_store import near


def test_what_was_closed_is_in_the_drive(files: Files) -> None:
    files.save("a.txt", b"hello")
    assert files.drive.read("a.txt") == b"hello"


def test_until_it_is_closed_the_drive_shows_the_old_version_and_descriptors_the_new_one(files: Files) -> None:
    files.save("a.txt", b"old")
    writer, reader = files.open("a.txt"), files.open("a.txt", os.O_RDONLY)
    writer.write(3, b" and new")
    assert whole(reader) == b"old and new"
    assert reader.size == 11
    assert files.drive.read("a.txt") == b"old"
    writer.flush()
    assert files.drive.read("a.txt") == b"old and new"
    writer.release()
    reader.release()


def test_closing_what_nobody_changed_writes_nothing(files: Files) -> None:
    files.save("a.txt", b"same")
    before = files.drive.entry("a.txt")
    handle = files.open("a.txt")
    assert whole(handle) == b"same"
    close(handle)
    files.open_files.truncate(before, 4, files.caller)
    assert files.drive.entry("a.txt") == before


def test_cut_to_the_size_that_it_has_it_is_newer_and_no_other_content(files: Files) -> None:
    """ftruncate(3p), and O_TRUNC of an empty file."""
    files.save("a.txt", b"same")
    before = files.drive.entry("a.txt")
    handle = files.open("a.txt")
    handle.truncate(4)
    close(handle)
    after = files.drive.entry("a.txt")
    assert (after.content_id, after.version > before.version) == (before.content_id, True)


def test_a_hole_is_zero(files: Files) -> None:
    handle = files.create("a.bin")
    handle.write(100_000, b"end")
    assert handle.read(99_998, 10) == b"\0\0end"
    close(handle)
    assert files.drive.read("a.bin") == bytes(100_000) + b"end"


def test_what_was_cut_off_is_zero_when_the_file_grows_again(files: Files) -> None:
    files.save("a.bin", b"x" * 200_000)
    handle = files.open("a.bin")
    handle.truncate(10)
    handle.truncate(30)
    assert whole(handle) == b"x" * 10 + bytes(20)
    close(handle)
    assert files.drive.read("a.bin") == b"x" * 10 + bytes(20)


def test_opened_to_be_truncated(files: Files) -> None:
    files.save("a.txt", b"long and old")
    handle = files.open("a.txt", os.O_WRONLY | os.O_TRUNC)
    handle.write(0, b"new")
    close(handle)
    assert files.drive.read("a.txt") == b"new"


def test_what_is_appended_goes_to_the_end_wherever_the_kernel_believes_that_it_is(files: Files) -> None:
    files.save("log", b"")
    handle = files.open("log", os.O_WRONLY | os.O_APPEND)
    files.drive.put("log", b"one\n")
    handle.write(0, b"two\n")
    handle.write(4, b"three\n")
    close(handle)
    assert files.drive.read("log") == b"one\ntwo\nthree\n"


def test_a_page_of_a_mapping_goes_where_it_belongs_also_by_a_descriptor_that_appends(files: Files) -> None:
    files.save("log", b"one\n")
    handle = files.open("log", os.O_RDWR | os.O_APPEND)
    handle.write(0, b"ONE\n")
    handle.write(4, b"two\n")
    close(handle)
    assert files.drive.read("log") == b"ONE\ntwo\n"


def test_truncated_without_a_descriptor(files: Files) -> None:
    files.save("a.txt", b"hello")
    files.open_files.truncate(files.drive.entry("a.txt"), 2, files.caller)
    assert files.drive.read("a.txt") == b"he"


def test_an_unlinked_file_is_there_until_the_last_close(files: Files) -> None:
    files.save("a.txt", b"hello")
    one, other = files.open("a.txt"), files.open("a.txt", os.O_RDONLY)
    files.remove("a.txt")
    one.write(5, b" there")
    one.flush()
    assert whole(other) == b"hello there"
    one.release()
    assert whole(other) == b"hello there"
    other.release()
    assert files.drive.names() == []
    assert files.open_files.disk.used == 0


def test_the_time_of_a_draft(files: Files) -> None:
    handle = files.create("a.txt", b"hello")
    assert files.open_files.set_mtime(handle.inode, 1_000_000_007)
    assert files.open_files.attributes(handle.inode) == (5, 1_000_000_007)
    close(handle)
    assert files.drive.entry("a.txt").mtime_ns == 1_000_000_007
    assert not files.open_files.set_mtime(handle.inode, 5)


def test_the_time_of_the_last_write_stays(files: Files) -> None:
    handle = files.create("a.txt", b"hello")
    written = handle.mtime_ns
    files.drive.clock.advance(5)
    close(handle)
    assert files.drive.entry("a.txt").mtime_ns == written


def test_a_file_that_is_moved_while_it_is_open_is_committed_where_it_is(files: Files) -> None:
    files.drive.folder("b")
    files.save("a.txt", b"one")
    handle = files.open("a.txt")
    handle.write(0, b"two")
    files.drive.move("a.txt", "b/c.txt")
    close(handle)
    assert files.drive.read("b/c.txt") == b"two"


def test_what_cannot_be_opened(files: Files) -> None:
    files.drive.folder("folder")
    files.save("a.txt", b"some")
    with pytest.raises(WrongKind):
        files.open("folder", os.O_RDONLY)
    with pytest.raises(Forbidden):
        files.open("a.txt", caller=files.drive.viewer)
    with pytest.raises(AlreadyExists):
        files.create("a.txt")
    gone = files.drive.entry("a.txt")
    files.remove("a.txt")
    with pytest.raises(NotFound):
        files.open_files.open(gone, os.O_RDONLY, files.caller)


def test_only_touched_parts_are_stored(files: Files) -> None:
    files.save("big", b"a" * (3 * PART_SIZE + 5))
    before = files.objects("big")
    handle = files.open("big")
    handle.write(PART_SIZE + 7, b"!")
    close(handle)
    after = files.objects("big")
    assert len(after) == 4
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
    expected = bytearray(b"a" * (3 * PART_SIZE + 5))
    expected[PART_SIZE + 7] = ord("!")
    assert files.drive.read("big") == bytes(expected)


def test_a_hole_costs_one_object(files: Files) -> None:
    handle = files.create("sparse")
    handle.truncate(10 * PART_SIZE)
    handle.write(10 * PART_SIZE, b"end")
    close(handle)
    assert len(set(files.objects("sparse"))) == 2
    assert files.drive.entry("sparse").size == 10 * PART_SIZE + 3


def test_drafts_have_a_bound(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.open_files.disk, "_limit", 1000)
    handle = files.create("a.bin", b"x" * 900)
    handle.write(0, b"y" * 900)
    with pytest.raises(NoSpace):
        handle.write(900, b"z" * 101)
    close(handle)
    assert files.drive.read("a.bin") == b"y" * 900
    assert files.open_files.disk.used == 0


def test_closing_what_could_not_be_changed_stores_nothing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save("a.txt", b"as it was")
    before = files.drive.entry("a.txt")
    monkeypatch.setattr(files.open_files.disk, "_limit", 10)
    handle = files.open("a.txt")
    with pytest.raises(NoSpace):
        handle.write(0, b"longer than ten")
    assert (whole(handle), files.open_files.attributes(handle.inode)) == (b"as it was", None)
    close(handle)
    assert (files.drive.entry("a.txt"), files.open_files.disk.used) == (before, 0)
    files.save("b.txt", b"ten bytes.")
    assert files.drive.read("b.txt") == b"ten bytes."


@pytest.mark.skipif(vaults.ALL, reason="in `test_sealed_drafts`, as far as the loop opens frames")
def test_what_was_closed_can_be_read_at_once(files: Files) -> None:
    """In the loop of a mount, without a thread: where the cache is a folder, whose bytes the kernel has in memory."""
    data = os.urandom(300_000)
    files.save("a.bin", data)
    is_told = near(files.drive.kelp.cache) is not None and tells_what_is_in_memory(files.drive.kelp.settings.data)
    reader = files.open("a.bin", os.O_RDONLY)
    for start, size in ((0, 10), (65_530, 20), (131_072, 65_536), (299_990, 100), (300_000, 5), (10, 299_000)):
        found = reader.read_at_once(start, size)
        assert found is None or bytes(found) == data[start : start + size]
        assert found is not None or not is_told
    reader.release()


def test_bad_bytes_are_not_read_at_once(files: Files) -> None:
    """Who can heal them is asked instead."""
    files.save("a.bin", b"x" * 300_000)
    files.drive.damaged = True
    key = files.objects("a.bin")[0]
    for path in Path(files.drive.kelp.settings.cache.url).glob(f"objects/*/{key}"):
        with path.open("r+b") as file:
            file.seek(70_000)
            file.write(b"y")
    reader = files.open("a.bin", os.O_RDONLY)
    assert reader.read_at_once(65_600, 10) is None
    assert reader.read_at_once(0, 10) is None  # nor anything else of that part
    reader.release()


def test_written_at_once_or_not_at_all(files: Files) -> None:
    handle = files.create("a.bin", b"01")
    assert handle.write_at_once(2, b"23456789") == 8
    assert handle.read_at_once(2, 5) == b"23456"
    assert handle.read_at_once(20, 5) == b""
    handle.write(20, b"more")
    assert handle.read_at_once(0, 24) is None  # nobody wrote the middle
    assert handle.write_at_once(1 << 40, b"far") is None
    close(handle)
    assert files.drive.read("a.bin") == b"0123456789" + bytes(10) + b"more"


def test_who_writes_at_once_does_not_wait_for_a_commit(files: Files) -> None:
    handle = files.create("a.bin", b"old")
    busy, over = threading.Event(), threading.Event()

    def hold() -> None:
        with handle._file.writing:
            busy.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert busy.wait(60)
    assert handle.write_at_once(0, b"new") is None
    over.set()
    thread.join()
    assert handle.write_at_once(0, b"new") == 3
    close(handle)
