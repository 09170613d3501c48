"""Where recovered files go: a folder in which nothing is ever overwritten.

A file is written in a folder of its own for unfinished ones, and gets its name when it is whole, verified and durable.
So what has its name from an earlier run is whole, and is known by its length and time.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vfs import names
from vfs.errors import ContentCorrupt, InvalidRequest, NoSpace
from vfs.model import PIECE_SIZE
from vfs.operations.vault_recovery import reading
from vfs.storage import beneath, files, renaming
from vfs.storage.beneath import Root, Segments

UNFINISHED = ".kelp-recovering"
_REFUSED = frozenset('\\:*?"<>|')  # by file systems of Windows
_NO_NAME = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ, errno.EPROTO)  # what others say to a name they cannot have
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHORT = 60  # characters that any file system takes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unfinished(NamedTuple):
    """A file that has no name yet for people; `name` is that in the folder of such files."""

    fd: int
    name: str


class Placed(NamedTuple):
    """`name`: what it is called now. `was_there`: from an earlier run."""

    name: str
    was_there: bool


class Target:
    """The folder; made when it is missing, readable by its owner only. One recovery at a time works in it.

    Raises InvalidRequest when another one does, OSError.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = Root(path)
        with suppress(FileExistsError):
            os.mkdir(UNFINISHED, 0o700, dir_fd=self.root.fd)
        self.unfinished = os.open(UNFINISHED, _FOLDER, dir_fd=self.root.fd)
        try:
            fcntl.flock(self.unfinished, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.unfinished)
            raise InvalidRequest(f"another recovery into {path} is running") from error
        self._count = 0
        self._drop()

    def close(self) -> None:
        self._drop()
        with suppress(OSError):  # something of somebody's is in it
            os.rmdir(UNFINISHED, dir_fd=self.root.fd)
        os.close(self.unfinished)

    @contextmanager
    def writing(self, length: int) -> Iterator[Unfinished]:
        """A new file; gone at the end unless it got its name. Raises NoSpace, OSError."""
        self._count += 1
        name = str(self._count)
        with _room():
            free = os.fstatvfs(self.root.fd)
            if length > free.f_bavail * free.f_frsize:
                raise NoSpace(f"a file of {length} bytes does not fit into the target folder")
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.unfinished)
            try:
                yield Unfinished(fd, name)
            finally:
                os.close(fd)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.unfinished)

    def _drop(self) -> None:
        """What a killed run has left."""
        for name in os.listdir(self.unfinished):
            if name.isdigit():
                os.unlink(name, dir_fd=self.unfinished)


class Place:
    """An opened folder below the target, while the entries of one folder of a vault come into it. Raises OSError."""

    def __init__(self, target: Target, at: Segments) -> None:
        self.fd = target.root.descend(at)
        self._target = target
        # By this run: as inodes, since a file system may take two names for one.
        self._taken = {beneath.identity(os.fstat(target.unfinished))}

    def close(self) -> None:
        """The names that were given out are durable then, where the file system can."""
        try:
            with suppress(OSError):
                os.fsync(self.fd)
        finally:
            os.close(self.fd)

    def folder(self, name: str) -> Placed:
        """Make a folder, or find that of an earlier run. Raises NoSpace, OSError."""
        trying = _Names(name, is_folder=True)
        for candidate in trying:
            was_there = False
            try:
                with _room():
                    try:
                        os.mkdir(candidate, 0o700, dir_fd=self.fd)
                    except FileExistsError:
                        was_there = True
                info = os.stat(candidate, dir_fd=self.fd, follow_symlinks=False)
            except OSError as error:
                trying.was_refused(error)
                continue
            if stat.S_ISDIR(info.st_mode) and self._take(info):
                return Placed(candidate, was_there)
        raise AssertionError("numbers never end")

    def find(self, name: str, length: int, mtime_ns: int) -> str | None:
        """The file of an earlier run, where this one would go."""
        trying = _Names(name, is_folder=False)
        for candidate in trying:
            try:
                info = beneath.look(self.fd, candidate)
            except OSError as error:
                trying.was_refused(error)
                continue
            if info is None:
                return None
            if _shows(info, length, mtime_ns) and self._take(info):
                return candidate
        raise AssertionError("numbers never end")

    def put(self, made: Unfinished, name: str, mtime_ns: int) -> Placed:
        """Give a file its name, or the next one that is free; not when the same bytes are there. Raises OSError."""
        files.set_time(made.fd, mtime_ns)
        os.fsync(made.fd)
        trying = _Names(name, is_folder=False)
        for candidate in trying:
            try:
                renaming.rename_new(self._target.unfinished, made.name, self.fd, candidate)
            except FileExistsError:
                if self._has_same(candidate, made.fd):
                    return Placed(candidate, was_there=True)
            except OSError as error:
                trying.was_refused(error)
            else:
                self._take(os.fstat(made.fd))
                return Placed(candidate, was_there=False)
        raise AssertionError("numbers never end")

    def _has_same(self, name: str, fd: int) -> bool:
        info, made = beneath.look(self.fd, name), os.fstat(fd)
        if info is None or not stat.S_ISREG(info.st_mode) or info.st_size != made.st_size:
            return False
        with suppress(ContentCorrupt), reading.opened_file(self.fd, name) as (other, size):
            pairs = zip(reading.pieces(other, 0, size), reading.pieces(fd, 0, size), strict=False)
            return all(one == two for one, two in pairs) and self._take(info)
        return False

    def _take(self, info: os.stat_result) -> bool:
        """False: this run has it already, for another entry."""
        identity = beneath.identity(info)
        is_new = identity not in self._taken
        self._taken.add(identity)
        return is_new


class _Names(Iterator[str]):
    """What to call an entry: its name, the same with numbers; and tamer forms of it when that is refused."""

    def __init__(self, name: str, *, is_folder: bool) -> None:
        self._is_folder = is_folder
        self._forms = iter((name, names.escape(name, _REFUSED).rstrip(". ") or "_", _tame(name)))
        self._trying: Iterator[str] = iter(())
        self._next_form()

    def __next__(self) -> str:
        return next(self._trying)

    def was_refused(self, error: OSError) -> None:
        """Go on with the next form, when it was the name: else, and after the last one, raises the error."""
        if error.errno not in _NO_NAME:
            raise error
        try:
            self._next_form()
        except StopIteration:
            raise error from None

    def _next_form(self) -> None:
        form = next(self._forms)
        self._trying = itertools.chain((form,), names.numbered(form, self._is_folder))


def _tame(name: str) -> str:
    """Letters and digits of ASCII, and few of them."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)[:_SHORT]


def _shows(info: os.stat_result, length: int, mtime_ns: int) -> bool:
    return stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) == (length, mtime_ns)


@contextmanager
def _room() -> Iterator[None]:
    """Raises NoSpace for a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace("the target folder's disk is full") from error
        raise


def write_at(fd: int, at: int, data: memoryview) -> None:
    """All of it. Raises OSError."""
    while data:
        written = os.pwrite(fd, data[:PIECE_SIZE], at)
        data, at = data[written:], at + written
