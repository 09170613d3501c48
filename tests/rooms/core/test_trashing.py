"""Removing: what skips the trash, what can be restored from it, and by whom."""

from __future__ import annotations

import pytest

from tests.rooms.core.drive import Drive, rest
from vfs.errors import AlreadyExists, Forbidden, Locked, NotFound
from vfs.model import Level, OnConflict, State
from vfs.operations import trashing


def state_of(drive: Drive, entry_id: int) -> State:
    return State(drive.sql("SELECT state FROM entries WHERE id = :id", id=entry_id)[0][0])


# --- what skips the trash (spec §5) ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["~$doc.docx", ".~lock.a.odt#", "x.tmp", "x~", ".x.swp", "Thumbs.db", ".DS_Store"])
def test_what_was_created_under_a_litter_name_is_gone_at_once(drive: Drive, name: str) -> None:
    entry = drive.put(name)
    drive.clock.advance(3600)
    drive.remove(name)
    assert state_of(drive, entry.id) == State.DELETED and drive.trashed() == []


@pytest.mark.parametrize("name", ["._doc", "document", "x.tmp2", "tmp", "a~b"])
def test_what_is_no_litter_goes_to_the_trash(drive: Drive, name: str) -> None:
    drive.put(name)
    drive.clock.advance(61)
    drive.remove(name)
    assert drive.trashed() == [f"/{name}"]


def test_what_lived_under_a_minute_is_gone_at_once_but_not_on_rest(drive: Drive) -> None:
    for name in ("a", "b"):
        drive.put(name)
    drive.clock.advance(59)
    drive.remove("a")
    drive.remove("b", rest(drive.editor))
    assert drive.trashed() == ["/b"]


def test_what_was_made_before_the_clock_was_set_back_is_not_young(drive: Drive) -> None:
    drive.put("a")
    drive.clock.advance(-3600)
    drive.remove("a")
    assert drive.trashed() == ["/a"]


def test_a_document_that_was_saved_as_a_temporary_file_goes_to_the_trash(drive: Drive) -> None:
    """Word, KeePass and others create `x.tmp` and give it the document's name: it is no litter from then on."""
    drive.put("~WRD0001.tmp", b"the only copy")
    drive.move("~WRD0001.tmp", "thesis.docx")
    drive.clock.advance(3600)
    drive.remove("thesis.docx")
    assert drive.trashed() == ["/thesis.docx"]


def test_a_document_that_is_renamed_to_a_litter_name_is_no_litter(drive: Drive) -> None:
    drive.put("thesis", b"old")
    drive.clock.advance(3600)
    drive.move("thesis", "thesis~")
    drive.remove("thesis~")
    assert drive.trashed() == ["/thesis~"]


def test_the_backup_of_a_safe_save_is_gone_since_its_content_is_a_version(drive: Drive) -> None:
    drive.put("a", b"old")
    drive.clock.advance(3600)
    drive.move("a", "a~")
    drive.put("a", b"new")
    drive.remove("a~")
    assert drive.trashed() == [] and drive.versions("a") == [b"old"]


def test_a_litter_folder_takes_nothing_of_value_along(drive: Drive) -> None:
    """TextEdit: the document moves into a `.sb-` folder, the new one comes out of it, the folder is deleted."""
    drive.put("t.txt", b"old")
    drive.clock.advance(3600)
    drive.folder("t.txt.sb-1a2b3c4d-Xy12Za")
    drive.put("t.txt.sb-1a2b3c4d-Xy12Za/t.txt", b"new")
    drive.move("t.txt", "t.txt.sb-1a2b3c4d-Xy12Za/old")
    drive.move("t.txt.sb-1a2b3c4d-Xy12Za/t.txt", "t.txt")
    drive.remove("t.txt.sb-1a2b3c4d-Xy12Za")
    assert drive.trashed() == [] and drive.versions("t.txt") == [b"old"] and drive.read("t.txt") == b"new"
    drive.put("kept", b"kept")
    drive.clock.advance(3600)
    drive.folder("k.sb-1a2b3c4d-Xy12Za")
    drive.move("kept", "k.sb-1a2b3c4d-Xy12Za/kept")
    drive.remove("k.sb-1a2b3c4d-Xy12Za")
    assert drive.trashed() == ["/k.sb-1a2b3c4d-Xy12Za"]


def test_what_was_created_below_a_litter_folder_counts_too(drive: Drive) -> None:
    drive.folder("x.tmp")
    drive.put("x.tmp/inside")
    drive.clock.advance(3600)
    drive.remove("x.tmp")
    assert drive.trashed() == []


def test_a_young_row_that_carries_a_documents_versions_is_no_short_life(drive: Drive) -> None:
    drive.put("db", b"1")
    drive.clock.advance(3600)
    for number in (2, 3):  # KeePass: PUT tmp, DELETE, MOVE
        drive.put("db.tmp", str(number).encode())
        drive.remove("db")
        drive.move("db.tmp", "db")
        drive.clock.advance(30)
    assert drive.read("db") == b"3" and drive.versions("db") == [b"2", b"1"]


# --- restore --------------------------------------------------------------------------------------


def test_restore_puts_it_back_with_id_and_content(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/x", b"x")
    uuid = drive.entry("f").uuid
    drive.clock.advance(100)
    drive.remove("f")
    assert drive.find("f") is None and drive.find("f/x") is None
    drive.mirror()
    assert trashing.restore(drive.kelp, drive.editor, uuid).uuid == uuid
    assert drive.read("f/x") == b"x" and drive.trashed() == []


def test_missing_folders_are_made_anew_and_the_trashed_one_stays(drive: Drive) -> None:
    for path in ("a", "a/b"):
        drive.folder(path)
    drive.put("a/b/alone", b"x")
    drive.put("a/b/rest", b"y")
    uuid = drive.entry("a/b/alone").uuid
    drive.clock.advance(100)
    drive.remove("a")
    trashing.restore(drive.kelp, drive.editor, uuid)
    assert drive.read("a/b/alone") == b"x" and drive.names("a/b") == ["alone"]
    assert drive.trashed() == ["/a"]
    drive.mirror()
    old = drive.trash()[0].entry.uuid
    with pytest.raises(AlreadyExists):
        trashing.restore(drive.kelp, drive.editor, old)
    assert trashing.restore(drive.kelp, drive.editor, old, on_conflict=OnConflict.RENAME).name == "a (1)"
    assert drive.names("a (1)/b") == ["rest"]


def test_an_active_folder_of_the_old_name_is_used(drive: Drive) -> None:
    drive.folder("a")
    drive.put("a/x", b"x")
    drive.clock.advance(100)
    drive.remove("a/x")
    drive.remove("a")
    again = drive.folder("a")
    for item in drive.trash():
        if item.original_path == "/a/x":
            trashing.restore(drive.kelp, drive.editor, item.entry.uuid)
    assert drive.entry("a").id == again.id and drive.read("a/x") == b"x"


def test_what_was_trashed_alone_outlives_its_folder(drive: Drive) -> None:
    drive.folder("a")
    drive.put("a/x", b"x")
    uuid = drive.entry("a/x").uuid
    drive.clock.advance(100)
    drive.remove("a/x")
    drive.remove("a")
    folder = next(item.entry.uuid for item in drive.trash() if item.original_path == "/a")
    trashing.purge(drive.kelp, drive.editor, folder)
    drive.mirror()
    trashing.restore(drive.kelp, drive.editor, uuid)
    assert drive.read("a/x") == b"x"


def test_restore_needs_rights_only_where_it_changes_something(drive: Drive) -> None:
    drive.folder("mine")
    drive.grant("", Level.READ, drive.editor)
    drive.grant("mine", Level.WRITE, drive.editor)
    drive.put("mine/x", b"x")
    uuid = drive.entry("mine/x").uuid
    drive.clock.advance(100)
    drive.remove("mine/x")
    trashing.restore(drive.kelp, drive.editor, uuid)
    assert drive.read("mine/x") == b"x"


@pytest.mark.parametrize("deep", [False, True])
def test_restore_respects_locks(drive: Drive, deep: bool) -> None:
    for path in ("a", "a/b"):
        drive.folder(path)
    uuid = drive.put("a/b/x").uuid
    drive.clock.advance(100)
    drive.remove("a/b")
    drive.lock("a", drive.other, deep=deep)
    with pytest.raises(Locked):
        trashing.restore(drive.kelp, drive.editor, uuid)
    assert drive.names("a") == []


# --- purge ----------------------------------------------------------------------------------------


def test_purge_and_empty(drive: Drive) -> None:
    for name in ("a", "b", "c"):
        drive.put(name)
    drive.clock.advance(100)
    for name in ("a", "b", "c"):
        drive.remove(name)
    drive.mirror()
    first = drive.trash()[0].entry.uuid
    trashing.purge(drive.kelp, drive.editor, first)
    for again in (trashing.purge, trashing.restore):
        with pytest.raises(NotFound):
            again(drive.kelp, drive.editor, first)
    assert trashing.empty_trash(drive.kelp, drive.editor) == 2
    assert drive.trash() == []


def test_the_trash_is_ones_own(drive: Drive) -> None:
    drive.put("a")
    drive.clock.advance(100)
    drive.remove("a")
    uuid = drive.trash()[0].entry.uuid
    assert drive.trash(drive.other) == [] and len(drive.trash(drive.editor)) == 1
    for action in (trashing.purge, trashing.restore):
        with pytest.raises(Forbidden):
            action(drive.kelp, drive.other, uuid)
    assert trashing.empty_trash(drive.kelp, drive.other) == 0
    trashing.restore(drive.kelp, drive.admin, uuid)


def test_who_may_remove(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/x")
    drive.grant("f", Level.NONE, drive.other)
    with pytest.raises(Forbidden):
        drive.remove("f", drive.viewer)
    with pytest.raises(NotFound):
        drive.remove("f", drive.other)
    drive.lock("f/x", drive.editor)
    with pytest.raises(Locked):
        drive.remove("f", drive.editor)


def test_a_trashed_item_says_when_it_expires(drive: Drive) -> None:
    drive.put("a")
    drive.clock.advance(100)
    drive.remove("a")
    item = drive.trash()[0]
    assert (item.expires_ns - item.trashed_ns) // 86_400_000_000_000 == 30
    assert (item.user_name, item.trashed_ns) == ("editor", drive.clock.now)
