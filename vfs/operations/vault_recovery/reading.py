"""Plain folders and files of a NAS, or of a copy of one, never through a symbolic link.

Whatever cannot be read is a ContentCorrupt, which says why; it does not name what, since who asks knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE
from vfs.storage import beneath
from vfs.storage.beneath import Root, Segments


@contextmanager
def opened(root: Root, at: Segments) -> Iterator[int]:
    """A descriptor of the folder."""
    with _readable():
        folder = root.descend(at)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_in(folder: int, name: str) -> Iterator[int]:
    """The folder `name` in an opened one."""
    with _readable():
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield inner
    finally:
        os.close(inner)


def names(folder: int) -> list[str]:
    """All names in an opened folder, sorted."""
    with _readable():
        return sorted(os.listdir(folder))


def is_folder(folder: int, name: str) -> bool:
    with _readable():
        info = beneath.look(folder, name)
    return info is not None and stat.S_ISDIR(info.st_mode)


@contextmanager
def opened_file(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """A descriptor and the file's size."""
    with _readable():
        fd, info = beneath.open_file(folder, name)
    try:
        yield fd, info.st_size
    finally:
        os.close(fd)


def pieces(fd: int, start: int, stop: int) -> Iterator[bytes]:
    """Bytes [start, stop), fewer when the file ends before."""
    while start < stop:
        with _readable():
            piece = os.pread(fd, min(PIECE_SIZE, stop - start), start)
        if not piece:
            return
        yield piece
        start += len(piece)


def small_file(folder: int, name: str, most: int) -> bytes:
    """All of it, at most `most` bytes."""
    with opened_file(folder, name) as (fd, size):
        if size > most:
            raise ContentCorrupt(f"has {size} bytes, and may have {most}")
        return b"".join(pieces(fd, 0, size))


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ContentCorrupt("is not there") from error
    except OSError as error:
        raise ContentCorrupt(f"cannot be read: {error.strerror}") from error
