"""Extended attributes through the kernel, where the mount has them (`-o xattr`)."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

import pytest

from tests.faces.fuse.conftest import MountedDrive
from vfs.model import Place, Scope
from vfs.operations import extended_attributes, locking


def refused(number: int, call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(OSError) as told:
        call(*arguments)
    assert told.value.errno == number, told.value


def test_set_get_list_and_remove(mounted_with: Callable[..., MountedDrive]) -> None:
    drive = mounted_with("-o", "xattr", mirror_delay=0)
    for name in ("a", "d"):
        path = drive.top / name
        path.write_bytes(b"x") if name == "a" else path.mkdir()
        refused(errno.ENOTSUP, os.listxattr, path)
        refused(errno.ENODATA, os.getxattr, path, "user.a")
        os.setxattr(path, "user.a", b"one")
        refused(errno.EEXIST, os.setxattr, path, "user.a", b"x", os.XATTR_CREATE)
        refused(errno.ENODATA, os.setxattr, path, "user.b", b"x", os.XATTR_REPLACE)
        os.setxattr(path, "user.a", b"\0\xfftwo", os.XATTR_REPLACE)
        os.setxattr(path, "user.name of ü:$", bytes(65536), os.XATTR_CREATE)
        assert os.getxattr(path, "user.a") == b"\0\xfftwo"
        assert os.getxattr(path, "user.name of ü:$") == bytes(65536)
        assert sorted(os.listxattr(path)) == ["user.a", "user.name of ü:$"]
        entry_id = path.stat().st_ino
        assert extended_attributes.attributes(drive.kelp, drive.caller(), entry_id)["a"] == b"\0\xfftwo"
        os.removexattr(path, "user.a")
        refused(errno.ENODATA, os.removexattr, path, "user.a")
        for other in ("security.other", "trusted.a"):
            refused(errno.ENOTSUP, os.setxattr, path, other, b"x")
            refused(errno.ENOTSUP, os.getxattr, path, other)
        refused(errno.ENOTSUP, os.getxattr, path, "system.posix_acl_access")
    refused(errno.E2BIG, os.setxattr, drive.top / "a", "user.b", bytes(65537))
    for number in range(16):  # in XML bytes are a third more
        try:
            os.setxattr(drive.top / "a", f"user.n{number}", os.urandom(65536))
        except OSError as error:
            assert error.errno == errno.ENOSPC and number > 8
            break
    else:
        raise AssertionError("an entry takes any number of them")
    assert (drive.top / "a").read_bytes() == b"x"
    _how_far_it_is(drive)
    _locked(drive)


def _how_far_it_is(drive: MountedDrive) -> None:
    path = drive.top / "far"
    path.write_bytes(b"x")
    assert os.getxattr(path, "user.kelp.sync") in (b"pending", b"synced")
    until = time.monotonic() + 60
    while os.getxattr(path, "user.kelp.sync") != b"synced":
        assert time.monotonic() < until
        time.sleep(0.1)
    refused(errno.EPERM, os.setxattr, path, "user.kelp.sync", b"x")
    refused(errno.EPERM, os.removexattr, path, "user.kelp.sync")


def _locked(drive: MountedDrive) -> None:
    (drive.top / "locked").write_bytes(b"x")
    place = Place(drive.top.stat().st_ino, "locked")
    editor = drive.caller("editor")
    locking.lock(drive.kelp, editor, place, scope=Scope.EXCLUSIVE, infinite=False, owner="", timeout=60)
    refused(errno.EBUSY, os.setxattr, drive.top / "locked", "user.a", b"x")


def test_a_viewer_may_look(mounted_with: Callable[..., MountedDrive]) -> None:
    drive = mounted_with("-o", "xattr", "--user", "viewer")
    extended_attributes.put(drive.kelp, drive.caller(), drive.top.stat().st_ino, "a", b"x")
    assert os.getxattr(drive.top, "user.a") == b"x"
    refused(errno.EACCES, os.setxattr, drive.top, "user.a", b"y")
