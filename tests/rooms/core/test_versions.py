"""Older contents: which are kept, and whose they are when an editor saves by renaming (spec §6, versions)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rooms.core.drive import Drive, holding, rest
from vfs.errors import Forbidden, Locked, NotFound
from vfs.model import Caller, Entry, OnConflict
from vfs.operations import properties, reading, versioning


def test_an_overwrite_keeps_what_was_there(drive: Drive) -> None:
    for number in range(4):
        drive.put("a", str(number).encode())
        drive.clock.advance(6)
    assert drive.versions("a") == [b"2", b"1", b"0"]
    drive.mirror()


@pytest.mark.parametrize(
    ("seconds", "by_other", "kept"), [(4.9, False, False), (5, False, True), (1, True, True), (0, True, True)]
)
def test_not_what_the_same_user_replaced_within_five_seconds(
    drive: Drive, seconds: float, by_other: bool, kept: bool
) -> None:
    drive.put("a", b"1")
    drive.clock.advance(seconds)
    drive.put("a", b"2", drive.other if by_other else drive.editor)
    assert drive.versions("a") == ([b"1"] if kept else [])


def test_what_was_written_before_the_clock_was_set_back_is_kept(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.clock.advance(-3600)
    drive.put("a", b"2")
    assert drive.versions("a") == [b"1"]
    drive.clock.advance(3600)  # the mirror carries a change no sooner than its own time


def test_not_an_empty_content_nor_one_that_is_kept_already(drive: Drive) -> None:
    for data in (b"", b"1", b"2"):
        drive.put("a", data)
        drive.clock.advance(6)
    first = versioning.list_versions(drive.kelp, drive.editor, drive.entry("a").id)[0]
    versioning.restore_version(drive.kelp, drive.editor, first.uuid)
    drive.clock.advance(6)
    drive.put("a", b"3")
    assert drive.versions("a") == [b"2", b"1"]


def test_no_more_than_keep_count(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(versions_keep_count=2)
    for number in range(5):
        drive.put("a", str(number).encode())
        drive.clock.advance(6)
    assert drive.versions("a") == [b"3", b"2"]


def test_restore_shows_the_old_content_as_a_new_one(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.clock.advance(6)
    before = drive.put("a", b"two")
    drive.clock.advance(6)
    version = versioning.list_versions(drive.kelp, drive.viewer, before.id)[0]
    assert (version.size, version.user_name) == (1, "editor")
    token = drive.lock("a", drive.other)
    with pytest.raises(Locked):
        versioning.restore_version(drive.kelp, drive.editor, version.uuid)
    with pytest.raises(Forbidden):
        versioning.restore_version(drive.kelp, drive.viewer, version.uuid)
    after = versioning.restore_version(drive.kelp, holding(drive.other, token), version.uuid)
    assert (after.id, after.size) == (before.id, 1) and drive.read("a") == b"1"
    assert after.shown_mtime > before.shown_mtime and drive.versions("a")[0] == b"two"
    with pytest.raises(NotFound):
        versioning.open_version(drive.kelp, drive.editor, "no such")


# --- an editor's safe save ------------------------------------------------------------------------


def move_over(drive: Drive, caller: Caller) -> None:
    drive.put("new", b"2", caller)
    drive.move("new", "doc", OnConflict.OVERWRITE, caller)


def move_away(drive: Drive, caller: Caller) -> None:
    drive.move("doc", "doc~", caller=caller)
    drive.put("doc", b"2", caller)


def move_away_and_in(drive: Drive, caller: Caller) -> None:
    drive.put("~WRD1.tmp", b"2", caller)
    drive.move("doc", "~WRL2.tmp", caller=caller)
    drive.move("~WRD1.tmp", "doc", caller=caller)


def delete(drive: Drive, caller: Caller) -> None:
    drive.remove("doc", caller)
    drive.put("doc", b"2", caller)


def delete_and_copy(drive: Drive, caller: Caller) -> None:
    drive.put("new", b"2", caller)
    drive.remove("doc", caller)
    drive.copy("new", "doc", caller=caller)


WAYS = pytest.mark.parametrize("save", [move_over, move_away, move_away_and_in, delete, delete_and_copy])


def document(drive: Drive) -> Entry:
    drive.put("doc", b"0")
    drive.clock.advance(6)
    entry = drive.put("doc", b"1")
    properties.patch(drive.kelp, drive.editor, entry.id, [("{n}p", "<p/>")])
    drive.clock.advance(3600)
    return entry


@WAYS
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_name_keeps_its_document(drive: Drive, save: Callable[[Drive, Caller], None], mirrored: bool) -> None:
    old = document(drive)
    if mirrored:
        drive.mirror(0)
    save(drive, drive.editor)
    new = drive.entry("doc")
    assert new.id != old.id and new.uuid == old.uuid  # inode and properties stay with their rows
    assert drive.read("doc") == b"2" and drive.versions("doc") == [b"1", b"0"]
    assert reading.properties_of(drive.kelp, drive.editor, new.id) == {}
    assert reading.properties_of(drive.kelp, drive.editor, old.id) if drive.find("doc~") else True
    history = [row[0] for row in drive.sql("SELECT event FROM file_events WHERE entry_id = :id ORDER BY id", id=new.id)]
    assert history[:2] == ["create", "write"]
    row = drive.sql("SELECT uuid, succeeded_by FROM entries WHERE id = :id", id=old.id)[0]
    assert row[0] != old.uuid and row[1] == new.id


@WAYS
def test_a_save_every_few_seconds_keeps_the_chain(drive: Drive, save: Callable[[Drive, Caller], None]) -> None:
    uuid = document(drive).uuid
    for _ in range(3):
        save(drive, drive.editor)
        for name in ("doc~", "~WRL2.tmp", "new"):
            if drive.find(name):
                drive.remove(name)
        drive.clock.advance(8)
    assert drive.entry("doc").uuid == uuid
    assert drive.versions("doc") == [b"2", b"2", b"1", b"0"]


@pytest.mark.parametrize("seconds", [60, 61])
def test_within_a_minute(drive: Drive, seconds: int) -> None:
    old = document(drive)
    drive.move("doc", "elsewhere")
    drive.clock.advance(seconds)
    assert (drive.put("doc", b"2").uuid == old.uuid) == (seconds == 60)
    assert drive.versions("elsewhere") == ([] if seconds == 60 else [b"0"])


def test_not_on_rest_where_a_replaced_file_goes_to_the_trash(drive: Drive) -> None:
    old = document(drive)
    move_over(drive, rest(drive.editor))
    assert drive.entry("doc").uuid != old.uuid and drive.versions("doc") == []
    assert [item.entry.uuid for item in drive.trash()] == [old.uuid]


def test_a_folder_takes_over_no_document(drive: Drive) -> None:
    old = document(drive)
    drive.move("doc", "away")
    drive.folder("doc")
    drive.move("doc", "folder")
    assert drive.put("doc", b"2").uuid != old.uuid and drive.versions("away") == [b"0"]


def test_a_temporary_name_written_anew_does_not_rob_the_document(drive: Drive) -> None:
    """`PUT t, MOVE t → doc` twice within a minute, and the second save is given up."""
    uuid = document(drive).uuid
    for name in ("doc.tmp", "temporary"):
        drive.put(name, b"2")
        drive.move(name, "doc", OnConflict.OVERWRITE)
        drive.clock.advance(6)
        drive.put(name, b"3")
        drive.remove(name)
        assert drive.entry("doc").uuid == uuid
    assert drive.versions("doc") == [b"2", b"1", b"0"]
