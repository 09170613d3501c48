"""A vault on the mount: names by inode, its border as that of another disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.rooms.vault.drive import make_vault
from vfs.operations import server_keys


def test_work_in_a_vault_and_across_its_border(mounted_with: Callable[..., MountedDrive]) -> None:
    drive = mounted_with("-o", "xattr")
    server_keys.init(drive.kelp, bits=3072)
    make_vault(drive.kelp, "vault")
    vault, plain = drive.path / "vault", drive.path / "plain"
    deep = vault / "a" / "ü" / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"sealed")
    (deep / "file").rename(vault / "file.txt")
    os.symlink("file.txt", vault / "link")
    plain.write_bytes(b"plain")
    assert sorted(os.listdir(vault)) == ["a", "file.txt", "link"]
    assert (vault / "link").read_bytes() == b"sealed" and os.readlink(vault / "link") == "file.txt"
    out = drive.path / "out"
    for source, target in ((plain, vault / "in"), (vault / "file.txt", out), (vault / "a", out)):
        with pytest.raises(OSError) as told:
            source.rename(target)
        assert told.value.errno == errno.EXDEV
    shutil.move(plain, vault / "moved")  # as programs do between two disks
    assert (vault / "moved").read_bytes() == b"plain" and not plain.exists()
    shutil.copytree(vault / "a", vault / "b")
    assert (vault / "b" / "ü" / "c").is_dir()
    assert [os.getxattr(path, "user.kelp.vault") for path in (vault, deep)] == [b"root", b"inside"]
    with pytest.raises(OSError) as told:
        os.getxattr(drive.path, "user.kelp.vault")
    assert told.value.errno == errno.ENODATA
    os.setxattr(deep, "user.a", b"one")
    assert os.getxattr(deep, "user.a") == b"one" and os.listxattr(deep) == ["user.a"]
    vault.rename(drive.path / "renamed")
    assert (drive.path / "renamed" / "file.txt").read_bytes() == b"sealed"
