"""A vault on the mount: names by inode, its border as that of another disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.leaks import leaked
from tests.vaults import make_vault
from tests.waiting import until
from vfs.model import Entry, Row
from vfs.operations import reading

_SECRET = "geheimnis ü.txt"


def test_work_in_a_vault_and_across_its_border(mounted_with: Callable[..., MountedDrive]) -> None:
    drive = mounted_with("-o", "xattr", in_vault=False)
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


def test_many_small_files_one_after_the_other(mounted_with: Callable[..., MountedDrive]) -> None:
    """What a mount does to be quick with them: rows that come with the bytes, attributes too, looks ahead."""
    mounted = mounted_with(in_vault=False)  # it makes its own
    root = make_vault(mounted.kelp, "vault")
    vault = mounted.path / "vault"
    bodies = {f"{number} {_SECRET}": os.urandom(size) for number, size in enumerate((0, 1, 4096, 70_000, 300_000) * 6)}
    for number, (name, data) in enumerate(bodies.items()):
        fd = os.open(vault / name, os.O_WRONLY | os.O_CREAT, 0o640)
        os.write(fd, data)
        if number % 2:  # as tar does
            os.fchmod(fd, 0o600)
            os.utime(fd, ns=(5, 1_000_000_007))
        os.close(fd)
    mounted.kill()
    mounted.start()
    for _ in range(2):
        for number, (name, data) in enumerate(bodies.items()):
            assert (vault / name).read_bytes() == data
            found = (vault / name).stat()
            assert (found.st_size, stat.S_IMODE(found.st_mode)) == (len(data), 0o600 if number % 2 else 0o640)
            assert (found.st_mtime_ns == 1_000_000_007) == bool(number % 2)
    fd = os.open(vault / f"open {_SECRET}", os.O_WRONLY | os.O_CREAT, 0o640)
    until(lambda: f"open {_SECRET}" in [row.name for row in _rows(mounted, root)])
    os.close(fd)
    rows = {row.name: row for row in _rows(mounted, root)}
    assert {name: rows[name].size for name in bodies} == {name: len(data) for name, data in bodies.items()}
    assert all(row.vault_id == root.vault_id for row in rows.values())
    assert leaked(mounted.kelp, [_SECRET]) == []


def _rows(drive: MountedDrive, folder: Entry) -> list[Row]:
    return list(reading.list_folder(drive.kelp, drive.caller(), folder.id))
