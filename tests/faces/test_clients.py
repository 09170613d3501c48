"""What people do with real clients: rclone, cadaver, a davfs2 mount, curl; each ends with a drive in order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs import mirror
from tests.faces.clients import Cadaver, Curl, Login, Rclone, davfs_mount, needs
from tests.faces.conftest import ServedDrive
from tests.faces.trees import assert_same, nas_tree_of, tree_of
from tests.server_process import PROGRAM
from vfs.operations import backlog, checking

MIB = 1024 * 1024


def login_of(drive: ServedDrive) -> Login:
    return Login(drive.url, drive.user, drive.password)


@pytest.fixture
def drive(served_drive: ServedDrive) -> Iterator[ServedDrive]:
    """A drive that is sound when the client has done its work, also after the mirror's."""
    yield served_drive
    carry_to_nas(served_drive)
    assert checking.check(served_drive.kelp).problems == []


def carry_to_nas(drive: ServedDrive) -> None:
    """All but litter; what has to wait for another entry gets its turn."""
    while backlog.wait_until_mirrored(drive.kelp, timeout=0) is backlog.Waited.TIMED_OUT:
        mirror.drain(drive.kelp, "test")
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to copy: folders, an empty one too, odd names, old times."""
    root = tmp_path / "folder"
    for name, content in {
        "plain.txt": b"plain\n",
        "empty": b"",
        "deep/er/deepest.bin": os.urandom(3 * MIB + 17),
        "with space & more/100% #1?.txt": b"odd\n",
        "é ü 漢字 😀/naïve;.txt": "naïve\n".encode(),
        "plus+sign/a+b=c.txt": b"+",
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for number, file in enumerate(sorted(file for file in root.rglob("*") if file.is_file())):
        os.utime(file, (1_500_000_000 + number, 1_500_000_000 + number))
    return root


@needs("rclone")
class TestRclone:
    def test_copy_twice_keeps_times_and_sends_nothing_again(
        self, drive: ServedDrive, folder: Path, tmp_path: Path
    ) -> None:
        rclone = Rclone(login_of(drive))
        rclone("copy", str(folder), ":webdav:there")
        again = rclone("copy", "-v", "--stats-one-line", str(folder), ":webdav:there")
        assert "There was nothing to transfer" in again.stderr and "Copied" not in again.stderr
        assert "0 differences found" in rclone("check", str(folder), ":webdav:there").stderr
        rclone("copy", ":webdav:there", str(tmp_path / "back"))
        assert_same(tree_of(tmp_path / "back"), tree_of(folder))
        for file in folder.rglob("*"):
            if file.is_file():
                assert int((tmp_path / "back" / file.relative_to(folder)).stat().st_mtime) == int(file.stat().st_mtime)

    def test_check_tells_same_size_and_other_bytes(self, drive: ServedDrive, folder: Path) -> None:
        """By oc:checksums; rclone asks an ownCloud for MD5, others for SHA-1. Without them it compares sizes only."""
        rclone = Rclone(login_of(drive))
        rclone("copy", str(folder), ":webdav:there")
        (folder / "plain.txt").write_bytes(b"PLAIN\n")
        for vendor in ("owncloud", "nextcloud"):
            checking = Rclone(login_of(drive), vendor=vendor)
            differing = checking("check", str(folder), ":webdav:there", ok=False)
            assert differing.returncode == 1 and "1 differences found" in differing.stderr
            assert "could not be checked" not in differing.stderr

    def test_sync_removes_what_is_gone_and_sends_what_changed(self, drive: ServedDrive, folder: Path) -> None:
        rclone = Rclone(login_of(drive))
        rclone("sync", str(folder), ":webdav:there")
        shutil.rmtree(folder / "deep")
        (folder / "plain.txt").write_bytes(b"changed\n")
        (folder / "new").write_bytes(b"new\n")
        rclone("sync", "--create-empty-src-dirs", str(folder), ":webdav:there")
        assert "0 differences found" in rclone("check", str(folder), ":webdav:there").stderr
        assert Curl(login_of(drive)).status("there/deep", "-I") == 404
        carry_to_nas(drive)
        assert_same(nas_tree_of(drive.nas / "there"), tree_of(folder))

    def test_move_rename_and_delete_of_folders(self, drive: ServedDrive, folder: Path) -> None:
        rclone = Rclone(login_of(drive))
        expected = tree_of(folder)
        rclone("move", str(folder), ":webdav:in", "--delete-empty-src-dirs")
        assert tree_of(folder) == {}
        rclone("moveto", ":webdav:in", ":webdav:else where/out")
        rclone("copyto", ":webdav:else where/out/plain.txt", ":webdav:copy é.txt")
        carry_to_nas(drive)
        assert_same(nas_tree_of(drive.nas / "else where" / "out"), expected)
        rclone("purge", ":webdav:else where/out")
        rclone("deletefile", ":webdav:copy é.txt")
        rclone("mkdir", ":webdav:a/b/c")
        rclone("rmdirs", ":webdav:a")
        assert rclone("lsf", "-R", ":webdav:").stdout == "else where/\n"

    def test_without_vendor(self, drive: ServedDrive, folder: Path) -> None:
        """Vendor `other`: no times, no checksums; sizes only."""
        rclone = Rclone(login_of(drive), vendor="other")
        rclone("copy", str(folder), ":webdav:there")
        assert "0 differences found" in rclone("check", "--download", str(folder), ":webdav:there").stderr

    def test_space(self, drive: ServedDrive) -> None:
        assert "Free:" in Rclone(login_of(drive))("about", ":webdav:").stdout


@needs("cadaver")
class TestCadaver:
    @pytest.fixture
    def cadaver(self, drive: ServedDrive, tmp_path: Path) -> Callable[..., str]:
        (tmp_path / "a.txt").write_bytes(b"first\n")
        return Cadaver(login_of(drive), tmp_path / "home")

    def test_put_get_copy_move_delete(self, cadaver: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "back").mkdir()
        printed = cadaver(
            *("mkcol docs", "cd docs", f"put {tmp_path}/a.txt", "copy a.txt b.txt", "move b.txt c.txt"),
            *("cd ..", "copy docs more", "move more moved", f"lcd {tmp_path}/back", "get moved/c.txt c.txt"),
            *("delete docs/a.txt", "rmcol docs", "ls", "ls moved"),
        )
        assert "failed" not in printed, printed
        assert (tmp_path / "back" / "c.txt").read_bytes() == b"first\n"
        listing = printed[printed.index("Listing collection `/dav/'") :]
        assert "Coll:   moved" in listing and "docs" not in listing.partition("ls moved")[0]
        assert "a.txt" in listing and "c.txt" in listing

    def test_lock_keeps_others_out_until_unlock(
        self, drive: ServedDrive, cadaver: Callable[..., str], tmp_path: Path
    ) -> None:
        other = Curl(Login(drive.url, "other", drive.password))
        assert "failed" not in cadaver(f"put {tmp_path}/a.txt", "lock a.txt", "showlocks", "discover a.txt")
        assert other.status("a.txt", "-T", str(tmp_path / "a.txt")) == 423
        assert other.status("a.txt") == 200
        printed = cadaver("discover a.txt", "steal a.txt", f"put {tmp_path}/a.txt a.txt", "unlock a.txt")
        assert "failed" not in printed, printed
        assert other.status("a.txt", "-T", str(tmp_path / "a.txt")) == 204

    def test_properties(self, cadaver: Callable[..., str], tmp_path: Path) -> None:
        printed = cadaver(
            *(f"put {tmp_path}/a.txt", "propset a.txt colour red", "propget a.txt colour", "propnames a.txt"),
            *("move a.txt b.txt", "propget b.txt colour", "propdel b.txt colour", "propget b.txt colour"),
        )
        assert printed.count("Value of colour is: red") == 2, printed
        assert printed.count("colour") > 4

    def test_edit(self, drive: ServedDrive, cadaver: Callable[..., str], tmp_path: Path) -> None:
        """LOCK, GET, an editor, PUT, UNLOCK."""
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\necho second >> "$1"\ntouch -d "next minute" "$1"\n')  # cadaver looks at seconds
        editor.chmod(0o755)
        assert "failed" not in cadaver(f"put {tmp_path}/a.txt")
        printed = cadaver("edit a.txt", editor=str(editor))
        assert "failed" not in printed, printed
        curl = Curl(login_of(drive))
        assert curl("a.txt").stdout == "first\nsecond\n"
        assert curl.status("a.txt", "-T", str(tmp_path / "a.txt")) == 204  # no lock is left


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


@needs("curl")
class TestCurl:
    def test_resumed_download(self, drive: ServedDrive, tmp_path: Path) -> None:
        content = os.urandom(5 * MIB)
        (tmp_path / "whole").write_bytes(content)
        curl = Curl(login_of(drive))
        assert curl.status("f", "-T", str(tmp_path / "whole")) == 201
        (tmp_path / "part").write_bytes(content[:1_234_567])
        curl("f", "-C", "-", "-o", str(tmp_path / "part"))
        assert (tmp_path / "part").read_bytes() == content
        ranged = curl("f", "-r", "1000-1999", "-o", str(tmp_path / "range"), "-w", "%{http_code} %{size_download}")
        assert ranged.stdout == "206 1000"
        assert (tmp_path / "range").read_bytes() == content[1000:2000]

    @pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunked"])
    def test_upload_that_asks_first(self, drive: ServedDrive, tmp_path: Path, framing: list[str]) -> None:
        """curl waits a second for `100 Continue` before it sends anyway: the answer must come at once."""
        content = os.urandom(MIB) * 50
        (tmp_path / "big").write_bytes(content)
        sent = Curl(login_of(drive))("f", "-v", "-H", "Expect: 100-continue", *framing, "-T", str(tmp_path / "big"))
        assert "< HTTP/1.1 100 Continue" in sent.stderr and "< HTTP/1.1 201" in sent.stderr
        assert "Done waiting for 100-continue" not in sent.stderr
        got = Curl(login_of(drive))("f", "-o", str(tmp_path / "back"), "-w", "%{http_code}")
        assert got.stdout == "200" and (tmp_path / "back").read_bytes() == content

    def test_upload_refused_before_its_body_is_sent(self, drive: ServedDrive, tmp_path: Path) -> None:
        (tmp_path / "big").write_bytes(bytes(50 * MIB))
        curl = Curl(login_of(drive))
        asking = ("-H", "Expect: 100-continue", "-T", str(tmp_path / "big"))
        answered = curl("no/such/folder/f", *asking, "-w", "\n%{http_code} %{size_upload}")
        assert answered.stdout.splitlines()[-1] == "409 0", answered.stdout

    def test_over_tls(self, served_with: Callable[..., ServedDrive], tmp_path: Path) -> None:
        tls = tmp_path / "tls"
        command = [sys.executable, str(PROGRAM), "tls", "self-signed", "--host", "localhost", "--out", str(tls)]
        subprocess.run(command, check=True, capture_output=True)
        cert, key = tls / "kelp.crt", tls / "kelp.key"
        drive = served_with(server_tls_cert=str(cert), server_tls_key=str(key))
        login = Login(f"https://localhost:{drive.port}/dav/", drive.user, drive.password)
        trusting, wary = Curl(login, "--cacert", str(cert)), Curl(login)
        (tmp_path / "f").write_bytes(os.urandom(3 * MIB))
        assert trusting.status("f", "-T", str(tmp_path / "f")) == 201
        trusting("f", "-o", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "f").read_bytes()
        assert wary("f", ok=False).returncode == 60  # the certificate is not trusted
        assert Curl(login, "--cacert", str(cert), "--tls-max", "1.1")("f", ok=False).returncode == 35
        assert checking.check(drive.kelp).problems == []
