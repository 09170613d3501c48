"""Programs at work in a mount, as on a local disk: tar, git, SQLite, rsync, a compiler's habits."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import sqlite3
import subprocess
import sysconfig
import tarfile
import threading
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from vfs.operations import reading

_LONG = "KELP_FUSE_STEPS" in os.environ
_PARTS = ("json", "email" if _LONG else "email/mime", "logging")  # of Python's standard library: some 60 files, or 20


def run(*words: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=200, env=_ENV)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


_ENV = {
    **os.environ,
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "somebody"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "somebody@example.org"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": "/nonexistent",
}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A part of Python's own library, without what was compiled."""
    folder = tmp_path / "library"
    for name in _PARTS:
        source = Path(sysconfig.get_path("stdlib"), name)
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def assert_same(one: Path, other: Path) -> None:
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert sorted(str(path.relative_to(other)) for path in other.rglob("*")) == names
    files = [name for name in names if (one / name).is_file()]
    same, different, errors = filecmp.cmpfiles(one, other, files, shallow=False)
    assert (len(same), different, errors) == (len(files), [], [])


def test_tar(place: Path, library: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "library.tar", "w") as archive:
        archive.add(library, "library")
    run("tar", "xf", tmp_path / "library.tar", cwd=place)
    assert_same(library, place / "library")
    for name in ("json/__init__.py", "email"):
        there, here = (place / "library" / name).stat(), (library / name).stat()
        assert (there.st_mode, there.st_mtime_ns // 10**9) == (here.st_mode, here.st_mtime_ns // 10**9)
    run("tar", "cf", place / "again.tar", "library", cwd=place)
    run("tar", "df", place / "again.tar", cwd=place)
    shutil.rmtree(place / "library")
    assert os.listdir(place) == ["again.tar"]


@needs("git")
def test_git(place: Path, library: Path) -> None:
    origin = library.parent / "origin"
    shutil.copytree(library, origin)
    run("git", "init", "-q", "-b", "main", origin)
    run("git", "add", ".", cwd=origin)
    run("git", "commit", "-qm", "first", cwd=origin)
    clone = place / "clone"
    run("git", "clone", "-q", "--no-hardlinks", origin, clone)
    run("git", "fsck", "--full", "--strict", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    (clone / "json/__init__.py").write_text("changed")
    (clone / "new").write_text("new")
    run("git", "add", "-A", cwd=clone)
    run("git", "commit", "-qm", "second", cwd=clone)
    run("git", "checkout", "-q", "-b", "other", "HEAD~1", cwd=clone)
    assert not (clone / "new").exists()
    run("git", "merge", "-q", "main", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    run("git", "fsck", "--full", "--strict", cwd=clone)
    run("git", "push", "-q", "origin", "other", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""


@pytest.mark.parametrize("journal", ["delete", "truncate"])
def test_sqlite(place: Path, journal: str) -> None:
    """No WAL: that needs shared memory of several processes, which no network drive has."""
    with contextlib.closing(sqlite3.connect(place / "it.db", isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode={journal}")
        database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT)")
        for first in range(0, 500, 100):
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO rows (body) VALUES (?)", [(f"{n}" * 50,) for n in range(first, first + 100)]
            )
            database.execute("COMMIT")
        database.execute("BEGIN")
        database.execute("DELETE FROM rows WHERE id % 2")
        database.execute("ROLLBACK")
        database.execute("DELETE FROM rows WHERE id % 3 = 0")
        database.execute("VACUUM")
    with contextlib.closing(sqlite3.connect(place / "it.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT COUNT(*) FROM rows").fetchone() == (334,)
    assert os.listdir(place) == ["it.db"] or (place / "it.db-journal").stat().st_size == 0


@needs("rsync")
def test_rsync_has_nothing_to_do_the_second_time(place: Path, library: Path) -> None:
    run("rsync", "-rpt", f"{library}/", place / "copy")
    assert_same(library, place / "copy")
    assert run("rsync", "-rptn", "--itemize-changes", f"{library}/", place / "copy") == ""
    (library / "json/__init__.py").write_text("changed")
    (library / "json/decoder.py").unlink()
    changed = run("rsync", "-rpt", "--delete", "--itemize-changes", f"{library}/", place / "copy")
    assert "json/__init__.py" in changed
    assert_same(library, place / "copy")
    run("rsync", "-rpt", "--inplace", "--no-whole-file", f"{library}/", place / "copy")
    assert_same(library, place / "copy")


def test_many_threads_in_one_folder(place: Path) -> None:
    errors: list[BaseException] = []

    def work(own: int) -> None:
        try:
            for number in range(25):
                path = place / f"{own}-{number}"
                path.write_bytes(b"%d" % number * 100)
                os.rename(path, place / f"{own}-{number}-done")
                assert (place / f"{own}-{number}-done").read_bytes() == b"%d" % number * 100
                if number % 2:
                    (place / f"{own}-{number}-done").unlink()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(os.listdir(place)) == 6 * 13


def test_copies_and_appends(place: Path) -> None:
    body = os.urandom(3_000_000).replace(b"end", b"END")
    (place / "one").write_bytes(body)
    run("cp", "-p", place / "one", place / "two")
    run("cmp", place / "one", place / "two")
    run("dd", f"if={place / 'one'}", f"of={place / 'two'}", "bs=64k", "seek=3", "count=2", "conv=notrunc")
    run("sh", "-c", f"echo end >> {place / 'two'}")
    wanted = bytearray(body)
    wanted[3 * 65536 : 5 * 65536] = body[: 2 * 65536]
    assert (place / "two").read_bytes() == bytes(wanted) + b"end\n"
    run("sed", "-i", "s/end/begin/", place / "two")
    assert (place / "two").read_bytes() == bytes(wanted) + b"begin\n"


def test_what_was_made_is_on_the_other_faces(place: Path, shared_mount: MountedDrive, library: Path) -> None:
    kelp, caller = shared_mount.kelp, shared_mount.caller()
    shutil.copytree(library, place / "library")
    rows = {row.name for row in reading.list_folder(kelp, caller, place.stat().st_ino)}
    assert rows == {"library"}
    for path in library.rglob("*"):
        segments = [*shared_mount.above, place.name, "library", *path.relative_to(library).parts]
        found = reading.resolve(kelp, caller, segments).entry
        assert found is not None
        if path.is_file():
            assert b"".join(reading.open_content(kelp, caller, found).chunks()) == path.read_bytes()
