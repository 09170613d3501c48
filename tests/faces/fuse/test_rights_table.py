"""Grants in a mount: the answers that WebDAV and REST give to the same questions (`rights_table`)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.rights_door import MountDoor
from tests.faces.fuse.test_names import refused
from tests.faces.rights_table import CASES, Case, Got, Ground, hold_against
from tests.waiting import until
from vfs.model import Entry, Level, Place, Role
from vfs.operations import access, folders, grants, groups, moving, reading, writing
from vfs.people import Grant

_LONGEST = 200.0  # seconds of a test
_ACCOUNTS = {Role.EDITOR: "editor", Role.VIEWER: "viewer", Role.ADMIN: "admin"}


@pytest.fixture(scope="module")
def drives(shared_mount: MountedDrive) -> Iterator[dict[Role, MountedDrive]]:
    """One drive, mounted for each account."""
    drives = {Role.ADMIN: shared_mount}
    with contextlib.ExitStack() as stack:
        for role in (Role.EDITOR, Role.VIEWER):
            drives[role] = shared_mount.beside(role.value, "--user", _ACCOUNTS[role])
            stack.callback(drives[role].end)
            drives[role].start()
        yield drives


@pytest.fixture
def mounts(drives: dict[Role, MountedDrive]) -> dict[Role, Path]:
    for drive in drives.values():
        drive.watch(_LONGEST)
    return {role: drive.path for role, drive in drives.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_operation(shared_mount: MountedDrive, mounts: dict[Role, Path], case: Case) -> None:
    ground = Ground(shared_mount.kelp, _ACCOUNTS[case.role], case, "/".join(shared_mount.above))
    try:
        hold_against(MountDoor(mounts[case.role]), ground)
    finally:
        ground.clear()


# --- while it is mounted ---


class Shared:
    """A folder `outer` with `inner` in it and a file in that, in all mounts; what is done is done by the admin, as on
    another node."""

    def __init__(self, drive: MountedDrive, mounts: dict[Role, Path]) -> None:
        self.kelp, self.admin = drive.kelp, drive.caller()
        self._mounts, self._above, self._name = mounts, drive.above, uuid.uuid4().hex[:8]
        self._granted: set[str] = set()
        self.outer = folders.make_folder(self.kelp, self.admin, Place(drive.top.stat().st_ino, self._name))
        self.inner = self.folder("inner")
        writing.put_file(self.kelp, self.admin, Place(self.inner.id, "file"), [b"x"])
        self.editor = access.find_user(self.kelp, _ACCOUNTS[Role.EDITOR]).uuid
        self.group = groups.add(self.kelp, self._name).uuid

    def folder(self, name: str) -> Entry:
        return folders.make_folder(self.kelp, self.admin, Place(self.outer.id, name))

    def move(self, source: Entry, target: Entry) -> None:
        """The folder `inner`, from one folder to another."""
        moving.move(self.kelp, self.admin, Place(source.id, "inner"), Place(target.id, "inner"))

    def give(self, folder: Entry, level: Level, to: str | None = None) -> Grant:
        """To the user or the group of that id; None: to the editor."""
        self._granted.add(folder.uuid)
        whom = grants.To(to or self.editor, to == self.group)
        return grants.give(self.kelp, self.admin, folder.uuid, whom, level)

    def clear(self) -> None:
        for folder in self._granted:
            for grant in grants.list_on(self.kelp, self.admin, folder):
                grants.take_back(self.kelp, self.admin, folder, grant.uuid)

    def door(self, role: Role) -> MountDoor:
        return MountDoor(self._mounts[role].joinpath(*self._above, self._name))

    def shows(self, path: str, level: Level, role: Role = Role.EDITOR) -> None:
        """Soon the mount answers by that level, though somebody looks all the time and so keeps the kernel's memory."""
        door = self.door(role)
        until(lambda: _level_of(door.mount / path) == level)
        above, _, name = path.rpartition("/")
        listed = door.names(above)
        assert (name in listed) == (level >= Level.READ)
        assert door.read(f"{path}/file") is (Got.DONE if level >= Level.READ else Got.ABSENT)


def _level_of(folder: Path) -> Level:
    """As its mode tells: MANAGE is not seen in a mount."""
    try:
        return Level.WRITE if stat.S_IMODE(folder.stat().st_mode) & 0o222 else Level.READ
    except FileNotFoundError:
        return Level.NONE


@pytest.fixture
def shared(shared_mount: MountedDrive, mounts: dict[Role, Path]) -> Iterator[Shared]:
    shared = Shared(shared_mount, mounts)
    yield shared
    shared.clear()


def test_a_grant_is_given_changed_and_taken_back(shared: Shared) -> None:
    for level in (Level.WRITE, Level.NONE, Level.READ, Level.NONE, Level.WRITE):
        given = shared.give(shared.inner, level).uuid
        shared.shows("inner", level)
    shared.give(shared.outer, Level.READ)
    shared.shows("inner", Level.WRITE)
    grants.take_back(shared.kelp, shared.admin, shared.inner.uuid, given)
    shared.shows("inner", Level.READ)


def test_groups_come_and_go(shared: Shared) -> None:
    shared.give(shared.inner, Level.NONE, to=shared.group)
    shared.shows("inner", Level.WRITE)
    groups.join(shared.kelp, shared.group, shared.editor)
    shared.shows("inner", Level.NONE)
    groups.leave(shared.kelp, shared.group, shared.editor)
    shared.shows("inner", Level.WRITE)
    groups.join(shared.kelp, shared.group, shared.editor)
    shared.shows("inner", Level.NONE)
    groups.remove(shared.kelp, shared.group)
    shared.shows("inner", Level.WRITE)


def test_a_folder_is_moved_to_where_rights_are_others(shared: Shared) -> None:
    shared.shows("inner", Level.WRITE)
    readable, hidden = shared.folder("readable"), shared.folder("hidden")
    shared.give(readable, Level.READ)
    shared.give(hidden, Level.NONE)
    shared.move(shared.outer, readable)
    shared.shows("inner", Level.NONE)
    shared.shows("readable/inner", Level.READ)
    shared.move(readable, hidden)
    shared.shows("readable/inner", Level.NONE)
    shared.move(hidden, shared.outer)
    shared.shows("inner", Level.WRITE)


def test_a_folder_below_one_that_may_not_be_read(shared: Shared) -> None:
    """It is reached by its path, as on the other faces, through a folder that tells nothing else."""
    shared.give(shared.outer, Level.NONE)
    outer = shared.door(Role.EDITOR).mount
    until(lambda: not outer.exists())
    shared.give(shared.inner, Level.READ)
    until(outer.exists)
    assert outer.name not in os.listdir(outer.parent)
    assert (stat.filemode(outer.stat().st_mode), outer.stat().st_mtime_ns) == ("d--x--x--x", 0)
    door = shared.door(Role.EDITOR)
    assert door.names("") is Got.ABSENT
    assert door.names("inner") == ["file"]
    assert door.read("inner/file") is Got.DONE and door.write("inner/file") is Got.REFUSED
    assert not os.path.lexists(outer / "other")
    writing.put_file(shared.kelp, shared.admin, Place(shared.outer.id, "other"), [b"x"])
    assert not os.path.lexists(outer / "other") and door.read("other") is Got.ABSENT
    assert door.create("new") is not Got.DONE and door.make_folder("new") is not Got.DONE
    (given,) = grants.list_on(shared.kelp, shared.admin, shared.inner.uuid)
    grants.take_back(shared.kelp, shared.admin, shared.inner.uuid, given.uuid)
    until(lambda: not outer.exists())


def test_a_folder_that_is_nobodys_is_the_admins(shared: Shared) -> None:
    for role in (Role.EDITOR, Role.VIEWER):
        shared.give(shared.inner, Level.NONE, to=access.find_user(shared.kelp, _ACCOUNTS[role]).uuid)
        shared.shows("inner", Level.NONE, role)
        assert shared.door(role).make_folder("inner") is Got.REFUSED
    shared.shows("inner", Level.WRITE, Role.ADMIN)
    assert shared.door(Role.ADMIN).write("inner/file") is Got.DONE


def test_a_viewer_reads_and_changes_nothing(shared: Shared) -> None:
    folder = shared.door(Role.VIEWER).mount / "inner"
    file = folder / "file"
    assert file.read_bytes() == b"x"
    assert not stat.S_IMODE(file.stat().st_mode) & 0o222
    refused(errno.EACCES, file.write_bytes, b"y")
    refused(errno.EACCES, os.truncate, file, 0)
    refused(errno.EACCES, file.unlink)
    refused(errno.EACCES, file.rename, folder / "other")
    refused(errno.EACCES, (folder / "new").mkdir)
    refused(errno.EACCES, (folder / "new").write_bytes, b"")
    refused(errno.EACCES, os.utime, file, (1, 1))
    refused(errno.EACCES, os.chmod, file, 0o600)
    refused(errno.EACCES, os.symlink, "x", folder / "link")
    assert reading.stat(shared.kelp, shared.admin, file.stat().st_ino).size == 1


def test_what_may_not_be_read_is_not_there(shared: Shared) -> None:
    for name, level in (("hidden", Level.NONE), ("readable", Level.READ)):
        folder = shared.folder(name)
        writing.put_file(shared.kelp, shared.admin, Place(folder.id, "file"), [b"x"])
        shared.give(folder, level)
    outer = shared.door(Role.EDITOR).mount
    assert sorted(os.listdir(outer)) == ["inner", "readable"]
    refused(errno.ENOENT, os.stat, outer / "hidden")
    refused(errno.ENOENT, os.stat, outer / "hidden/file")
    refused(errno.EACCES, (outer / "hidden").mkdir)
    refused(errno.EACCES, (outer / "readable/file").write_bytes, b"y")
    (outer / "inner/file").write_bytes(b"y")
