"""Folders full of files: one made of real source code, and how two are compared byte by byte."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

Tree = dict[str, str | None]  # path with "/" → checksum, None for a folder

_STAMP = re.compile(r"^\d{14}__")
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")  # cadaver takes names from a line of words and patterns
_COMPILED = {"__pycache__", "lib-dynload"}
_INSTALLED = {"site-packages", "dist-packages"}


def make_source_tree(into: Path, at_least: int, at_most: int = sys.maxsize) -> int:
    """Copy the source of Python's standard library to `into`; how many files.

    Where its tests are not installed there are fewer than `at_least`; packages of this environment fill the rest.
    """
    count = 0
    for file, name in islice(_library(Path(sysconfig.get_path("stdlib")), _COMPILED | _INSTALLED), at_most):
        count += _copy(file, into / name)
    for file, name in _library(Path(sysconfig.get_path("purelib")), _COMPILED):
        if count >= at_least:
            break
        count += _copy(file, into / "installed" / name)
    return count


def _library(root: Path, left_out: set[str]) -> Iterator[tuple[Path, str]]:
    """Files below `root` that are no links, and their relative paths."""
    for here, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in left_out and not name.startswith("config-") and _PLAIN.fullmatch(name)
        )
        for name in sorted(files):
            file = Path(here, name)
            if _PLAIN.fullmatch(name) and not file.is_symlink():
                yield file, str(file.relative_to(root))


def _copy(source: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    return 1


def tree_of(root: Path) -> Tree:
    """What is below `root`."""
    found: Tree = {}
    for here, folders, files in os.walk(root):
        at = Path(here)
        found |= {str((at / name).relative_to(root)): None for name in folders}
        found |= {str((at / name).relative_to(root)): _checksum(at / name) for name in files}
    return found


def nas_tree_of(root: Path) -> Tree:
    """What is below `root`, a folder on the NAS, without the stamps; each file must have one."""
    found = tree_of(root)
    unstamped = [path for path, sum in found.items() if sum is not None and not _STAMP.match(path.rpartition("/")[2])]
    assert not unstamped, unstamped[:10]
    return {_without_stamp(path) if sum is not None else path: sum for path, sum in found.items()}


def _without_stamp(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + _STAMP.sub("", name)


def _checksum(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def assert_same(found: Tree, expected: Tree) -> None:
    """Equal, or a failure that names the first differences: the whole of two thousand files says nothing."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    changed = sorted(path for path in expected.keys() & found.keys() if expected[path] != found[path])
    assert not (missing or extra or changed), {
        name: (len(paths), paths[:10])
        for name, paths in (("missing", missing), ("extra", extra), ("changed", changed))
        if paths
    }
