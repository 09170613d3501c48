"""Names on a mounted drive: look, list, make, remove, rename."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from tests.nasty_names import NASTY_NAMES
from vfs.errors import InvalidName
from vfs.model import ROOT_ID, Kind, Place
from vfs.names import check_segment
from vfs.operations import folders, guard, reading, sealing, trashing, writing

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2  # linux/fs.h
_AT_FDCWD = -100


def rename(source: Path, target: Path, flags: int) -> None:
    """renameat2(2), which Python lacks."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def refused(number: int, action: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(OSError) as caught:
        action(*arguments)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]


def add_rows(drive: MountedDrive, folder_id: int, count: int, what: str = "folder") -> None:
    """Empty folders, in one transaction: PostgreSQL plans for the few rows that it knew of before, so many are slow."""
    caller = drive.caller()
    with drive.kelp.database.write() as tx:
        now, here = drive.kelp.clock.now_ns(), guard.stand(drive.kelp, tx, caller, Place(folder_id, what))
        for number in range(count):
            name = f"{what} {number:05}"
            key = sealing.key_in(drive.kelp, tx, folder_id, name)
            folders.insert(drive.kelp, tx, caller, replace(here, name=name, key=key), now)


def test_a_root_that_is_empty_and_a_file_that_travels_to_the_nas(mounted_with: Callable[..., MountedDrive]) -> None:
    mounted = mounted_with(mirror_delay=0, in_vault=False)
    info = mounted.path.stat()
    assert stat.S_ISDIR(info.st_mode)
    assert info.st_ino == ROOT_ID
    assert os.listdir(mounted.path) == []
    (mounted.path / "a").write_bytes(b"hi\n")
    assert (mounted.path / "a").read_bytes() == b"hi\n"
    until = time.monotonic() + 60
    while not (found := [file.read_bytes() for file in mounted.nas.glob("*__a")]) or found == [b""]:
        assert time.monotonic() < until  # it may be there as it was made, empty
        time.sleep(0.05)
    assert found == [b"hi\n"]
    mounted.unmount()


def test_what_is_made_is_found_by_all_its_calls(place: Path) -> None:
    (place / "folder").mkdir()
    (place / "folder/file").write_bytes(b"12345")
    assert stat.S_ISDIR((place / "folder").stat().st_mode)
    info = (place / "folder/file").stat()
    assert (stat.S_ISREG(info.st_mode), info.st_size, info.st_nlink) == (True, 5, 1)
    [entry] = os.scandir(place / "folder")
    assert (entry.name, entry.inode(), entry.is_file()) == ("file", info.st_ino, True)
    with open(place / "folder/file", "rb") as file:
        assert os.fstat(file.fileno()) == info


def test_what_is_not_there_is_not_there(place: Path) -> None:
    refused(errno.ENOENT, os.stat, place / "absent")
    refused(errno.ENOENT, os.unlink, place / "absent")
    refused(errno.ENOENT, os.rename, place / "absent", place / "other")
    refused(errno.ENOENT, os.stat, place / "absent/below")
    (place / "absent").write_bytes(b"")
    assert (place / "absent").exists()  # that it was not is not remembered


def test_names_that_the_drive_refuses(place: Path) -> None:
    for name, number in ((b"not \xff UTF-8", errno.EILSEQ), (b"a\nb", errno.EINVAL), (b"n" * 256, errno.ENAMETOOLONG)):
        whole = os.fsencode(place) + b"/" + name
        refused(number, os.mkdir, whole)
        refused(number, os.open, whole, os.O_CREAT | os.O_WRONLY)
        refused(errno.ENAMETOOLONG if len(name) > 255 else errno.ENOENT, os.stat, whole)
    assert os.listdir(place) == []


def test_nasty_names_come_back_as_they_were(place: Path) -> None:
    kept = []
    for name in NASTY_NAMES:
        try:
            check_segment(name)
        except InvalidName:
            continue
        (place / name).write_bytes(name.encode())
        kept.append(name)
    assert sorted(os.listdir(place)) == sorted(set(kept))
    assert all((place / name).read_bytes() == name.encode() for name in kept)


def test_one_name_in_two_forms_of_unicode_is_one_file(place: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    (place / composed).write_bytes(b"1")
    assert (place / apart).read_bytes() == b"1"
    assert os.listdir(place) == [composed]
    (place / apart).unlink()
    refused(errno.ENOENT, os.stat, place / composed)
    refused(errno.ENOENT, os.stat, place / apart)


def test_thousands_of_names_come_once_each(shared_mount: MountedDrive, place: Path) -> None:
    count = 10_000 if "KELP_FUSE_STEPS" in os.environ else 2_000
    add_rows(shared_mount, place.stat().st_ino, count)
    listed = os.listdir(place)
    assert len(listed) == len(set(listed)) == count
    done = subprocess.run(["ls", "-l", place], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == count + 1


def test_a_listing_goes_on_while_names_come_and_go(shared_mount: MountedDrive, place: Path) -> None:
    add_rows(shared_mount, place.stat().st_ino, 900)
    seen = []
    with os.scandir(place) as entries:
        for entry in entries:
            seen.append(entry.name)
            if len(seen) in (100, 300, 500, 700):
                os.rmdir(place / entry.name)
                os.rename(place / seen[-5], place / f"again {seen[-5]}")
                os.mkdir(place / f"new {len(seen)}")
    stayed = {f"folder {number:05}" for number in range(900)}
    assert len(seen) == len(set(seen))
    assert stayed <= {name.removeprefix("again ") for name in seen}
    gone = [name for name in seen if not (place / name).exists()]
    assert len(gone) == 8  # removed, or called otherwise by now


def test_a_folder_is_removed_only_empty(place: Path) -> None:
    (place / "folder").mkdir()
    (place / "folder/file").write_bytes(b"x")
    refused(errno.ENOTEMPTY, os.rmdir, place / "folder")
    refused(errno.ENOTDIR, os.rmdir, place / "folder/file")
    refused(errno.EISDIR, os.unlink, place / "folder")
    (place / "folder/file").unlink()
    (place / "folder").rmdir()
    assert os.listdir(place) == []


def test_what_stays_in_the_trash_was_removed(shared_mount: MountedDrive, place: Path) -> None:
    kelp, caller = shared_mount.kelp, shared_mount.caller()
    old = writing.put_file(kelp, caller, Place(place.stat().st_ino, "old"), [b"x"]).entry
    with kelp.database.write() as tx:  # what is younger than a minute would not be kept
        tx.entries.update(old.id, registered_ns=1)
    (place / "old").unlink()
    refused(errno.ENOENT, os.stat, place / "old")
    path = "/".join(("", *shared_mount.above, place.name, "old"))
    assert path in [item.original_path for item in trashing.list_trash(kelp, caller)]


def test_rename_replaces_what_is_alike(place: Path) -> None:
    (place / "a").write_bytes(b"new")
    (place / "b").write_bytes(b"old")
    inode = (place / "a").stat().st_ino
    os.rename(place / "a", place / "b")
    assert ((place / "b").read_bytes(), (place / "b").stat().st_ino) == (b"new", inode)
    assert os.listdir(place) == ["b"]
    for name in ("empty", "full", "full/inner"):
        (place / name).mkdir()
    os.rename(place / "full", place / "empty")
    assert os.listdir(place / "empty") == ["inner"]
    (place / "other").mkdir()
    refused(errno.ENOTEMPTY, os.rename, place / "other", place / "empty")
    refused(errno.EISDIR, os.rename, place / "b", place / "other")
    refused(errno.ENOTDIR, os.rename, place / "other", place / "b")
    refused(errno.EINVAL, os.rename, place / "empty", place / "empty/inner/deeper")
    os.rename(place / "b", place / "b")
    os.rename(place / "b", place / "other/b")
    assert (place / "other/b").read_bytes() == b"new"


def test_rename_with_flags(place: Path) -> None:
    (place / "a").write_bytes(b"a")
    (place / "b").write_bytes(b"b")
    refused(errno.EEXIST, rename, place / "a", place / "b", _RENAME_NOREPLACE)
    refused(errno.EINVAL, rename, place / "a", place / "b", _RENAME_EXCHANGE)
    assert ((place / "a").read_bytes(), (place / "b").read_bytes()) == (b"a", b"b")
    rename(place / "a", place / "c", _RENAME_NOREPLACE)
    assert sorted(os.listdir(place)) == ["b", "c"]


def test_no_links_and_no_devices(place: Path) -> None:
    (place / "file").write_bytes(b"")
    refused(errno.EPERM, os.link, place / "file", place / "link")
    refused(errno.EPERM, os.mkfifo, place / "pipe")
    os.mknod(place / "plain", 0o640 | stat.S_IFREG)
    assert (place / "plain").stat().st_size == 0


def test_o_excl_is_refused_for_what_is_there(place: Path) -> None:
    (place / "there").write_bytes(b"x")
    refused(errno.EEXIST, os.open, place / "there", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused(errno.EISDIR, os.open, place, os.O_WRONLY)
    refused(errno.ENOTDIR, os.open, place / "there", os.O_DIRECTORY)


def test_an_open_file_outlives_its_name(place: Path) -> None:
    with open(place / "file", "w+b") as file:
        file.write(b"before")
        file.flush()
        (place / "file").unlink()
        assert os.listdir(place) == []
        info = os.fstat(file.fileno())
        assert (info.st_nlink, info.st_size) == (0, 6)
        file.write(b" and after")
        file.seek(0)
        assert file.read() == b"before and after"
    (place / "file").mkdir()  # the name is free


def test_an_editors_save(place: Path) -> None:
    """Write beside, keep the old one as a backup, move the new one over the name: vim, and many others."""
    (place / "text").write_bytes(b"one")
    for number in range(3):
        (place / "4913").write_bytes(b"")
        (place / "4913").unlink()
        os.rename(place / "text", place / "text~")
        (place / "text").write_bytes(b"version %d" % number)
        (place / "text~").unlink()
        (place / ".text.new").write_bytes(b"then %d" % number)
        os.rename(place / ".text.new", place / "text")
    assert os.listdir(place) == ["text"]
    assert (place / "text").read_bytes() == b"then 2"


def test_df_shows_what_the_drive_has(shared_mount: MountedDrive, place: Path) -> None:
    usage = reading.usage(shared_mount.kelp)
    shown = os.statvfs(place)
    assert abs(shown.f_bavail * shown.f_frsize - usage.free) < 256 * 1024 * 1024
    assert shown.f_namemax == 255
    (place / "big").write_bytes(bytes(1024 * 1024))
    after = os.statvfs(place)
    used = (after.f_blocks - after.f_bfree) * after.f_frsize
    assert used >= 1024 * 1024


def test_what_other_faces_made_is_there(shared_mount: MountedDrive, place: Path) -> None:
    kelp, caller = shared_mount.kelp, shared_mount.caller()
    folder = folders.make_folder(kelp, caller, Place(place.stat().st_ino, "theirs"))
    writing.put_file(kelp, caller, Place(folder.id, "file"), [b"hello"])
    assert (place / "theirs/file").read_bytes() == b"hello"
    assert (place / "theirs").stat().st_ino == folder.id
    found = reading.resolve(kelp, caller, [*shared_mount.above, place.name, "theirs", "file"]).entry
    assert found is not None
    assert (found.kind, found.id) == (Kind.FILE, (place / "theirs/file").stat().st_ino)


def test_the_time_of_a_folder(place: Path) -> None:
    (place / "d").mkdir()
    (place / "file").write_bytes(b"x")

    def changed(change: Callable[[], object]) -> bool:
        os.utime(place, ns=(10**18, 10**18))
        assert place.stat().st_mtime_ns == 10**18
        change()
        return place.stat().st_mtime_ns != 10**18

    assert changed(lambda: (place / "new").write_bytes(b"x"))
    assert changed(lambda: os.rename(place / "new", place / "other"))
    assert changed(lambda: os.unlink(place / "other"))
    assert changed(lambda: os.mkdir(place / "d2"))
    assert changed(lambda: os.rmdir(place / "d2"))
    assert changed(lambda: os.symlink("x", place / "link"))
    assert changed(lambda: os.rename(place / "file", place / "d/file"))
    assert not changed(lambda: (place / "d/file").write_bytes(b"other"))
    assert not changed(lambda: (place / "d/more").write_bytes(b"more"))
    assert not changed(lambda: os.chmod(place / "d", 0o700))
    before = time.time_ns()
    (place / "last").touch()
    assert abs(place.stat().st_mtime_ns - before) < 600 * 10**9
