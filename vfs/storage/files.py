"""What both folder stores do with an open file: write all of a chunk, read a range in pieces."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE, ByteRange
from vfs.storage.libc import find

_PAGE = 4096  # bytes; what disks ask for is no more
_WRITE = 2  # SYNC_FILE_RANGE_WRITE, linux/fs.h

Progress = Callable[[], None]  # called after each system call that moved bytes


def no_progress() -> None:
    """Nobody watches."""


def write_all(fd: int, chunk: bytes | memoryview, progress: Progress = no_progress) -> int:
    """Write the whole chunk, at most PIECE_SIZE a call, so that a watchdog sees a slow disk move; returns its size."""
    rest = memoryview(chunk).cast("B")
    size = len(rest)
    while rest:
        rest = rest[os.write(fd, rest[:PIECE_SIZE]) :]
        progress()
    return size


_sync_file_range = find("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)  # Linux


def begin_sync(fd: int) -> None:
    """Let the disk begin with what was written to an open file: a sync that comes later has less to wait for, and is
    wanted all the same. It also tells what went wrong here."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _WRITE)


class DirectWriter:
    """Writes one file from its beginning, past the memory of the kernel as far as that can be (open(2), O_DIRECT):
    whole pages, from memory that begins with one, to a file system that knows it. All else is written as usual.

    To bring 256 MiB into new memory of the kernel took 0.4 s of the processor where that is a virtual machine's, and
    the same bytes past it 0.02 s.
    """

    def __init__(self) -> None:
        self._is_on = False
        self._is_refused = False
        self._at = 0

    def write(self, fd: int, chunk: bytes | memoryview) -> int:
        """The whole chunk; returns its size."""
        is_whole = len(chunk) % _PAGE == 0 == self._at % _PAGE
        self._at += len(chunk)
        if is_whole and not self._is_refused:
            try:
                self._turn(fd, on=True)
                return write_all(fd, chunk)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                self._is_refused = True
                os.lseek(fd, self._at - len(chunk), os.SEEK_SET)
        self._turn(fd, on=False)
        return write_all(fd, chunk)

    def _turn(self, fd: int, *, on: bool) -> None:
        if self._is_on != on:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
            self._is_on = on


def span(size: int, byte_range: ByteRange | None, subject: str) -> tuple[int, int]:
    """First byte and end of what to read of a file of `size` bytes.

    Raises ValueError for a range that runs backwards, ContentCorrupt for one that goes past the end: the caller
    knows the length that was stored, so the file was cut.
    """
    start, stop = byte_range or (0, size)
    if not 0 <= start <= stop:
        raise ValueError(f"not a byte range: {start} to {stop}")
    if stop > size:
        raise ContentCorrupt(f"{subject}: ends at byte {size}, expected at least {stop}")
    return start, stop


def sync_folder(folder: Path | str) -> None:
    """Make the names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# What a file system says that cannot show a time: no right to, or outside its range.
_NO_TIMES = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ERANGE, errno.EOVERFLOW)


def set_time(fd: int, mtime_ns: int) -> None:
    """Set the modification time, as far as the file system can show it."""
    try:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    except OverflowError:
        pass  # more than the system call can carry
    except OSError as error:
        if error.errno not in _NO_TIMES:
            raise


def make_durably(folder: Path, mode: int = 0o777) -> None:
    """Make `folder` and what is missing above it, each name synced."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode, exist_ok=True)
        sync_folder(path.parent)


def forget(fd: int) -> None:
    """Let the machine drop what it has of an open file in memory, as far as that is on the disk already."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class Pieces(Iterator[bytes]):
    """Bytes `start` … `stop`-1 of an open file, PIECE_SIZE at a time.

    Owns the descriptor: it is closed with the last piece, on an error, by `close`, or when the iterator is
    dropped unread (which a generator that never ran would not do).
    """

    def __init__(
        self,
        fd: int,
        start: int,
        stop: int,
        faults: Callable[[], AbstractContextManager[None]],
        progress: Progress = no_progress,
    ) -> None:
        self._fd: int | None = fd
        self._at, self._stop = start, stop
        self._faults, self._progress = faults, progress

    def __next__(self) -> bytes:
        if self._fd is None or self._at >= self._stop:
            self.close()
            raise StopIteration
        try:
            with self._faults():
                piece = os.pread(self._fd, min(PIECE_SIZE, self._stop - self._at), self._at)
            if not piece:
                raise ContentCorrupt(f"the file was cut at byte {self._at} while it was read")
        except BaseException:
            self.close()
            raise
        self._progress()
        self._at += len(piece)
        if self._at >= self._stop:
            self.close()
        return piece

    def close(self) -> None:
        """Release the file; further reads find the end."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
