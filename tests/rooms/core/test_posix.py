"""What a mounted file system asks the core for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import Forbidden, InvalidName, InvalidRequest, Locked, NameTooLong, NotFound
from vfs.model import Caller, Content, Entry, Kind, Level
from vfs.operations import access, drafting, grants, posix, properties, reading
from vfs.operations.posix import Node


def test_by_name_and_by_inode(drive: Drive) -> None:
    folder = drive.folder("Zoë")
    file = drive.put("Zoë/Ä.txt", b"12345", mtime_ns=1_600_000_000_123_456_789)
    found = posix.child(drive.kelp, drive.editor, drive.root_id, "Zoe\u0308")  # another normal form is the same name
    assert found is not None
    assert (found.id, found.parent_id, found.name, found.kind, found.size) == (folder.id, 1, "Zoë", Kind.FOLDER, 0)
    shown = posix.child(drive.kelp, drive.editor, folder.id, "Ä.txt")
    assert shown == posix.node(drive.kelp, drive.editor, file.id)
    assert shown is not None
    assert (shown.size, shown.mtime_ns, shown.version) == (5, 1_600_000_000_123_456_789, file.version)
    assert (shown.mode, shown.uid, shown.gid, shown.content_id) == (None, None, None, file.content_id)
    root = posix.node(drive.kelp, drive.viewer, drive.root_id)
    assert (root.is_root, root.parent_id, root.is_folder, root.level) == (True, None, True, Level.READ)


def test_what_is_not_there(drive: Drive) -> None:
    folder = drive.folder("f")
    file = drive.put("f/a")
    drive.put("b")
    assert posix.child(drive.kelp, drive.editor, drive.root_id, "other") is None
    assert posix.child(drive.kelp, drive.editor, file.id, "a") is None
    assert posix.child(drive.kelp, drive.editor, 1 << 40, "a") is None
    for id in (0, -1, 1 << 40):
        with pytest.raises(NotFound):
            posix.node(drive.kelp, drive.editor, id)
    drive.remove("f")
    assert posix.child(drive.kelp, drive.editor, drive.root_id, "f") is None
    assert posix.child(drive.kelp, drive.editor, folder.id, "a") is None  # below what is in the trash
    for id in (folder.id, file.id):
        with pytest.raises(NotFound):
            posix.node(drive.kelp, drive.editor, id)
    with pytest.raises(NotFound):
        posix.pages(drive.kelp, drive.editor, folder.id, 0, 10)


def test_names_that_nothing_can_have(drive: Drive) -> None:
    for name in ("", ".", "..", "a/b", "a\0b", "\ud800"):
        with pytest.raises(InvalidName):
            posix.child(drive.kelp, drive.editor, drive.root_id, name)
    with pytest.raises(NameTooLong):
        posix.child(drive.kelp, drive.editor, drive.root_id, "x" * 256)


def test_pages_are_stable_whatever_comes_and_goes(drive: Drive) -> None:
    for number in range(10):
        drive.put(f"n{number}")
    first = posix.pages(drive.kelp, drive.editor, drive.root_id, 0, 4)
    drive.move("n0", "zz")  # was shown: not again
    drive.move("n9", "aa")  # is still to come
    drive.remove("n5")
    drive.put("new")
    names, after = [each.name for each in first], first[-1].id
    while page := posix.pages(drive.kelp, drive.editor, drive.root_id, after, 4):
        names += [each.name for each in page]
        after = page[-1].id
    assert names == ["n0", "n1", "n2", "n3", "n4", "n6", "n7", "n8", "aa", "new"]


def _grant(drive: Drive, path: str, caller: Caller, level: Level) -> None:
    with drive.kelp.database.write() as tx:
        tx.grants.put(drive.entry(path).id if path else drive.root_id, caller.user_id, None, level, 1)


def test_rights_are_those_of_other_faces(drive: Drive) -> None:
    for path in ("open", "shut", "shut/door", "read"):
        drive.folder(path)
        drive.put(f"{path}/file")
    _grant(drive, "shut", drive.editor, Level.NONE)
    _grant(drive, "shut/door", drive.editor, Level.WRITE)
    _grant(drive, "read", drive.editor, Level.READ)
    listed = {each.name: each.level for each in posix.pages(drive.kelp, drive.editor, drive.root_id, 0, 2)}
    listed |= {
        each.name: each.level
        for each in posix.pages(drive.kelp, drive.editor, drive.root_id, drive.entry("shut").id, 2)
    }
    assert listed == {"open": Level.WRITE, "read": Level.READ}
    way = posix.child(drive.kelp, drive.editor, drive.root_id, "shut")  # to what he may read below it
    assert way is not None and way.level == Level.NONE
    assert posix.child(drive.kelp, drive.editor, drive.entry("shut").id, "file") is None
    inner = posix.child(drive.kelp, drive.editor, drive.entry("shut/door").id, "file")
    assert inner is not None
    assert inner.level == Level.WRITE
    assert posix.node(drive.kelp, drive.editor, drive.entry("read/file").id).level == Level.READ
    assert posix.node(drive.kelp, drive.other, drive.entry("shut/file").id).level == Level.WRITE
    assert posix.node(drive.kelp, drive.viewer, drive.entry("open/file").id).level == Level.READ
    assert posix.node(drive.kelp, drive.admin, drive.entry("shut/file").id).level == Level.MANAGE
    reader = replace(drive.admin, most=Level.READ)  # a token for less
    assert posix.node(drive.kelp, reader, drive.entry("shut/file").id).level == Level.READ


def test_a_root_that_the_caller_may_not_read_shows_what_he_may(drive: Drive) -> None:
    for path in ("a", "mine", "z"):
        drive.folder(path)
    _grant(drive, "", drive.editor, Level.NONE)
    _grant(drive, "mine", drive.editor, Level.READ)
    assert posix.node(drive.kelp, drive.editor, drive.root_id).level == Level.NONE
    assert [each.name for each in posix.pages(drive.kelp, drive.editor, drive.root_id, 0, 1)] == ["mine"]
    assert posix.pages(drive.kelp, drive.editor, drive.root_id, drive.entry("mine").id, 1) == []


def test_case_counts_unless_the_drive_ignores_it(drive_with: Callable[..., Drive]) -> None:
    for minds, drive in ((True, drive_with()), (False, drive_with(drive_case_sensitive=False))):
        drive.put("a")
        assert (posix.child(drive.kelp, drive.editor, drive.root_id, "A") is None) == minds


def test_attributes(drive: Drive) -> None:
    file = drive.put("a", b"12345", mtime_ns=2_000_000_000_000_000_000)
    before = drive.kelp.database.version()
    node = posix.set_attributes(drive.kelp, drive.editor, file.id, mode=0o4750, uid=1234, gid=0)
    assert drive.kelp.database.version() != before
    assert (node.mode, node.uid, node.gid, node.mtime_ns) == (0o4750, 1234, 0, file.mtime_ns)
    assert node.content_id == file.content_id
    assert node.version == file.version + 1
    assert node == posix.node(drive.kelp, drive.editor, file.id)
    assert drive.entry("a").shown_mtime == file.shown_mtime
    node = posix.set_attributes(drive.kelp, drive.editor, file.id, mtime_ns=1_500_000_000_123_456_789)
    assert (node.mode, node.uid, node.gid, node.mtime_ns) == (0o4750, 1234, 0, 1_500_000_000_123_456_789)
    assert drive.entry("a").shown_mtime == 1_500_000_000  # other faces
    drive.mirror()
    (copy,) = [path for path in drive.nas.iterdir() if path.name.endswith("a") and path.is_file()]
    assert copy.stat().st_mtime_ns == 1_500_000_000_123_456_789
    written = drive.put("a", b"other")  # the bytes are others, the mode stays
    assert posix.node(drive.kelp, drive.editor, written.id).mode == 0o4750
    drive.move("a", "b")
    assert posix.node(drive.kelp, drive.editor, written.id).uid == 1234


def test_attributes_of_folders(drive: Drive) -> None:
    folder = drive.folder("f")
    node = posix.set_attributes(drive.kelp, drive.editor, folder.id, mode=0o700, mtime_ns=-1)
    assert (node.mode, node.mtime_ns, node.is_folder) == (0o700, -1, True)
    assert posix.set_attributes(drive.kelp, drive.editor, drive.root_id, gid=7).gid == 7


def test_attributes_that_are_refused(drive: Drive) -> None:
    file = drive.put("f")
    for wrong in ({"mode": 0o10000}, {"mode": -1}, {"uid": 1 << 32}, {"gid": -1}, {"mtime_ns": 1 << 63}):
        with pytest.raises(InvalidRequest):
            posix.set_attributes(drive.kelp, drive.editor, file.id, **wrong)
    with pytest.raises(Forbidden):
        posix.set_attributes(drive.kelp, drive.viewer, file.id, mode=0)
    with pytest.raises(NotFound):
        posix.set_attributes(drive.kelp, drive.editor, 1 << 40, mode=0)
    drive.lock("f", drive.other)
    with pytest.raises(Locked):
        posix.set_attributes(drive.kelp, drive.editor, file.id, mode=0)
    assert posix.node(drive.kelp, drive.editor, file.id).mode is None


def test_the_time_of_a_folder_is_when_a_name_in_it_changed(drive: Drive) -> None:
    def time_of(path: str) -> int:
        return posix.node(drive.kelp, drive.editor, drive.entry(path).id if path else drive.root_id).mtime_ns

    long_ago = drive.folder("f", mtime_ns=10**18)
    drive.folder("g", mtime_ns=10**18)
    drive.folder("f/inner", mtime_ns=10**18)
    assert time_of("f/inner") == 10**18

    def changes(change: Callable[[], object], *folders: str) -> None:
        """These folders, and no others."""
        for path in ("f", "g", "f/inner"):
            properties.patch(drive.kelp, drive.editor, drive.entry(path).id, [], mtime_ns=10**18)
            assert time_of(path) == 10**18
        change()
        assert {path for path in ("f", "g", "f/inner") if drive.find(path) and time_of(path) != 10**18} == set(folders)

    changes(lambda: drive.put("f/a"), "f")
    changes(lambda: drive.put("f/a", b"other bytes"))
    changes(lambda: drive.put("f/inner/b"), "f/inner")
    changes(lambda: drive.move("f/a", "f/c"), "f")
    changes(lambda: drive.move("f/c", "g/c"), "f", "g")
    changes(lambda: drive.copy("g/c", "f/c"), "f")
    changes(lambda: posix.set_attributes(drive.kelp, drive.editor, drive.entry("f/c").id, mode=0o600, mtime_ns=1))
    changes(lambda: posix.set_attributes(drive.kelp, drive.editor, drive.entry("g").id, mode=0o700))
    changes(lambda: drive.remove("g/c"), "g")
    changes(lambda: drive.move("f/inner", "g/inner"), "f", "g")
    listed = posix.pages(drive.kelp, drive.editor, drive.root_id, 0, 10)
    assert {node.name: node.mtime_ns for node in listed} == {"f": time_of("f"), "g": time_of("g")}
    assert reading.stat(drive.kelp, drive.editor, long_ago.id).mtime_ns == 10**18  # on other faces it is its own


def test_a_folder_that_only_leads_to_one_that_may_be_read(drive: Drive) -> None:
    outer, middle = drive.folder("outer", mtime_ns=1), drive.folder("outer/middle", mtime_ns=1)
    inner = drive.folder("outer/middle/inner")
    drive.folder("outer/beside")
    for path in ("outer/file", "outer/middle/inner/file"):
        drive.put(path)
    whom = grants.To(access.find_user(drive.kelp, "editor").uuid, is_group=False)
    grants.give(drive.kelp, drive.admin, outer.uuid, whom, Level.NONE)
    for folder in (outer, middle, inner):
        with pytest.raises(NotFound):
            posix.node(drive.kelp, drive.editor, folder.id)
    grants.give(drive.kelp, drive.admin, inner.uuid, whom, Level.WRITE)
    for folder in (outer, middle):
        found = posix.node(drive.kelp, drive.editor, folder.id)
        assert (found.level, found.mtime_ns, found.created_ns, found.mode) == (Level.NONE, 0, 0, None)
        with pytest.raises(NotFound):
            posix.pages(drive.kelp, drive.editor, folder.id, 0, 10)
    assert [node.name for node in posix.pages(drive.kelp, drive.editor, drive.root_id, 0, 10)] == []
    shown = posix.child(drive.kelp, drive.editor, middle.id, "inner")
    assert shown is not None and shown.level == Level.WRITE
    for name in ("file", "beside"):
        assert posix.child(drive.kelp, drive.editor, outer.id, name) is None
    assert [node.name for node in posix.pages(drive.kelp, drive.editor, inner.id, 0, 10)] == ["file"]
    with pytest.raises(NotFound):
        posix.set_attributes(drive.kelp, drive.editor, middle.id, mode=0o700)
    drive.remove("outer/middle/inner", drive.admin)
    assert posix.child(drive.kelp, drive.editor, outer.id, "middle") is None


def test_files_that_were_looked_up_ahead_are_as_they_are(drive: Drive) -> None:
    folder = drive.folder("a").id
    drive.folder("a/folder")
    for number in range(5):
        drive.put(f"a/f{number}", b"x" * number)
    looked = [posix.child(drive.kelp, drive.editor, folder, f"f{n}", ahead=lambda _: 3) for n in range(5)]
    assert looked == [posix.node(drive.kelp, drive.editor, drive.entry(f"a/f{n}").id) for n in range(5)]
    drive.put("a/f3", b"other")
    drive.remove("a/f4")
    changed = posix.child(drive.kelp, drive.editor, folder, "f3", ahead=lambda _: 3)
    assert changed is not None and changed.size == 5
    assert posix.child(drive.kelp, drive.editor, folder, "f4", ahead=lambda _: 3) is None


def test_files_that_are_opened_one_after_the_other_are_as_they_are(drive: Drive) -> None:
    folder, others = drive.folder("a").id, drive.folder("b").id
    for number, size in enumerate((0, 5, 70_000, 9 << 20, 6)):
        drive.put(f"a/f{number}", b"x" * size)
        drive.folder(f"a/folder {number}")
    ids = [drive.entry(f"a/f{number}").id for number in range(5)]

    def opened() -> list[tuple[Entry, Content, Node]]:
        found = []
        for id in ids:
            drafting.foresee(drive.kelp, drive.editor, folder, id, lambda: 3)
            with (one := drafting.open_file(drive.kelp, drive.editor, id, write=False)).hold:
                found.append((one.entry, one.content, posix.node(drive.kelp, drive.editor, id)))
        return found

    def alone() -> list[tuple[Entry, Content, Node]]:
        found = []
        for id in ids:
            drive.put("b/other", b"")  # nothing is remembered beyond it
            with (one := drafting.open_file(drive.kelp, drive.editor, id, write=False)).hold:
                found.append((one.entry, one.content, posix.node(drive.kelp, drive.editor, id)))
        return found

    assert opened() == alone()
    drive.put("a/f2", b"other")
    drive.remove("a/f4")
    del ids[4]
    again = opened()
    assert again == alone()
    assert again[2][0].size == 5
    with pytest.raises(NotFound):
        drafting.foresee(drive.kelp, drive.editor, folder, drive.folder("gone").id + 1000, lambda: 3)
    drafting.foresee(drive.kelp, drive.editor, others, ids[0], lambda: 3)  # it is in another folder by now
    assert drafting.open_file(drive.kelp, drive.editor, ids[0], write=False).entry.id == ids[0]
