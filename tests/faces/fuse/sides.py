"""The two sides of a comparison, a mount and a local folder: what runs a step on one, and how its files look there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LONG_AGO = 1 << 60  # ns: times that are set lie before, all others after
NOREPLACE, EXCHANGE = 1, 2  # linux/fs.h
_AT_FDCWD = -100
# ext4 and tmpfs name another of two errors that both are true, and POSIX allows either.
_ALIKE = {errno.ENOTEMPTY: errno.EEXIST}


class Side:
    """One of the two: runs a step, gives what it answered. Descriptors have the same numbers on both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, int] = {}

    def do(self, step: Step) -> Any:
        try:
            return step.call(self)
        except OSError as error:
            return "error", errno.errorcode[_ALIKE.get(error.errno or 0, error.errno or 0)]

    def at(self, path: str) -> Path:
        return self.root / path

    def close(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):
                os.close(file)


class Step(NamedTuple):
    words: str
    call: Callable[[Side], Any]
    unless: str = ""  # the row of docs/fuse.md that says: on a mount this fails


def is_error(answer: object) -> bool:
    return isinstance(answer, tuple) and answer[:1] == ("error",)


def renameat2(source: Path, target: Path, flags: int) -> None:
    """renameat2(2), which Python lacks."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fallocate(file: int, start: int, size: int) -> None:
    """fallocate(2), for which Python has only what the C library does in its place where it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(file, 0, ctypes.c_int64(start), ctypes.c_int64(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def looks(info: os.stat_result) -> tuple[object, ...]:
    """Mode, owner; of a file size, links and whether its time is one that was set."""
    kind = info.st_mode, info.st_uid, info.st_gid
    if stat.S_ISDIR(info.st_mode):
        return kind
    time = info.st_mtime_ns if info.st_mtime_ns < LONG_AGO else "lately"
    return (*kind, info.st_size, info.st_nlink, time if stat.S_ISREG(info.st_mode) else "")


def digest(path: Path) -> tuple[int, str]:
    body = path.read_bytes()
    return len(body), hashlib.sha256(body).hexdigest()


def tree(root: Path) -> dict[str, object]:
    """Everything below a folder, and how it looks."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            info = path.lstat()
            found[os.path.relpath(path, root)] = (looks(info), digest(path) if stat.S_ISREG(info.st_mode) else None)
    return found
