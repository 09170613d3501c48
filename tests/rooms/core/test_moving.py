"""Rename and move: every strategy against every kind, on a drive face and on REST."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rooms.core.drive import Drive, holding, rest
from vfs.errors import AlreadyExists, CircularMove, Forbidden, Locked, NotFound, ParentNotFound, WrongKind
from vfs.model import Level, OnConflict, Place
from vfs.operations import moving

ERROR, RENAME, OVERWRITE, SKIP, MERGE = OnConflict
KINDS = ("file", "folder")


def make(drive: Drive, path: str, kind: str) -> None:
    if kind == "file":
        drive.put(path, path.encode())
    else:
        drive.folder(path)
        drive.put(f"{path}/inside-{path}", path.encode())


def seen(drive: Drive, path: str) -> str:
    """Who is there now: the name it was made under."""
    entry = drive.entry(path)
    return drive.names(path)[0].removeprefix("inside-") if entry.is_folder else drive.read(path).decode()


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_rename_that_may_replace_nothing(drive: Drive, source: str, target: str) -> None:
    """Whatever has the name: RENAME_NOREPLACE (rename(2)), when somebody else has just made it."""
    make(drive, "s", source)
    make(drive, "t", target)
    with pytest.raises(AlreadyExists):
        moving.move(drive.kelp, drive.editor, drive.place("s"), drive.place("t"), on_conflict=ERROR, alike=True)
    assert drive.names() == ["s", "t"]


@pytest.mark.parametrize("face", ["dav", "rest"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("on", list(OnConflict))
def test_every_strategy(drive: Drive, on: OnConflict, source: str, target: str, face: str) -> None:
    caller = rest(drive.editor) if face == "rest" else drive.editor
    make(drive, "s", source)
    make(drive, "t", target)
    drive.clock.advance(100)
    if on == ERROR:
        with pytest.raises(AlreadyExists) as caught:
            drive.move("s", "t", on, caller)
        assert caught.value.existing == drive.entry("t")
    elif on == MERGE and (source, target) != ("folder", "folder"):
        with pytest.raises(WrongKind):
            drive.move("s", "t", on, caller)
    else:
        outcome = drive.move("s", "t", on, caller)
        assert (outcome.skipped, outcome.replaced) == (on == SKIP, on == OVERWRITE)
    now = {name: seen(drive, name) for name in drive.names()}
    if on == RENAME:
        assert now == {"t": "t", "t (1)": "s"}
    elif on == OVERWRITE:
        assert now == {"t": "s"}
        succeeded = face == "dav" and source == target == "file"
        assert drive.trashed() == ([] if succeeded else ["/t"])
        assert drive.versions("t") == ([b"t"] if succeeded else []) if source == "file" else True
    elif on == MERGE and source == target == "folder":
        assert drive.names() == ["t"] and drive.names("t") == ["inside-s", "inside-t"]
    else:
        assert now == {"s": "s", "t": "t"}


def test_merge_goes_down_and_keeps_both_of_a_taken_name(drive: Drive) -> None:
    for path in ("s", "s/both", "s/mine", "t", "t/both"):
        drive.folder(path)
    for path in ("s/both/x", "t/both/x", "s/mine/y"):
        drive.put(path, path.encode())
    drive.mirror()
    drive.move("s", "t", MERGE)
    assert drive.names("t") == ["both", "mine"]
    assert (drive.read("t/both/x"), drive.read("t/both/x (1)")) == (b"t/both/x", b"s/both/x")
    assert drive.read("t/mine/y") == b"s/mine/y"
    assert drive.trashed() == ["/s"]  # one item, with the folders that are empty now


def test_merge_respects_a_lock_deep_in_the_target(drive: Drive) -> None:
    for path in ("s", "s/d", "t", "t/d"):
        drive.folder(path)
    drive.put("s/d/x")
    drive.lock("t/d", drive.other)
    with pytest.raises(Locked):
        drive.move("s", "t", MERGE)
    assert drive.names("s/d") == ["x"]


@pytest.mark.parametrize("on", list(OnConflict))
@pytest.mark.parametrize("target", ["a/b", "a/b/c", "a/new", "a/b/new"])
def test_a_folder_never_goes_into_itself(drive: Drive, target: str, on: OnConflict) -> None:
    drive.folder("a")
    drive.folder("a/b")
    drive.put("a/b/c")
    with pytest.raises(CircularMove):
        drive.move("a", target, on)


@pytest.mark.parametrize("kind", KINDS)
def test_onto_itself(drive: Drive, kind: str) -> None:
    make(drive, "a", kind)
    with pytest.raises(CircularMove):
        drive.move("a", "a", OVERWRITE)
    assert seen(drive, "a") == "a"


@pytest.mark.parametrize(
    ("on", "error"), [(OVERWRITE, CircularMove), (MERGE, CircularMove), (ERROR, AlreadyExists), (RENAME, None)]
)
def test_over_its_own_parent(drive: Drive, on: OnConflict, error: type[Exception] | None) -> None:
    drive.folder("a")
    drive.folder("a/b")
    if error:
        with pytest.raises(error):
            drive.move("a/b", "a", on)
    else:
        drive.move("a/b", "a", on)
        assert drive.names() == ["a", "a (1)"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("old", "new"), [("name", "NAME"), ("caf\u00e9", "cafe\u0301")])
def test_a_rename_of_case_or_normal_form_only(drive: Drive, old: str, new: str, kind: str) -> None:
    make(drive, old, kind)
    drive.mirror()
    moved = drive.move(old, new).entry
    assert moved.name == new and drive.names() == [new]


def test_a_drive_that_ignores_case(drive_with: object) -> None:
    drive: Drive = drive_with(drive_case_sensitive=False)  # type: ignore[operator]
    drive.put("Name")
    found = drive.find("nAME")
    assert found is not None and found.name == "Name"
    assert drive.move("Name", "NAME").entry.name == "NAME"


def test_rename_and_move_keep_the_stamp_or_take_the_next_free_second(drive: Drive) -> None:
    drive.folder("d")
    stamp = {path: stamp_of(drive, drive.put(path, path.encode()).id) for path in ("x", "d/x", "d/y")}
    drive.clock.advance(1000)
    assert stamp["x"] == stamp["d/x"] == stamp["d/y"]
    assert stamp_of(drive, drive.move("d/y", "d/z").entry.id) == stamp["d/y"]
    drive.mirror()
    # "x" comes to where a file of its name and second was; that one goes to another name, then comes back beside it
    away = drive.move("d/x", "d/away").entry
    came = drive.move("x", "d/x").entry
    assert stamp_of(drive, came.id) == stamp["x"]
    drive.move("d/x", "d/x2")
    drive.move("d/away", "d/x")
    assert stamp_of(drive, away.id) == stamp["d/x"]


def stamp_of(drive: Drive, entry_id: int) -> str:
    return str(drive.sql("SELECT nas_stamp FROM entries WHERE id = :id", id=entry_id)[0][0])


def test_locks_die_with_the_move_and_the_target_has_none(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/x")
    token = drive.lock("f/x")
    deep = drive.lock("f", holding(drive.editor, token), deep=False)
    drive.move("f", "g", caller=holding(drive.editor, token, deep))
    assert drive.sql("SELECT 1 FROM dav_locks") == []
    drive.lock("g/x", drive.other)


@pytest.mark.parametrize("face", ["dav", "rest"])
def test_what_is_moved_over_a_locked_file_is_in_its_lock(drive: Drive, face: str) -> None:
    """RFC 4918 §7.5: the lock is the name's, whoever put another file there."""
    drive.put("new", b"new")
    drive.put("doc", b"old")
    token = drive.lock("doc")
    drive.move("new", "doc", OVERWRITE, replace(holding(drive.editor, token), face=face))
    with pytest.raises(Locked):
        drive.put("doc", b"newer", caller=rest(drive.editor))
    drive.put("doc", b"newer", caller=holding(drive.editor, token))
    assert drive.read("doc") == b"newer"


@pytest.mark.parametrize("locked", ["s", "s/x", "t", "from", "to"])
def test_someone_elses_lock_stops_a_move(drive: Drive, locked: str) -> None:
    for path in ("from", "to", "from/s", "to/t"):
        drive.folder(path)
    drive.put("from/s/x")
    path = {"s": "from/s", "s/x": "from/s/x", "t": "to/t"}.get(locked, locked)
    drive.lock(path, drive.other)
    with pytest.raises(Locked) as caught:
        drive.move("from/s", "to/t", OVERWRITE)
    assert caught.value.lock_path == tuple(path.split("/"))
    assert drive.names("from") == ["s"]


def test_who_may(drive: Drive) -> None:
    drive.folder("open")
    drive.folder("closed")
    drive.put("open/x")
    drive.grant("closed", Level.READ, drive.editor)
    for source, target in (("open/x", "closed/x"), ("closed", "renamed")):
        with pytest.raises(Forbidden):
            drive.move(source, target)
    with pytest.raises(Forbidden):
        drive.move("open/x", "y", caller=drive.viewer)
    with pytest.raises(NotFound):
        drive.move("nothing", "y")
    with pytest.raises(ParentNotFound):
        moving.move(drive.kelp, drive.editor, drive.place("open"), Place(12345, "x"))


def test_a_folder_moves_as_one_row(drive: Drive) -> None:
    drive.folder("f")
    for number in range(5):
        drive.put(f"f/{number}")
    before = drive.sql("SELECT id, version FROM entries WHERE kind = 'file' ORDER BY id")
    drive.move("f", "g")
    assert drive.sql("SELECT id, version FROM entries WHERE kind = 'file' ORDER BY id") == before
