"""Symbolic links: as on a local disk for programs, files for everybody else."""

from __future__ import annotations

import errno
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.faces.fuse.test_real_work import needs, run
from tests.waiting import until
from vfs import links
from vfs.model import Place
from vfs.operations import linking, reading, writing


def refused(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as told:
        call()
    return told.value.errno


def shown(drive: MountedDrive, path: Path) -> tuple[str, bytes]:
    """Media type and bytes, as another face shows them."""
    caller = drive.caller()
    entry = reading.resolve(drive.kelp, caller, path.relative_to(drive.path).parts).entry
    assert entry is not None
    return entry.mime_type, b"".join(reading.open_content(drive.kelp, caller, entry).chunks())


def test_make_look_follow_and_remove(place: Path, shared_mount: MountedDrive) -> None:
    (place / "d").mkdir()
    (place / "d/file").write_bytes(b"there")
    for name, target in (
        ("relative", "d/file"),
        ("up", f"../{place.name}/d/file"),
        ("absolute", str(place / "d/file")),
    ):
        os.symlink(target, place / name)
        info = os.lstat(place / name)
        assert os.readlink(place / name) == target and (place / name).read_bytes() == b"there"
        assert (oct(info.st_mode), info.st_size, info.st_nlink) == ("0o120777", len(target), 1)
        assert shown(shared_mount, place / name) == ("inode/symlink", links.packed(target.encode()))
    os.symlink("d", place / "folder")
    (place / "folder/new").write_bytes(b"x")
    assert sorted(os.listdir(place / "d")) == sorted(os.listdir(place / "folder")) == ["file", "new"]
    (place / "relative").write_bytes(b"written through it")
    assert (place / "d/file").read_bytes() == b"written through it"
    assert {entry.name: entry.is_symlink() for entry in os.scandir(place)}["up"]
    assert refused(lambda: os.open(place / "up", os.O_RDONLY | os.O_NOFOLLOW)) == errno.ELOOP
    os.unlink(place / "folder")
    assert refused(lambda: os.rmdir(place / "up")) == errno.ENOTDIR
    os.unlink(place / "up")
    assert not os.path.lexists(place / "up") and (place / "d/file").exists()


def test_links_that_lead_nowhere_or_in_circles(place: Path) -> None:
    os.symlink("nothing", place / "dangling")
    assert os.path.lexists(place / "dangling") and not (place / "dangling").exists()
    assert refused((place / "dangling").read_bytes) == errno.ENOENT
    (place / "dangling").write_bytes(b"made through it")
    assert (place / "nothing").read_bytes() == b"made through it"
    os.symlink("b", place / "a")
    os.symlink("a", place / "b")
    assert refused((place / "a").read_bytes) == errno.ELOOP
    assert refused(lambda: os.symlink("x", place / "a")) == errno.EEXIST
    assert refused(lambda: os.mkdir(place / "a")) == errno.EEXIST
    assert refused(lambda: os.readlink(place / "nothing")) == errno.EINVAL
    assert refused(lambda: os.symlink("x", place / "no folder/a")) == errno.ENOENT
    assert refused(lambda: os.open(place / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)) == errno.EEXIST


def test_any_target_of_1024_bytes(place: Path) -> None:
    for name, target in (("bytes", b"\xff\xfe\n "), ("long", b"x/" * 511 + b"xx")):
        os.symlink(target, os.fsencode(place / name))
        assert os.readlink(os.fsencode(place / name)) == target
        assert os.lstat(place / name).st_size == len(target)
    assert refused(lambda: os.symlink("x" * 1025, place / "too long")) == errno.ENAMETOOLONG


def test_rename_times_and_owner(place: Path) -> None:
    os.symlink("target", place / "a.txt")
    number = os.lstat(place / "a.txt").st_ino
    os.rename(place / "a.txt", place / "b.png")
    (place / "file").write_bytes(b"gives way")
    os.rename(place / "b.png", place / "file")
    assert os.readlink(place / "file") == "target" and os.lstat(place / "file").st_ino == number
    os.utime(place / "file", ns=(10**18, 10**18 + 7), follow_symlinks=False)
    os.chown(place / "file", 12, 34, follow_symlinks=False)
    info = os.lstat(place / "file")
    assert (info.st_mtime_ns, info.st_uid, info.st_gid) == (10**18 + 7, 12, 34)
    (place / "other").write_bytes(b"a file again")
    os.rename(place / "other", place / "file")
    assert not (place / "file").is_symlink() and (place / "file").read_bytes() == b"a file again"


def test_other_faces_make_and_replace_links(place: Path, shared_mount: MountedDrive) -> None:
    path, folder = place / "a", place.stat().st_ino
    linking.make_link(shared_mount.kelp, shared_mount.caller(), Place(folder, "a"), b"one")
    until(lambda: os.path.islink(path) and os.readlink(path) == "one")
    writing.put_file(shared_mount.kelp, shared_mount.caller(), Place(folder, "a"), [b"a file"])
    until(lambda: not os.path.islink(path) and path.read_bytes() == b"a file")
    two = links.packed(b"two two")
    writing.put_file(shared_mount.kelp, shared_mount.caller(), Place(folder, "a"), [two], mime_type=links.TYPE)
    until(lambda: os.path.islink(path) and os.readlink(path) == "two two" and os.lstat(path).st_size == 7)
    false = b"x" * links.SIZE
    writing.put_file(shared_mount.kelp, shared_mount.caller(), Place(folder, "b"), [false], mime_type=links.TYPE)
    until(lambda: (place / "b").exists())
    assert (place / "b").read_bytes() == false


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "d/file").write_bytes(b"some")
    for name, target in (("file link", "d/file"), ("d/up", ".."), ("dangling", "nowhere"), ("absolute", "/etc/passwd")):
        os.symlink(target, root / name)
        os.utime(root / name, ns=(10**18, 10**18), follow_symlinks=False)
    return root


def walked(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        kind = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (info.st_mode, kind, info.st_mtime_ns // 10**9)
    return found


def test_tar(place: Path, tree: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tree.tar", "w") as archive:
        archive.add(tree, "tree")
    run("tar", "xf", tmp_path / "tree.tar", cwd=place)
    assert walked(place / "tree") == walked(tree)


def test_cp(place: Path, tree: Path) -> None:
    run("cp", "-a", tree, place / "tree")
    run("cp", "-a", place / "tree", place / "again")
    assert walked(place / "again") == walked(place / "tree") == walked(tree)


@needs("rsync")
def test_rsync(place: Path, tree: Path) -> None:
    run("rsync", "-a", f"{tree}/", place / "tree")
    assert walked(place / "tree") == walked(tree)
    assert run("rsync", "-ai", f"{tree}/", place / "tree") == ""
    os.unlink(tree / "dangling")
    os.symlink("elsewhere", tree / "dangling")
    run("rsync", "-a", "--delete", f"{tree}/", place / "tree")
    assert os.readlink(place / "tree/dangling") == "elsewhere"


@needs("git")
def test_git(place: Path, tree: Path) -> None:
    run("git", "init", "-q", "-b", "main", tree)
    run("git", "add", ".", cwd=tree)
    run("git", "commit", "-qm", "links", cwd=tree)
    run("git", "clone", "-q", "--no-hardlinks", tree, place / "clone")
    assert os.readlink(place / "clone/file link") == "d/file"
    assert run("git", "status", "--porcelain", cwd=place / "clone") == ""
    os.unlink(place / "clone/dangling")
    os.symlink("other", place / "clone/dangling")
    assert run("git", "status", "--porcelain", cwd=place / "clone").strip() == "M dangling"


def test_what_is_at_a_link_is_not_lost_by_rm(place: Path, tree: Path) -> None:
    run("cp", "-a", tree, place / "tree")
    os.symlink(str(place / "tree"), place / "to tree")
    assert subprocess.run(["rm", "-rf", place / "to tree"], check=False).returncode == 0
    assert (place / "tree/d/file").read_bytes() == b"some"
