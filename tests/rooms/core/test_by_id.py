"""Entries by their ids: what has the id is changed, wherever it is by now, and never what has taken its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rooms.core.drive import Drive, rest
from vfs.errors import InTrash
from vfs.model import Condition, Entry, Kind, OnConflict, Outcome, Place
from vfs.operations import by_id, moving, trashing


def rename_after(drive: Drive, uuid: str, meanwhile: Callable[[], object]) -> Outcome:
    """Rename by id to "mine"; `meanwhile` happens once, between the look at it and the change."""
    left = [meanwhile]

    def act(entry: Entry, same: Condition) -> Outcome:
        if left:
            left.pop()()
        goal = Place(entry.place.folder_id, "mine")
        return moving.move(drive.kelp, rest(drive.editor), entry.place, goal, condition=same, seen=entry)

    return by_id.change(drive.kelp, rest(drive.editor), uuid, Kind.FILE, act)


def test_it_is_followed_where_it_goes(drive: Drive) -> None:
    drive.folder("d")
    uuid = drive.put("a", b"mine").uuid

    def swap() -> None:
        drive.move("a", "d/b")
        drive.clock.advance(100)  # the name's new file is another document
        drive.put("a", b"another")

    rename_after(drive, uuid, swap)
    assert (drive.read("d/mine"), drive.read("a")) == (b"mine", b"another")


def test_the_document_is_followed_to_the_row_that_took_it_over(drive: Drive) -> None:
    """A safe save: the new file under the old name is the document, and has its id."""
    uuid = drive.put("a", b"old").uuid
    drive.clock.advance(100)

    def save() -> None:
        drive.move("a", "a.bak")
        drive.put("a", b"new")

    assert rename_after(drive, uuid, save).entry.uuid == uuid
    assert (drive.read("mine"), drive.read("a.bak")) == (b"new", b"old")


def test_the_row_that_comes_back_without_its_document(drive: Drive) -> None:
    """The same row is at the same place again, and is another document now: its id went to the other one."""
    uuid = drive.put("a", b"old").uuid
    drive.clock.advance(100)

    def save_and_put_back() -> None:
        drive.move("a", "a.bak")
        drive.put("a", b"new")
        drive.move("a", "document")
        drive.clock.advance(100)
        drive.move("a.bak", "a")

    assert rename_after(drive, uuid, save_and_put_back).entry.uuid == uuid
    assert (drive.read("mine"), drive.read("a")) == (b"new", b"old")


def test_what_is_in_the_trash_is_not_what_is_in_its_place(drive: Drive) -> None:
    uuid = drive.put("a", b"mine").uuid
    drive.clock.advance(100)

    def replace() -> None:
        trashing.remove(drive.kelp, rest(drive.editor), drive.place("a"))
        drive.clock.advance(100)
        drive.put("a", b"another")

    with pytest.raises(InTrash):
        rename_after(drive, uuid, replace)
    assert drive.names() == ["a"] and drive.read("a") == b"another"


def test_a_folder_into_the_folder_that_has_its_name(drive: Drive) -> None:
    drive.folder("s")
    drive.folder("t")
    drive.folder("t/s")
    drive.put("s/x")
    moved = by_id.move(
        drive.kelp,
        rest(drive.editor),
        drive.entry("s").uuid,
        Kind.FOLDER,
        drive.entry("t").uuid,
        None,
        OnConflict.MERGE,
    )
    assert moved.entry == drive.entry("t/s") and drive.names("t/s") == ["x"]
