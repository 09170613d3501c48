"""Walking below an opened folder, segment by segment, never through a symlink.

Plain system calls with plain OSErrors; who calls translates them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Segments = tuple[str, ...]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def split(path: str) -> Segments:
    """The segments of a relative path, () for "" (the root).

    Raises ValueError for absolute paths, empty segments (also a final "/"), ".", ".." and NUL.
    """
    if not path:
        return ()
    segments = tuple(path.split("/"))
    if "\0" in path or any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"not a path below the root: {path!r}")
    return segments


class Root:
    """An opened folder that paths start from.

    The descriptor is closed when the last thread that still works with this object drops it, so opening the root
    anew cannot pull it away from under a running step.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; here, and only here, symlinks are followed: it is what the administrator wrote."""
        self.fd = -1  # `__del__` runs also when the next line fails
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.identity = identity(os.fstat(self.fd))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the interpreter's end there is no `os`
        if self.fd >= 0:
            close(self.fd)

    def descend(self, segments: Segments, *, make: bool = False, progress: Callable[[], None] = lambda: None) -> int:
        """A new descriptor of the folder, for the caller to close; with `make`, missing folders are made durably.

        Raises FileNotFoundError, or NotADirectoryError when a file or a symlink is in the way.
        """
        if not segments:
            return os.open(".", _FOLDER, dir_fd=self.fd)  # not dup(): two listings would share one position
        fd = self.fd
        for segment in segments:
            try:
                below = self._enter(fd, segment, make)
            finally:
                if fd != self.fd:
                    os.close(fd)
            fd = below
            progress()
        return fd

    @staticmethod
    def _enter(fd: int, segment: str, make: bool) -> int:
        try:
            return os.open(segment, _FOLDER, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):  # another thread was first; sync all the same, it may not have come to that
            os.mkdir(segment, dir_fd=fd)
        os.fsync(fd)
        return os.open(segment, _FOLDER, dir_fd=fd)


def identity(info: os.stat_result) -> tuple[int, int]:
    """What tells one file or mounted root from every other."""
    return info.st_dev, info.st_ino


def inode_of(info: os.stat_result) -> int:
    """As a signed number of 64 bits, which is what a row can hold: servers of SMB give any of 64."""
    return info.st_ino if info.st_ino < 1 << 63 else info.st_ino - (1 << 64)


def look(folder: int, name: str) -> os.stat_result | None:
    """lstat, or None when the name is free."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_file(folder: int, name: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading. Raises OSError: ELOOP for a symlink, EISDIR or EINVAL for other kinds."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket or device: not to be taken for a dead disk
            raise OSError(errno.EINVAL, "not a regular file") from error
        raise
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(info.st_mode) else errno.EINVAL, "not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd, info
