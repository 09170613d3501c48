"""What was written and is not committed yet, on a local disk: bounded, sparse, and found again after a kill.

    {data}/drafts/{pid}-{random}/lock        locked by the mount for as long as it lives
                                 {n}.data    the bytes, where the file has them; holes where nobody wrote
                                 {n}.log     a line of JSON (which file, which content it had), then a record for each
                                             change of what was written; empty: nobody's, to be used again

Neither is synced: what a draft promises is nothing, until it is committed. A killed process loses nothing all the same,
since the kernel has it; a machine that stops does, and the file is as it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

from fuse_mount.spans import Spans
from vfs.errors import NoSpace, StoreUnavailable
from vfs.operations import at_hand

RECORD = struct.Struct("<Bqq")
WRITTEN, CUT = 1, 2  # what a record tells
_MOST_IDLE = 16  # pairs of files that wait to be used again: making and removing them costs more than a small write
_MOST_ROOMS = 2  # that are kept
_FEW = 64 * 1024  # bytes
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CLOSED = -1  # in the place of a descriptor


@dataclass(frozen=True, slots=True)
class Header:
    """Whose draft it is. `content_id`: what the file showed when it was first written to; `size` of that. `vault_id`:
    in which vault it lies."""

    entry_id: int
    folder_id: int
    name: str
    content_id: str
    size: int
    user_name: str
    began_ns: int
    vault_id: int | None = None

    @property
    def logged(self) -> str:
        """What the log calls it."""
        return repr(self.name) if self.vault_id is None else f"entry {self.entry_id} in a vault"


_HEADER = tuple(field.name for field in fields(Header))  # `asdict` copies each value, for 10 µs a file


class Written:
    """What a draft has instead of its content's bytes: `spans` of its own, and beyond `limit` nothing but those."""

    def __init__(self, size: int) -> None:
        self.spans = Spans()
        self.size = self.limit = size

    def write(self, start: int, stop: int) -> int:
        """How many bytes are new."""
        self.size = max(self.size, stop)
        return self.spans.add(start, stop)

    def cut(self, size: int) -> int:
        """The file has another size; how many written bytes went."""
        self.size = size
        self.limit = min(self.limit, size)
        return self.spans.cut(size)

    def split(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """Runs of bytes that follow each other, and whether they were written."""
        at = start
        for first, last in self.spans.within(start, stop):
            if at < first:
                yield at, first, False
            yield first, last, True
            at = last
        if at < stop:
            yield at, stop, False


class DraftFile:
    """One draft. Not for several threads at a time."""

    def __init__(self, disk: DraftDisk, number: int, data: int, log: int) -> None:
        self._disk = disk
        self.number = number
        self._data = data
        self._log = log
        self.written = Written(0)

    def begin(self, header: Header) -> None:
        self.written = Written(header.size)
        with _disk_faults():
            self._note(json.dumps({name: getattr(header, name) for name in _HEADER}).encode() + b"\n")

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises NoSpace, beyond what all drafts may have too."""
        stop = offset + len(data)
        new = self.written.spans.missing(offset, stop)
        self._disk.take(new)
        try:
            with _disk_faults():
                _write_all(self._data, data, offset)
                if new or stop > self.written.size:
                    self._note(RECORD.pack(WRITTEN, offset, stop))
        except BaseException:
            self._disk.give(new)
            raise
        self.written.write(offset, stop)

    def cut(self, size: int) -> None:
        shorter = size < self.written.size
        with _disk_faults():
            self._note(RECORD.pack(CUT, size, 0))
        self._disk.give(self.written.cut(size))
        if shorter:  # the bytes beyond are nobody's; and what a file grows by needs none
            with suppress(OSError):
                os.ftruncate(self._data, size)

    def _note(self, record: bytes) -> None:
        """The whole of it, or nothing: what follows half a record could not be read."""
        done = os.write(self._log, record)
        if done < len(record):
            os.ftruncate(self._log, os.fstat(self._log).st_size - done)
            raise NoSpace("the disk of the drafts is full")

    def read(self, start: int, stop: int) -> bytes:
        """Of one span."""
        with _disk_faults():
            return os.pread(self._data, stop - start, start)

    @contextmanager
    def pieces(self, size: int) -> Iterator[Callable[[int, int], bytes]]:
        """As `read`, for who takes each piece before he asks for the next: into memory that is used again. New memory
        for each cost as much as storing it, when `size` bytes are many."""
        if size <= _FEW:
            yield self.read
            return
        room = self._disk.take_room()

        def read(start: int, stop: int) -> bytes:
            piece = room[: stop - start]
            with _disk_faults():
                return piece[: os.preadv(self._data, (piece,), start)]  # type: ignore[return-value]  # serves as bytes

        try:
            yield read
        finally:
            self._disk.give_room(room)

    def end(self) -> None:
        """It was committed, or nobody wants it."""
        self._disk.give(self.written.spans.total)
        self.written = Written(0)
        self._disk.put_back(self)

    def keep(self) -> None:
        """It stays on the disk, to be recovered."""
        self.close()

    def clear(self) -> None:
        os.ftruncate(self._log, 0)  # first: from here on it is nobody's
        os.ftruncate(self._data, 0)

    def close(self) -> None:
        """Once; a number that is closed is somebody else's next file."""
        closing, self._data, self._log = (self._data, self._log), _CLOSED, _CLOSED
        for fd in closing:
            _close(fd)


class DraftDisk:
    """The drafts of this process: `limit` bytes together at most, 0: as many as their disk has room for. `reserve`
    bytes of it, which may be the database's too, stay free; `twice`: the cache is on it, where what is written is
    stored while the draft is still there. Raises StoreUnavailable when the folder cannot be made."""

    def __init__(self, folder: Path, limit: int = 0, reserve: int = 0, *, twice: bool = False) -> None:
        self._limit, self._reserve, self._twice = limit, reserve, twice
        self._used = 0
        self._guard = threading.Lock()
        self._idle: list[DraftFile] = []
        self._rooms: list[memoryview] = []
        self._next = 0
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = folder / name
        try:
            unlocked = folder / f".{name}"  # a name that nobody takes for a dead mount's
            unlocked.mkdir(mode=0o700, parents=True)
            self._lock = os.open(unlocked / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(self.folder)
        except OSError as error:
            raise StoreUnavailable(f"cannot keep drafts in {folder}: {error.strerror}") from error

    @property
    def used(self) -> int:
        """Bytes of all drafts."""
        return self._used

    def new(self, header: Header) -> DraftFile:
        with self._guard:
            draft = self._idle.pop() if self._idle else None
            if draft is None:
                self._next += 1
                number = self._next
        if draft is None:
            with _disk_faults():
                data = os.open(self.folder / f"{number}.data", _NEW, 0o600)
                try:
                    log = os.open(self.folder / f"{number}.log", _NEW | os.O_APPEND, 0o600)
                except BaseException:
                    _close(data)
                    self._remove(number)
                    raise
            draft = DraftFile(self, number, data, log)
        try:
            draft.begin(header)
        except BaseException:
            self.put_back(draft)
            raise
        return draft

    def take(self, size: int) -> None:
        """Raises NoSpace."""
        if size:
            with _disk_faults():
                disk = os.statvfs(self._lock)
            again = self._used + size if self._twice else 0
            if disk.f_bavail * disk.f_frsize < size + again + self._reserve:
                raise NoSpace("the disk of the drafts is full")
        with self._guard:
            if self._limit and self._used + size > self._limit:
                raise NoSpace(f"more than {self._limit} bytes are written and not closed (fuse.draft_limit)")
            self._used += size

    def give(self, size: int) -> None:
        with self._guard:
            self._used -= size

    def take_room(self) -> memoryview:
        """For a piece."""
        with self._guard:
            return self._rooms.pop() if self._rooms else at_hand.room()

    def give_room(self, room: memoryview) -> None:
        with self._guard:
            if len(self._rooms) < _MOST_ROOMS:
                self._rooms.append(room)

    def put_back(self, draft: DraftFile) -> None:
        try:
            draft.clear()
        except OSError:
            draft.close()
            return
        with self._guard:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(draft)
                return
        draft.close()
        self._remove(draft.number)

    def _remove(self, number: int) -> None:
        for suffix in ("log", "data"):
            with suppress(OSError):
                (self.folder / f"{number}.{suffix}").unlink()

    def close(self) -> None:
        """What is kept stays, to be recovered; without any the folder goes."""
        for draft in self._idle:
            draft.close()
            self._remove(draft.number)
        self._idle = []
        if not any(self.folder.glob("*.log")):
            shutil.rmtree(self.folder, ignore_errors=True)
        lock, self._lock = self._lock, _CLOSED
        _close(lock)


def _close(fd: int) -> None:
    if fd != _CLOSED:
        with suppress(OSError):  # of a disk with a fault
            os.close(fd)


def _write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, offset)
        rest, offset = rest[done:], offset + done


class _disk_faults:  # noqa: N801  # read as a statement: `with _disk_faults():`
    """What the disk of the drafts says. Raises NoSpace, StoreUnavailable."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if isinstance(error, OSError):
            text = f"the disk of the drafts: {error.strerror or error}"
            raise (NoSpace(text) if error.errno in _FULL else StoreUnavailable(text)) from error


_FULL = (28, 122)  # ENOSPC, EDQUOT
