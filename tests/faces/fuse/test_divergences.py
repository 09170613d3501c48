"""Each difference that docs/fuse.md names is there; one that is not there any more has to leave the page.

And a public suite, where somebody has built it: KELP_PJDFSTEST is its folder. What fails on a mount and
not on the local disk is what the page names (its table "A public suite").
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.fuse import divergences
from tests.faces.fuse.conftest import MountedDrive, mounted_drive
from tests.faces.fuse.sides import EXCHANGE, Side, Step, fallocate, renameat2


def _link(place: Path) -> None:
    (place / "file").touch()
    os.link(place / "file", place / "second name")


def _unicode_forms(place: Path) -> bool:
    (place / "\u00e9").touch()
    return (place / "e\u0301").exists()


def _exchange(place: Path) -> None:
    (place / "one").touch()
    (place / "two").mkdir()
    renameat2(place / "one", place / "two", EXCHANGE)


def _allocate(place: Path) -> None:
    with (place / "file").open("wb") as file:
        fallocate(file.fileno(), 0, 4096)


def _hole(place: Path) -> int:
    (place / "file").touch()
    os.truncate(place / "file", 1_000_000)
    return (place / "file").stat().st_blocks


def _atime(place: Path) -> int:
    (place / "file").touch()
    os.utime(place / "file", ns=(10**18, 10**17))
    return (place / "file").stat().st_atime_ns


def _ctime(place: Path) -> bool:
    (place / "file").touch()
    before = (place / "file").stat().st_ctime_ns
    time.sleep(0.05)
    (place / "file").chmod(0o600)
    return (place / "file").stat().st_ctime_ns > before


def _xattr(place: Path) -> None:
    (place / "file").touch()
    os.setxattr(place / "file", "user.it", b"1")


# What a local folder answers otherwise.
_SEEN: dict[str, Callable[[Path], object]] = {
    "short-targets": lambda place: os.symlink("x" * 1500, place / "link"),
    "no-hard-links": _link,
    "no-devices": lambda place: os.mkfifo(place / "pipe"),
    "names-are-text": lambda place: os.mkdir(os.fsencode(place) + b"/\xff"),
    "names-by-form": _unicode_forms,
    "no-exchange": _exchange,
    "no-fallocate": _allocate,
    "no-holes": _hole,
    "atime-is-mtime": _atime,
    "ctime-is-mtime": _ctime,
    "folder-size": lambda place: place.stat().st_size > 0,
    "folder-links": lambda place: place.stat().st_nlink,
    "no-xattrs": _xattr,
    "setuid-stays-off": lambda place: bool(os.statvfs(place).f_flag & os.ST_NOSUID),
}
_ELSEWHERE = {"locks-are-local", "twice-replaced"}  # takes two machines; two processes (`test_many_processes`)


def test_the_page_and_the_tests_know_the_same_differences() -> None:
    assert divergences.named() == set(_SEEN) | _ELSEWHERE


@pytest.mark.parametrize("name", sorted(_SEEN))
def test_it_is_as_the_page_says(place: Path, shared_mount: MountedDrive, tmp_path: Path, name: str) -> None:
    (tmp_path / "local").mkdir()
    answers = [Side(side).do(Step(name, lambda side: _SEEN[name](side.root))) for side in (place, tmp_path / "local")]
    assert answers[0] != answers[1], f"nothing is different: {name} has to leave docs/fuse.md"


def _failed(test: Path, place: Path) -> bool:
    done = subprocess.run(["sh", test], cwd=place, capture_output=True, text=True, errors="replace", timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok", "not ok", "1..", "Bail"))]
    return not lines or any(line.startswith(("not ok", "Bail")) and "# TODO" not in line for line in lines)


@pytest.mark.timeout(3600)
@pytest.mark.skipif("KELP_PJDFSTEST" not in os.environ, reason="KELP_PJDFSTEST names no built pjdfstest")
def test_a_public_suite_fails_only_where_the_page_says_so(tmp_path: Path) -> None:
    """As root. Minutes."""
    root = Path(os.environ["KELP_PJDFSTEST"], "tests")
    with mounted_drive(tmp_path, "-o", "allow_other", longest=3600.0) as drive:
        tests = sorted(root.rglob("*.t"))
        failed = {str(test.relative_to(root).with_suffix("")) for test in tests if _failed(test, drive.top)}
    rows = divergences.of_suite()
    assert set(rows) <= divergences.named()
    patterns = [pattern for of_row in rows.values() for pattern in of_row]
    unexplained = sorted(name for name in failed if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns))
    idle = [pattern for pattern in patterns if not any(fnmatch.fnmatch(name, pattern) for name in failed)]
    assert (unexplained, idle) == ([], [])
