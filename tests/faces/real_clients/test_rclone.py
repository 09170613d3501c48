"""rclone: copy, sync, check with checksums and times, move, space."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faces.clients import Curl, Rclone, needs
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.conftest import carry_to_nas, login_of
from tests.faces.trees import assert_same, nas_tree_of, tree_of


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
            inspecting = Rclone(login_of(drive), vendor=vendor)
            differing = inspecting("check", str(folder), ":webdav:there", ok=False)
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
