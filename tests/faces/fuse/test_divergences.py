"""Each difference that docs/fuse.md names is there; one that is not there any more has to leave the page.

And a public suite, where somebody has built it: KELP_PJDFSTEST is its folder. What fails on a mount and
not on the local disk is what the page names (its table "A public suite").
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.fuse import divergences
from tests.faces.fuse.conftest import MountedDrive
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
