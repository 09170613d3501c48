"""Whose rights a mount has: the account's by the core, beside mode and owner by the kernel."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.test_names import refused
from vfs.model import ROOT_ID, Level, Place, Role
from vfs.operations import access, folders, grants, reading, writing
from vfs.operations.grants import To


def within(seconds: float, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def put(drive: MountedDrive, folder_id: int, name: str, body: bytes) -> None:
    writing.put_file(drive.kelp, drive.caller(), Place(folder_id, name), [body])


def test_a_viewer_reads_and_changes_nothing(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("--user", "viewer")
    folder = folders.make_folder(mounted.kelp, mounted.caller(), Place(ROOT_ID, "folder"))
    put(mounted, folder.id, "file", b"x")
    file = mounted.path / "folder/file"
    assert file.read_bytes() == b"x"
    assert not stat.S_IMODE(file.stat().st_mode) & 0o222
    refused(errno.EACCES, file.write_bytes, b"y")
    refused(errno.EACCES, os.truncate, file, 0)
    refused(errno.EACCES, file.unlink)
    refused(errno.EACCES, file.rename, mounted.path / "other")
    refused(errno.EACCES, (mounted.path / "new").mkdir)
    refused(errno.EACCES, (mounted.path / "new").write_bytes, b"")
    refused(errno.EACCES, os.utime, file, (1, 1))
    refused(errno.EACCES, os.chmod, file, 0o600)
    assert reading.resolve(mounted.kelp, mounted.caller(), ["folder", "file"]).entry is not None


def test_what_may_not_be_read_is_not_there(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("--user", "editor")
    kelp, admin = mounted.kelp, mounted.caller()
    for name in ("hidden", "readable", "open"):
        folder = folders.make_folder(kelp, admin, Place(ROOT_ID, name))
        put(mounted, folder.id, "file", b"x")
        if name != "open":
            level = Level.NONE if name == "hidden" else Level.READ
            grants.give(kelp, admin, folder.uuid, To(access.find_user(kelp, "editor").uuid, is_group=False), level)
    assert sorted(os.listdir(mounted.path)) == ["open", "readable"]
    refused(errno.ENOENT, os.stat, mounted.path / "hidden")
    refused(errno.ENOENT, os.stat, mounted.path / "hidden/file")
    refused(errno.EACCES, (mounted.path / "hidden").mkdir)
    refused(errno.EACCES, (mounted.path / "readable/file").write_bytes, b"y")
    (mounted.path / "open/file").write_bytes(b"y")


def test_an_account_that_is_removed_or_changed_is_so_in_the_mount(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("--user", "editor")
    (mounted.path / "file").write_bytes(b"x")
    user = access.find_user(mounted.kelp, "editor")
    access.change_user(mounted.kelp, user.uuid, role=Role.VIEWER)
    within(30, lambda: not stat.S_IMODE((mounted.path / "file").stat().st_mode) & 0o222)
    refused(errno.EACCES, (mounted.path / "file").write_bytes, b"y")
    access.remove_user(mounted.kelp, "editor")

    def is_shut() -> bool:
        try:
            os.stat(mounted.path / "file")
        except OSError as error:
            return error.errno == errno.EACCES
        return False

    within(30, is_shut)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
def test_mode_and_owner_hold_for_other_users_of_the_machine(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("-o", "allow_other,uid=1234,gid=1234,umask=027")
    put(mounted, ROOT_ID, "file", b"x")
    info = (mounted.path / "file").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 1234, 0o640)
    for parent in [mounted.path, *mounted.path.parents]:
        if parent.stat().st_uid == 0 and parent != mounted.path and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    assert as_user(1234, mounted.path / "file") == 0
    assert as_user(4321, mounted.path / "file") == errno.EACCES


def as_user(uid: int, file: Path) -> int:
    """The errno of opening the file for reading and writing, as that user; 0: it could be."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.close(os.open(file, os.O_RDWR))
            code = 0
        except OSError as error:
            code = error.errno or 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
