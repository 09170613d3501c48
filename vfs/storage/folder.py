"""Objects as files: `{root}/objects/{aa}/{key}`.

An object is written under its final name; the database commit publishes it, so no rename is needed (measured:
1,716 against 1,290 durable objects of 4 KiB per second), but for one that replaces another. Names may be there, empty,
before their objects: `spare_files.py`. `aa` keeps the order of the keys: a listing has the names of one folder in
memory, never of all.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

from blake3 import blake3

from vfs.errors import ConfigurationError, ObjectMissing
from vfs.model import ByteRange, Stored
from vfs.storage.faults import Faults
from vfs.storage.files import DirectWriter, Pieces, begin_sync, forget, make_durably, span, sync_folder, write_all
from vfs.storage.object_store import ObjectInfo, Usage, check_key, fault_of, is_key
from vfs.storage.spare_files import SpareFiles

_FOLDERS = tuple(f"{number:02x}" for number in range(256))
_AFTER_ALL = "~"  # greater than every character of a key
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPARE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in the way must not block
_CLOSED = -1
_Write = Callable[[int, bytes | memoryview], int]


class FolderObjectStore:
    """An ObjectStore in a folder of a local disk."""

    at_once = 1

    def __init__(self, root: Path) -> None:
        """Make `root` when it is missing. Raises ConfigurationError when it cannot be used."""
        self._objects = root / "objects"
        self._as_text = str(self._objects)
        self._ready = False  # all folders exist, and their own names are known to be durable
        self._making = threading.Lock()
        self._spares = SpareFiles()
        try:
            make_durably(self._objects, 0o700)
        except OSError as error:
            raise ConfigurationError(f"cannot keep the cache in {root}: {error.strerror or error}") from error

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        return self._put(key, chunks, write_all, replace=replace)

    def put_directly(self, key: str, chunks: Iterable[bytes | memoryview]) -> Stored:
        return self._put(key, chunks, DirectWriter().write, replace=False)

    def _put(self, key: str, chunks: Iterable[bytes | memoryview], write: _Write, *, replace: bool) -> Stored:
        path = self._path(key)
        written = self._path(_beside(key)) if replace else path
        faults = partial(self._faults, key)
        with faults():
            fd, is_shown = self._open_new(key, written, replace=replace)
        try:
            stored = _fill(fd, chunks, write, faults)
            if not is_shown:
                with faults():
                    self._show(written, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(written)
            raise
        return stored

    def begin(self, key: str, data: bytes) -> _Begun:
        path, faults = self._path(key), self._faults(key)
        with faults:
            fd, is_shown = self._open_new(key, path, replace=False)
            begun = _Begun(fd, path, faults, None if is_shown else partial(self._show, path, path))
            try:
                write_all(fd, data)
                begin_sync(fd)
            except BaseException:
                begun.__exit__()
                raise
        return begun

    def _open_new(self, key: str, path: str, *, replace: bool) -> tuple[int, bool]:
        """A new file, and whether its name is durable: that of a file that was made ahead, where nobody tidied up."""
        if self._spares.claim(key) and not replace:
            with suppress(FileNotFoundError):
                return os.open(path, _SPARE), True
        return self._create(path), False

    def _show(self, written: str, path: str) -> None:
        """Give what was written the name `path`, durably."""
        if written != path:
            os.rename(written, path)
            return sync_folder(os.path.dirname(path))
        with self._spares.made_beside(path):
            sync_folder(os.path.dirname(path))

    def spare_key(self) -> str | None:
        return self._spares.take()

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        path = self._path(key)
        faults = partial(self._faults, key)
        with faults():
            fd = os.open(path, _OLD)
        try:
            with faults():
                size = os.fstat(fd).st_size
            start, stop = span(size, byte_range, f"cache: {key}")
        except BaseException:
            os.close(fd)
            raise
        return Pieces(fd, start, stop, faults)

    def open(self, key: str) -> int:
        path = self._path(key)
        with self._faults(key):
            return os.open(path, _OLD)

    def stat(self, key: str) -> int:
        path = self._path(key)
        with self._faults(key):
            return os.stat(path, follow_symlinks=False).st_size

    def delete(self, key: str) -> None:
        path = self._path(key)
        self._spares.claim(key)
        with suppress(ObjectMissing), self._faults(key):
            os.unlink(path)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        for bound in (prefix, after):
            if bound:
                check_key(bound)
        first = _index(max(prefix, after))
        last = _index(prefix + _AFTER_ALL) if prefix else len(_FOLDERS) - 1
        return self._walk(_FOLDERS[first : last + 1], prefix, after)

    def usage(self) -> Usage:
        with self._faults("disk"):
            disk = os.statvfs(self._as_text)
        return Usage(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)

    def forget(self, name: str) -> None:
        with suppress(OSError):
            fd = os.open(self._path(name), _OLD)
            try:
                forget(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        self._spares.close()

    def _path(self, key: str) -> str:
        return f"{self._as_text}/{_FOLDERS[_index(check_key(key))]}/{key}"

    def _create(self, path: str) -> int:
        """Open the new file. Its folder is there, unless it is the first one."""
        if not self._ready:
            self._make_folders()
        try:
            return os.open(path, _NEW, 0o600)
        except FileNotFoundError:  # somebody tidied up empty folders
            self._make_folders()
            return os.open(path, _NEW, 0o600)

    def _make_folders(self) -> None:
        """See that all folders exist and that their own names are durable: one sync serves 256 first puts.

        The first put of a process syncs even when they exist: another process may have made them a moment ago, or
        died before it could sync.
        """
        with self._making:
            for name in _FOLDERS:
                with suppress(FileExistsError):
                    os.mkdir(self._objects / name, 0o700)
            sync_folder(self._objects)
            self._ready = True

    def _walk(self, folders: tuple[str, ...], prefix: str, after: str) -> Iterator[ObjectInfo]:
        for name in folders:
            with suppress(ObjectMissing):  # they are made when the first object comes
                spares = self._spares.keys()  # another process cannot tell them from what is being put
                with self._faults(f"folder {name}"):
                    found = _infos(self._objects / name, prefix, after, spares)
                yield from found

    def _faults(self, subject: str) -> Faults:
        return Faults(subject, fault_of, self._gone)

    def _gone(self) -> OSError | None:
        """The whole folder is: a disk that is not mounted."""
        return None if self._objects.is_dir() else OSError(errno.ENODEV, f"the folder {self._objects} is gone")


class _Begun:
    """A file all of whose bytes were written. `show`: what makes its name durable; None: that is so already."""

    __slots__ = ("_faults", "_fd", "_path", "_show")

    def __init__(self, fd: int, path: str, faults: Faults, show: Callable[[], None] | None) -> None:
        self._fd, self._path, self._faults, self._show = fd, path, faults, show

    def __enter__(self) -> _Begun:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd != _CLOSED:
            self._undo()

    def finish(self) -> None:
        try:
            with self._faults:
                try:
                    os.fsync(self._fd)
                finally:
                    self._close()
                if self._show is not None:
                    self._show()
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            os.unlink(self._path)

    def _close(self) -> None:
        fd, self._fd = self._fd, _CLOSED
        if fd != _CLOSED:
            os.close(fd)


def _fill(
    fd: int,
    chunks: Iterable[bytes | memoryview],
    write: _Write,
    faults: Callable[[], AbstractContextManager[None]],
) -> Stored:
    """Write, hash and sync; closes `fd`. The chunks are fetched outside `faults`: their errors are not the disk's."""
    digest = blake3()
    size = 0
    try:
        for chunk in chunks:
            with faults():
                size += write(fd, chunk)
            digest.update(chunk)
        with faults():
            os.fsync(fd)
    finally:
        os.close(fd)
    return Stored(size, digest.hexdigest())


def _infos(folder: Path, prefix: str, after: str, spares: frozenset[str]) -> list[ObjectInfo]:
    """Objects of one folder, sorted; files that are no objects, or not yet, are left out."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name <= after or not entry.name.startswith(prefix) or not is_key(entry.name):
                continue
            if entry.name in spares:
                continue
            with suppress(FileNotFoundError):  # deleted while we look
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    found.append(ObjectInfo(entry.name, info.st_size, info.st_mtime_ns))
    found.sort()
    return found


def _beside(key: str) -> str:
    """A new key in the folder of `key`: what a SIGKILL leaves under it, the orphan batch finds."""
    return _FOLDERS[_index(key)] + str(uuid.uuid4())[2:]


def _index(key: str) -> int:
    """Which folder holds `key`: the last one whose name is not greater.

    Even over the folders for random UUIDs, and monotone for whatever else comes.
    """
    return max(0, bisect_right(_FOLDERS, key) - 1)
