"""Putting files: strategies, conditions, the time that is shown, parts; and that nothing half-done is ever seen."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests import cache_listing
from tests.rooms.core.drive import SECOND, Broken, Drive
from vfs.errors import (
    AlreadyExists,
    Forbidden,
    InvalidName,
    InvalidRequest,
    Locked,
    NameTooLong,
    NoSpace,
    ParentNotFound,
    PreconditionFailed,
    UploadIncomplete,
    WrongKind,
)
from vfs.model import PART_SIZE, ByteRange, Entry, Expected, OnConflict, Place
from vfs.operations import contents, drafting, properties, reading, writing

# --- names and strategies -------------------------------------------------------------------------


def test_what_a_writer_is_told_is_the_row_as_it_stands(drive: Drive) -> None:
    def as_it_stands(told: Entry) -> bool:
        with drive.kelp.database.read() as tx:
            return told == tx.entries.get(told.id)

    assert as_it_stands(drive.put("a.txt", b"new", mtime_ns=5 * SECOND))
    drive.clock.advance(6)
    assert as_it_stands(drive.put("a.txt", b"over", caller=drive.other, mime_type="text/odd"))
    drive.put("b.txt", b"another")
    assert as_it_stands(drive.copy("b.txt", "a.txt", OnConflict.OVERWRITE).entry)
    kelp, caller = drive.kelp, drive.editor
    assert as_it_stands(drafting.create(kelp, caller, drive.place("made"), {"mode": 0o600}).entry)
    drive.remove("b.txt")  # who has its name soon after is the same document
    assert as_it_stands(drive.put("b.txt", b"again"))
    drive.remove("b.txt")
    assert as_it_stands(drafting.create(kelp, caller, drive.place("b.txt")).entry)


@pytest.mark.parametrize("taken", [None, "file", "folder"])
@pytest.mark.parametrize("on", list(OnConflict))
def test_every_strategy(drive: Drive, on: OnConflict, taken: str | None) -> None:
    if taken:
        drive.put("a", b"old") if taken == "file" else drive.folder("a")
    errors: dict[tuple[OnConflict, str | None], type[Exception]] = {
        (OnConflict.ERROR, "file"): AlreadyExists,
        (OnConflict.ERROR, "folder"): AlreadyExists,
        (OnConflict.OVERWRITE, "folder"): WrongKind,
        **{(strategy, kind): InvalidRequest for strategy in (OnConflict.SKIP, OnConflict.MERGE)
           for kind in (None, "file", "folder")},
    }  # fmt: skip
    if (on, taken) in errors:
        with pytest.raises(errors[on, taken]):
            drive.put("a", b"new", on_conflict=on)
        assert drive.find("a") is None if taken is None else True
        return
    written = writing.put_file(drive.kelp, drive.editor, drive.place("a"), [b"new"], on_conflict=on)
    assert written.created == (taken is None or on == OnConflict.RENAME)
    assert written.entry.name == ("a (1)" if taken and on == OnConflict.RENAME else "a")
    assert drive.read(written.entry.name) == b"new"


def test_a_renamed_upload_asks_the_lock_of_the_folder_not_of_the_taken_file(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/a")
    drive.lock("f/a", drive.other)
    drive.put("f/a", on_conflict=OnConflict.RENAME)
    drive.lock("f", drive.other)
    with pytest.raises(Locked):
        drive.put("f/a", on_conflict=OnConflict.RENAME)


def test_overwriting_keeps_the_row(drive: Drive) -> None:
    first = drive.put("a", b"one")
    second = drive.put("a", b"two", drive.other)
    assert (first.id, first.uuid, first.created_ns) == (second.id, second.uuid, second.created_ns)
    assert first.content_id != second.content_id and first.uuid == first.content_id


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "\x1f", "\ud800", "\uffff"])
def test_a_bad_name_is_refused_before_the_body_is_read(drive: Drive, name: str) -> None:
    with pytest.raises(InvalidName):
        writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, name), Broken(AssertionError("read")))
    with pytest.raises(NameTooLong):
        writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, "é" * 128), Broken(AssertionError("read")))


def test_refusals_come_before_the_body_is_read(drive: Drive) -> None:
    drive.put("a")
    body = Broken(AssertionError("read"))
    with pytest.raises(ParentNotFound):
        writing.put_file(drive.kelp, drive.editor, Place(999, "x"), body)
    with pytest.raises(ParentNotFound):
        writing.put_file(drive.kelp, drive.editor, Place(drive.entry("a").id, "x"), body)
    with pytest.raises(Forbidden):
        writing.put_file(drive.kelp, drive.viewer, Place(drive.root_id, "a"), body)
    with pytest.raises(NoSpace):
        writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, "a"), body, expected=Expected(length=1 << 60))
    drive.lock("a", drive.other)
    with pytest.raises(Locked):
        writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, "a"), body)


# --- nothing half-done ----------------------------------------------------------------------------


def objects(drive: Drive) -> set[str]:
    return cache_listing.keys(drive.kelp.cache)


@pytest.mark.parametrize(
    ("body", "expected", "error"),
    [
        ([b"12345"], Expected(length=6), UploadIncomplete),
        ([b"12345"], Expected(length=4), UploadIncomplete),
        ([b"12345"], Expected(sha1="0" * 40), UploadIncomplete),
        ([b"12345"], Expected(md5="0" * 32), UploadIncomplete),
        (Broken(UploadIncomplete("cut"), b"123"), Expected(), UploadIncomplete),
        (Broken(OSError("gone"), b"x" * PART_SIZE, b"y"), Expected(), OSError),
    ],
)
def test_a_body_that_is_not_right_leaves_nothing(
    drive: Drive, body: Iterable[bytes], expected: Expected, error: type[Exception]
) -> None:
    drive.put("a", b"old")
    before = objects(drive)
    for name in ("a", "b"):
        with pytest.raises(error):
            writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, name), body, expected=expected)
    assert drive.names() == ["a"] and drive.read("a") == b"old" and objects(drive) == before


def test_right_sums_are_accepted_and_the_sha1_is_kept(drive: Drive) -> None:
    sha1, md5 = hashlib.sha1(b"12345").hexdigest(), hashlib.md5(b"12345").hexdigest()
    entry = drive.put("a", b"12345", expected=Expected(5, sha1, md5))
    assert reading.digests_of(drive.kelp, entry) == f"SHA1:{sha1} MD5:{md5}"


def test_a_refusal_inside_the_transaction_leaves_nothing(drive: Drive) -> None:
    drive.put("a", b"old")
    before = objects(drive)
    calls: list[Entry | None] = []

    def second_time(entry: Entry | None, _tokens: frozenset[str]) -> None:
        calls.append(entry)
        if len(calls) == 2:
            raise PreconditionFailed("changed meanwhile")

    with pytest.raises(PreconditionFailed):
        drive.put("a", b"new", condition=second_time)
    assert drive.read("a") == b"old" and objects(drive) == before


def test_of_two_writers_with_one_condition_one_wins(drive: Drive) -> None:
    seen = drive.put("a", b"old").content_id
    ready = threading.Barrier(2)
    outcomes: list[bytes | str] = []

    def body(data: bytes) -> Iterator[bytes]:
        ready.wait(60)  # both have passed the early check
        yield data

    def unchanged(entry: Entry | None, _tokens: frozenset[str]) -> None:
        if entry is None or entry.content_id != seen:
            raise PreconditionFailed("it has changed")

    def write(data: bytes) -> None:
        try:
            writing.put_file(drive.kelp, drive.editor, Place(drive.root_id, "a"), body(data), condition=unchanged)
            outcomes.append(data)
        except PreconditionFailed:
            outcomes.append("refused")

    run_together(lambda: write(b"one"), lambda: write(b"two"))
    assert "refused" in outcomes and drive.read("a") in outcomes


def run_together(*actions: Callable[[], None]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


# --- the time HTTP shows (clients.md R8) ----------------------------------------------------------


def test_each_content_shows_another_second_under_its_name(drive: Drive) -> None:
    shown = [drive.put("a", b"1").shown_mtime, drive.put("a", b"2").shown_mtime]
    drive.remove("a")
    shown.append(drive.put("a", b"3").shown_mtime)
    drive.put("tmp1", b"4")
    shown.append(drive.move("tmp1", "a", OnConflict.OVERWRITE).entry.shown_mtime)
    drive.move("a", "backup")
    shown.append(drive.put("a", b"5").shown_mtime)
    drive.put("x", b"6")
    shown.append(drive.copy("x", "a", OnConflict.OVERWRITE).entry.shown_mtime)
    drive.remove("a")
    drive.put("y", b"7")
    shown.append(drive.move("y", "a").entry.shown_mtime)
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert drive.entry("a").mtime_ns == drive.clock.now


def test_a_time_set_back_by_the_client_does_not_let_a_second_be_shown_twice(drive: Drive) -> None:
    first = drive.put("a", b"1")
    properties.patch(drive.kelp, drive.editor, first.id, [], mtime_ns=1_000 * SECOND)
    second = drive.put("a", b"2")
    drive.put("a", b"3", mtime_ns=1_000 * SECOND)
    drive.remove("a")
    third = drive.put("a", b"4")
    assert first.shown_mtime < second.shown_mtime < third.shown_mtime


def test_the_memory_lasts_ten_minutes(drive: Drive) -> None:
    for seconds, expected in ((599, 11), (601, 10)):
        path = f"after-{seconds}"
        drive.put(path, mtime_ns=(drive.clock.seconds + 610) * SECOND)
        drive.remove(path)
        drive.clock.advance(seconds)
        late = drive.put(path).shown_mtime - drive.clock.seconds
        assert late == (610 - seconds + 1 if seconds < 600 else 0), expected


@pytest.mark.parametrize("nanoseconds", [0, 1, 1_600_000_000_123_456_789, 4_000_000_000 * SECOND])
def test_a_time_of_the_client_is_shown_exactly(drive: Drive, nanoseconds: int) -> None:
    drive.put("a", b"1")
    entry = drive.put("a", b"2", mtime_ns=nanoseconds)
    assert (entry.mtime_ns, entry.shown_mtime) == (nanoseconds, nanoseconds // SECOND)
    drive.put("b", b"3")
    moved = drive.move("a", "b", OnConflict.OVERWRITE).entry
    assert (moved.mtime_ns, moved.shown_mtime) == (nanoseconds, nanoseconds // SECOND)
    patched = properties.patch(drive.kelp, drive.editor, moved.id, [], mtime_ns=nanoseconds)
    assert patched.shown_mtime == nanoseconds // SECOND


@pytest.mark.parametrize("nanoseconds", [1 << 63, -(1 << 63) - 1])
def test_a_time_that_no_row_can_hold_is_refused(drive: Drive, nanoseconds: int) -> None:
    entry = drive.put("a")
    with pytest.raises(InvalidRequest):
        drive.put("b", mtime_ns=nanoseconds)
    with pytest.raises(InvalidRequest):
        properties.patch(drive.kelp, drive.editor, entry.id, [], mtime_ns=nanoseconds)


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, 0),
        (1, 1),
        (PART_SIZE - 1, 1),
        (PART_SIZE, 1),
        (PART_SIZE + 1, 2),
        (2 * PART_SIZE, 2),
        (2 * PART_SIZE + 1, 3),
    ],
)
def test_parts_and_ranges_across_them(drive: Drive, size: int, parts: int) -> None:
    data = (b"0123456789abcde" * (size // 15 + 1))[:size]
    entry = drive.put("big", data)
    with drive.kelp.database.read() as tx:
        content = contents.get(tx, entry.content_id or "")
    assert (entry.size, len(content.parts)) == (size, parts)
    assert all(part.size >= PART_SIZE for part in content.parts[:-1])  # sealed ones are larger
    reader = reading.open_content(drive.kelp, drive.editor, entry)
    assert b"".join(reader.chunks()) == data
    edges = {0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, size - 1, size}
    for start in edges:
        for stop in edges:
            if 0 <= start < stop <= size:
                assert b"".join(reader.chunks(ByteRange(start, stop))) == data[start:stop]


def test_a_write_is_an_event_and_history(drive: Drive) -> None:
    drive.put("a")
    drive.put("a")
    events = drive.sql("SELECT event_type, status, target_path, trace_id FROM sync_events")
    assert events == [("SYNC", "PENDING", "/a", "test-editor")] * 2
    assert drive.sql("SELECT event, face FROM file_events") == [("create", "dav"), ("write", "dav")]
