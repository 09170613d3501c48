"""Whole files by ids: what is told of them, and where they go when their file does not stay where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.rooms.core.drive import Drive, rest
from vfs.errors import Forbidden, InTrash, NotFound, PreconditionFailed
from vfs.model import Condition, Expected, Kind, StoreStatus, Written
from vfs.operations import appearance, by_id, trashing, uploading
from vfs.storage.small_contents import SMALL

SIZES = pytest.mark.parametrize("size", [4, SMALL + 1], ids=["short", "long"])


def replaced(
    drive: Drive,
    uuid: str,
    size: int,
    meanwhile: Callable[[], object] = lambda: None,
    condition: Condition | None = None,
) -> Written:
    """By new bytes, while whose first half comes something happens."""

    def body() -> Iterator[bytes]:
        yield b"n" * (size // 2)
        meanwhile()
        yield b"n" * (size - size // 2)

    return uploading.replace(
        drive.kelp, rest(drive.editor), uuid, body(), expected=Expected(length=size), condition=condition
    )


@SIZES
def test_the_answer_is_of_the_commit(drive: Drive, size: int) -> None:
    folder = drive.folder("f")
    new = uploading.upload(
        drive.kelp, rest(drive.editor), folder.uuid, "Name", [b"n" * size], expected=Expected(length=size)
    )
    over = replaced(drive, new.entry.uuid, size)
    for written in (new, over):
        facts = written.facts
        assert facts is not None
        assert (facts.path, facts.parent_uuid, facts.cache) == ("/f/Name", folder.uuid, StoreStatus.AVAILABLE)
        assert facts.nas == StoreStatus.SYNCING and "NAS" in facts.message
    assert over.facts == appearance.of(drive.kelp, over.entry)
    assert new.facts is not None and over.facts is not None and new.facts.event_uuid != over.facts.event_uuid
    drive.mirror()
    assert appearance.of(drive.kelp, drive.entry("f/Name")).event_uuid == ""


def test_in_the_drive_itself_and_without_a_length(drive: Drive) -> None:
    written = uploading.upload(drive.kelp, rest(drive.editor), None, "a", [b"new"], expected=Expected(most=300))
    assert written.facts == appearance.of(drive.kelp, written.entry)
    assert written.facts is not None and (written.facts.path, written.facts.parent_uuid) == ("/a", None)
    assert drive.read("a") == b"new"


@SIZES
def test_it_is_followed_where_it_goes(drive: Drive, size: int) -> None:
    drive.folder("d")
    uuid = drive.put("a", b"mine").uuid

    def swap() -> None:
        drive.move("a", "d/b")
        drive.clock.advance(100)
        drive.put("a", b"another")

    written = replaced(drive, uuid, size, swap)
    assert (drive.read("d/b"), drive.read("a")) == (b"n" * size, b"another")
    assert written.facts is not None and written.facts.path == "/d/b"


@SIZES
def test_it_goes_away_meanwhile(drive: Drive, size: int) -> None:
    uuid, objects = drive.put("a", b"mine").uuid, drive.objects()
    with pytest.raises(InTrash):
        replaced(drive, uuid, size, lambda: trashing.remove(drive.kelp, rest(drive.editor), drive.place("a")))
    assert drive.objects() == objects and drive.names() == []


@SIZES
def test_what_is_refused_leaves_nothing(drive: Drive, size: int) -> None:
    """Also of those bodies that are taken before anybody looks."""
    folder = drive.folder("f")
    uuid, objects = drive.put("f/a", b"mine").uuid, drive.objects()
    drive.grant("f", 1, drive.editor)
    with pytest.raises(Forbidden):
        replaced(drive, uuid, size)
    drive.grant("f", 0, drive.editor)
    with pytest.raises(NotFound):
        replaced(drive, uuid, size)
    with pytest.raises(NotFound):
        by_id.find(drive.kelp, drive.editor, folder.uuid, Kind.FOLDER)
    assert drive.objects() == objects and drive.read("f/a") == b"mine"


def test_the_condition_is_asked_before_the_body(drive: Drive) -> None:
    uuid = drive.put("a", b"mine").uuid

    def never(*_: object) -> None:
        raise PreconditionFailed("never")

    with pytest.raises(PreconditionFailed):
        replaced(drive, uuid, 4, lambda: pytest.fail("the body is read"), condition=never)
