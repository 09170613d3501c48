"""Copy: new rows share contents; nothing is lost by what gives way."""

from __future__ import annotations

import inspect
import sys

import pytest

from tests.rooms.core.drive import Drive, rest
from vfs.errors import AlreadyExists, CircularMove, NotFound, ParentNotFound, WrongKind
from vfs.model import Level, OnConflict, Place
from vfs.operations import copying, folders, properties, reading

FACES = pytest.mark.parametrize("on_rest", [False, True], ids=["dav", "rest"])


def test_a_copy_shares_the_content_and_is_another_file(drive: Drive) -> None:
    source = drive.put("a.txt", b"text", mtime_ns=1_500_000_000_000_000_000)
    drive.clock.advance(5)
    copied = drive.copy("a.txt", "b.txt").entry
    assert (copied.content_id, copied.size) == (source.content_id, source.size)
    assert copied.uuid != source.uuid and copied.id != source.id
    assert (copied.mtime_ns, copied.shown_mtime) == (source.mtime_ns, source.shown_mtime)
    drive.put("a.txt", b"changed")
    assert drive.read("b.txt") == b"text"


def test_a_copy_takes_a_new_stamp(drive: Drive) -> None:
    drive.put("a.txt")
    drive.clock.advance(100)
    drive.copy("a.txt", "b.txt")
    stamps = dict(drive.sql("SELECT name, nas_stamp FROM entries WHERE kind = 'file'"))
    assert stamps["b.txt"] > stamps["a.txt"]


def test_a_folder_is_copied_with_properties_or_alone(drive: Drive) -> None:
    drive.folder("f")
    drive.folder("f/g")
    drive.put("f/g/x", b"x")
    properties.patch(drive.kelp, drive.editor, drive.entry("f/g").id, [("{n}p", "<p/>")])
    drive.copy("f", "deep")
    drive.copy("f", "shallow", deep=False)
    assert drive.read("deep/g/x") == b"x"
    assert reading.properties_of(drive.kelp, drive.editor, drive.entry("deep/g").id) == {"{n}p": "<p/>"}
    assert drive.names("shallow") == []


@FACES
def test_copy_over_a_file_keeps_its_row_and_makes_a_version(drive: Drive, on_rest: bool) -> None:
    caller = rest(drive.editor) if on_rest else drive.editor
    drive.put("a", b"new")
    taken = drive.put("b", b"old")
    drive.clock.advance(6)
    outcome = drive.copy("a", "b", OnConflict.OVERWRITE, caller)
    assert outcome.replaced and (outcome.entry.id, outcome.entry.uuid) == (taken.id, taken.uuid)
    assert drive.read("b") == b"new" and drive.versions("b") == [b"old"]


@FACES
@pytest.mark.parametrize("source_is_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("target_is_folder", [False, True], ids=["over file", "over folder"])
def test_what_gives_way_to_another_kind_can_be_restored(
    drive: Drive, on_rest: bool, source_is_folder: bool, target_is_folder: bool
) -> None:
    if not (source_is_folder or target_is_folder):
        return  # a copy over a file: the test above
    for name, is_folder in (("s", source_is_folder), ("t", target_is_folder)):
        drive.folder(name) if is_folder else drive.put(name, name.encode())
    drive.clock.advance(100)
    drive.copy("s", "t", OnConflict.OVERWRITE, rest(drive.editor) if on_rest else drive.editor)
    assert drive.entry("t").is_folder == source_is_folder
    assert drive.trashed() == ["/t"]


@pytest.mark.parametrize(
    ("on", "error"),
    [(OnConflict.ERROR, AlreadyExists), (OnConflict.OVERWRITE, CircularMove), (OnConflict.MERGE, WrongKind)],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_onto_itself(drive: Drive, on: OnConflict, error: type[Exception], is_folder: bool) -> None:
    drive.folder("a") if is_folder else drive.put("a")
    with pytest.raises(error):
        drive.copy("a", "a", on)
    assert drive.names() == ["a"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_beside_itself_under_a_numbered_name(drive: Drive, is_folder: bool) -> None:
    drive.folder("a") if is_folder else drive.put("a")
    drive.copy("a", "a", OnConflict.RENAME)
    assert drive.names() == ["a", "a (1)"]


def test_never_into_itself(drive: Drive) -> None:
    drive.folder("a")
    drive.folder("a/b")
    for target in ("a/c", "a/b/c", "a/b"):
        for on in (OnConflict.ERROR, OnConflict.OVERWRITE, OnConflict.RENAME):
            with pytest.raises(CircularMove):
                drive.copy("a", target, on)


def test_skip_changes_nothing(drive: Drive) -> None:
    drive.put("a", b"a")
    drive.put("b", b"b")
    assert drive.copy("a", "b", OnConflict.SKIP).skipped
    assert drive.read("b") == b"b"


def test_unreadable_folders_are_left_out_and_unreadable_sources_absent(drive: Drive) -> None:
    for path in ("f", "f/open", "f/secret", "f/secret/mine"):
        drive.folder(path)
    drive.put("f/secret/x")
    drive.grant("f/secret", Level.NONE, drive.editor)
    drive.copy("f", "g")
    assert drive.names("g") == ["open"]
    with pytest.raises(NotFound):
        drive.copy("f/secret", "mine")
    with pytest.raises(ParentNotFound):
        drive.copy("f/secret/x", "x")


def test_missing_source_and_parent(drive: Drive) -> None:
    drive.put("a")
    with pytest.raises(NotFound):
        drive.copy("nothing", "b")
    with pytest.raises(ParentNotFound):
        copying.copy(drive.kelp, drive.editor, drive.place("a"), Place(999, "b"))


def test_a_time_of_the_client_is_shown_exactly_even_over_a_file(drive: Drive) -> None:
    drive.put("a", b"a")
    drive.put("b", b"b")
    copied = drive.copy("a", "b", OnConflict.OVERWRITE, mtime_ns=1_000_000_000_000_000_000).entry
    assert copied.shown_mtime == 1_000_000_000


def test_a_tree_may_be_deeper_than_python_recurses(drive: Drive) -> None:
    depth, parent = 50, drive.root_id
    for _ in range(depth):
        parent = folders.make_folder(drive.kelp, drive.editor, Place(parent, "d")).id
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + depth - 5)
    try:
        drive.copy("d", "e")
    finally:
        sys.setrecursionlimit(usual)
    assert drive.find("/".join(["e"] + ["d"] * (depth - 1))) is not None
