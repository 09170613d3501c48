"""Whose rights a mount has: the account's by the core, beside mode and owner by the kernel."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.test_names import refused
from tests.waiting import until
from vfs.model import Place, Role
from vfs.operations import access, writing


def test_an_account_that_is_removed_or_changed_is_so_in_the_mount(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("--user", "editor")
    (mounted.top / "file").write_bytes(b"x")
    user = access.find_user(mounted.kelp, "editor")
    access.change_user(mounted.kelp, user.uuid, role=Role.VIEWER)
    until(lambda: not stat.S_IMODE((mounted.top / "file").stat().st_mode) & 0o222)
    refused(errno.EACCES, (mounted.top / "file").write_bytes, b"y")
    access.remove_user(mounted.kelp, "editor")

    def is_shut() -> bool:
        try:
            os.stat(mounted.top / "file")
        except OSError as error:
            return error.errno == errno.EACCES
        return False

    until(is_shut)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
def test_mode_and_owner_hold_for_other_users_of_the_machine(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with("-o", "allow_other,uid=1234,gid=1234,umask=027")
    writing.put_file(mounted.kelp, mounted.caller(), Place(mounted.top.stat().st_ino, "file"), [b"x"])
    info = (mounted.top / "file").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 1234, 0o640)
    for parent in [mounted.path, *mounted.path.parents]:
        if parent.stat().st_uid == 0 and parent != mounted.path and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    assert as_user(1234, mounted.top / "file") == 0
    assert as_user(4321, mounted.top / "file") == errno.EACCES


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
