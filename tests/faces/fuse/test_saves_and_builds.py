"""How editors save, and what compilers, make and rsync rely on: times, links, and names that are swapped."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import vaults
from tests.faces.fuse.conftest import MountedDrive
from vfs.operations import reading

_MAIN = '#include "greet.h"\nint main(void) { return greet("drive"); }\n'
_GREET = (
    '#include <stdio.h>\n#include "greet.h"\nint greet(const char *who) { return printf("hello %s\\n", who) < 0; }\n'
)
_HEADER = "int greet(const char *who);\n"
_MAKEFILE = """\
hello: main.o greet.o
\tcc -o $@ $^
%.o: %.c greet.h
\tcc -c -o $@ $<
"""


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {missing}")


@needs("make", "cc")
def test_a_c_project_is_built_once(place: Path) -> None:
    for name, text in (("main.c", _MAIN), ("greet.c", _GREET), ("greet.h", _HEADER), ("Makefile", _MAKEFILE)):
        (place / name).write_text(text)
    assert run("make", cwd=place).count("cc ") == 3
    assert run("./hello", cwd=place) == "hello drive\n"
    assert "up to date" in run("make", cwd=place)
    time.sleep(0.01)
    (place / "main.c").touch()
    assert run("make", cwd=place).count("cc ") == 2
    run("make", "-B", "-j4", cwd=place)
    assert "up to date" in run("make", cwd=place)


@needs("vim")
@pytest.mark.parametrize("copies", ["yes", "no", "auto"])
def test_vim(place: Path, copies: str) -> None:
    """`backupcopy`: the old file is copied and written over, or renamed and written anew."""
    (place / "notes").write_text("one\n" * 5000)
    (place / "notes").chmod(0o640)
    for number in range(3):
        command = f"set backup writebackup backupskip= backupcopy={copies} fsync | %s/^.*$/save {number}/ | wq"
        run("vim", "-es", "-u", "NONE", "-i", "NONE", "-c", command, "notes", cwd=place)
        assert (place / "notes").read_text() == f"save {number}\n" * 5000
    assert (place / "notes~").read_text() == "save 1\n" * 5000
    assert stat.S_IMODE((place / "notes").stat().st_mode) == 0o640
    assert sorted(os.listdir(place)) == ["notes", "notes~"]


def test_libreoffice_saves(place: Path) -> None:
    """Its calls: a lock file, a temporary one that is written in places, synced and renamed, and its rights."""
    document, lock, new = place / "letter.odt", place / ".~lock.letter.odt#", place / "lu8291x4.tmp"
    document.write_bytes(b"old" * 10_000)
    document.chmod(0o664)
    body = os.urandom(300_000)
    os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
    lock.write_text(",anna,machine,21.11.2026 20:00,file:///home/anna;")
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.pwrite(fd, body[100_000:], 100_000)
    os.pwrite(fd, body[:100_000], 0)
    os.ftruncate(fd, len(body))
    os.fchmod(fd, stat.S_IMODE(document.stat().st_mode))
    os.fsync(fd)
    reader = os.open(document, os.O_RDONLY)
    os.rename(new, document)
    os.close(fd)
    os.unlink(lock)
    assert os.read(reader, 6) == b"oldold"
    os.close(reader)
    assert document.read_bytes() == body
    assert (stat.S_IMODE(document.stat().st_mode), os.listdir(place)) == (0o664, ["letter.odt"])


@needs("rsync")
def test_rsync_of_everything_has_nothing_to_do_the_second_time(place: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder" / "below").mkdir(parents=True)
    (source / "folder/below/file").write_bytes(b"x" * 100_000)
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o750)
    (source / "link").symlink_to("folder/below/file")
    for path in (source / "run", source / "folder"):
        os.utime(path, ns=(10**18, 10**18 + 123_456_789))
    assert run("rsync", "-a", "--itemize-changes", f"{source}/", place / "copy", cwd=place) != ""
    assert run("rsync", "-a", "--itemize-changes", f"{source}/", place / "copy", cwd=place) == ""
    back = tmp_path / "back"
    run("rsync", "-a", f"{place}/copy/", back, cwd=tmp_path)
    assert run("rsync", "-anc", "--delete", "--itemize-changes", f"{source}/", back, cwd=tmp_path) == ""


def mirrored(drive: MountedDrive, below: str) -> Iterator[bytes]:
    """What files there have on the NAS, as far as it is there."""
    if not drive.in_vault:
        yield from (path.read_bytes() for path in (drive.nas / below).rglob("*") if path.is_file())
        return
    with contextlib.suppress(AssertionError, OSError):  # it is being written
        found = vaults.on_nas(drive.nas).items()
        yield from (data for path, data in found if data is not None and path.startswith(f"{below}/"))


@needs("git")
def test_the_nas_and_other_faces_have_what_git_made(place: Path, shared_mount: MountedDrive) -> None:
    kelp, caller = shared_mount.kelp, shared_mount.caller()
    clone = place / "clone"
    run("git", "init", "-q", clone, cwd=place)
    for name in ("one", "two"):
        (clone / name).write_text(name * 1000)
        run("git", "add", name, cwd=clone)
        run("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", name, cwd=clone)
    run("git", "gc", "-q", "--prune=now", cwd=clone)
    run("git", "fsck", "--full", "--strict", cwd=clone)
    wanted = Counter(path.read_bytes() for path in clone.rglob("*") if path.is_file())
    folders, seen = [place.stat().st_ino], Counter[bytes]()
    while folders:
        for row in reading.list_folder(kelp, caller, folders.pop()):
            if row.content_id is None:
                folders.append(row.id)
                continue
            entry = reading.stat(kelp, caller, row.id)
            seen[b"".join(reading.open_content(kelp, caller, entry).chunks())] += 1
    assert seen == wanted
    shared_mount.mirror()
    until, there = time.monotonic() + 150, Counter[bytes]()
    while there != wanted and time.monotonic() < until:
        time.sleep(0.5)
        there = Counter(mirrored(shared_mount, f"{place.name}/clone"))
    assert there == wanted
