"""davfs2: a mount, the saves of editors, space, a big file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces.clients import Curl, davfs_mount, needs
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.conftest import MIB, carry_to_nas, login_of


@needs("davfs2")
class TestDavfs:
    @pytest.fixture
    def mount(self, drive: ServedDrive) -> Iterator[Path]:
        with davfs_mount(login_of(drive)) as point:
            yield point

    def test_files_and_folders(self, drive: ServedDrive, mount: Path) -> None:
        (mount / "a").mkdir()
        (mount / "a" / "one.txt").write_bytes(b"one\n")
        with (mount / "a" / "one.txt").open("ab") as file:
            file.write(b"more\n")
        (mount / "a" / "one.txt").rename(mount / "a" / "zwei é;+?.txt")
        (mount / "a").rename(mount / "b")
        (mount / "b" / "gone").mkdir()
        (mount / "b" / "gone").rmdir()
        (mount / "b" / "removed").write_bytes(b"x")
        (mount / "b" / "removed").unlink()
        assert sorted(os.listdir(mount / "b")) == ["zwei é;+?.txt"]
        curl = Curl(login_of(drive))
        assert curl("b/zwei é;+?.txt").stdout == "one\nmore\n"
        assert curl.status("a", "-I") == 404
        assert curl.status("b/zwei é;+?.txt", "-T", os.devnull) == 204  # the locks of its edits are released

    def test_space(self, mount: Path) -> None:
        shown = os.statvfs(mount)
        assert 0 < shown.f_bavail <= shown.f_blocks

    def test_save_of_an_editor(self, drive: ServedDrive, mount: Path) -> None:
        """As vim saves: swap file, probe, the old file becomes a backup, the new one is written, the backup goes."""
        file, backup, swap, probe = (mount / name for name in ("t.txt", "t.txt~", ".t.txt.swp", "4913"))
        file.write_bytes(b"version 0\n")
        for number in range(1, 4):
            swap.write_bytes(b"swap" * 1000)
            probe.touch()
            probe.unlink()
            file.rename(backup)
            file.write_bytes(b"version %d\n" % number)
            backup.unlink()
            swap.unlink()
        assert set(os.listdir(mount)) == {"t.txt", "lost+found"}
        assert Curl(login_of(drive))("t.txt").stdout == "version 3\n"

    def test_executable(self, drive: ServedDrive) -> None:
        """It is a property on the drive, and comes back with the next mount."""
        with davfs_mount(login_of(drive)) as mount:
            (mount / "run").write_text("#!/bin/sh\n")
            (mount / "run").chmod(0o755)
        with davfs_mount(login_of(drive)) as mount:
            assert (mount / "run").stat().st_mode & 0o111

    def test_big_file(self, drive: ServedDrive) -> None:
        content = os.urandom(MIB) * 20
        with davfs_mount(login_of(drive)) as mount:
            (mount / "big").write_bytes(content)
        carry_to_nas(drive)
        assert [file.read_bytes() == content for file in drive.nas.glob("*__big")] == [True]
