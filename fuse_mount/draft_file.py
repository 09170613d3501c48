"""One draft: what was written to a file, and a log of it, on the disk of the drafts (`draft_disk`)."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Protocol, TypeAlias

from fuse_mount.spans import Spans
from vfs.errors import NoSpace, StoreUnavailable
from vfs.model import PART_SIZE, PIECE_SIZE
from vfs.operations.storing_ahead import Ahead, Pieces

RECORD = struct.Struct("<Bqq")
WRITTEN, CUT = 1, 2  # what a record tells
NewAhead: TypeAlias = Callable[[Pieces, Callable[[int], None]], Ahead]
CLOSED = -1  # in the place of a descriptor


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


_HEADER = tuple(field.name for field in fields(Header))
_values = attrgetter(*_HEADER)  # `asdict` copies each, for 10 µs a file


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


class Disk(Protocol):
    """What a draft wants of who has them all: room, for its bytes and for who reads them."""

    def take(self, size: int) -> None: ...

    def give(self, size: int) -> None: ...

    def take_room(self) -> memoryview: ...

    def give_room(self, room: memoryview) -> None: ...

    def put_back(self, draft: DraftFile) -> None: ...

    def stored_ahead(self, size: int) -> None: ...


class DraftFile:
    """One draft. Not for several threads at a time."""

    def __init__(self, disk: Disk, number: int, data: int, log: int) -> None:
        self._disk = disk
        self.number = number
        self._data = data
        self._log = log
        self.written = Written(0)
        self.ahead: Ahead | None = None
        self.is_lent = False  # another thread may be reading it, also when it has ended
        self._new_ahead: NewAhead | None = None
        self._header = b""  # as long as it is not in the log

    def begin(self, header: Header, ahead: NewAhead | None = None) -> None:
        self.written = Written(header.size)
        self._new_ahead = ahead
        # It comes with the first record: without one there is nothing to be recovered, and a write took 20 µs.
        self._header = json.dumps(dict(zip(_HEADER, _values(header), strict=True))).encode() + b"\n"

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises NoSpace, beyond what all drafts may have too."""
        stop = offset + len(data)
        new = self.written.spans.missing(offset, stop)
        self._disk.take(new)
        if self.ahead is not None:
            self.ahead.touched(offset, stop)
        try:
            with disk_faults():
                _write_all(self._data, data, offset)
                if new or stop > self.written.size:
                    self._note(RECORD.pack(WRITTEN, offset, stop))
        except BaseException:
            self._disk.give(new)
            raise
        self.written.write(offset, stop)
        if stop // PART_SIZE > offset // PART_SIZE:
            self._store_ahead(offset, stop)

    def _store_ahead(self, offset: int, stop: int) -> None:
        """The parts that have become complete by what was written to there."""
        for start in range(offset // PART_SIZE * PART_SIZE, stop // PART_SIZE * PART_SIZE, PART_SIZE):
            if self.written.spans.missing(start, start + PART_SIZE) == 0:
                self._begin_ahead()
                if self.ahead is not None:
                    self.ahead.store(start)

    def _begin_ahead(self) -> None:
        new, self._new_ahead = self._new_ahead, None
        if new is not None:
            with suppress(OSError):  # no descriptor is left: all is stored by the commit
                self.ahead = new(_Aside(self._data, self._disk).pieces, self._disk.stored_ahead)
                self.is_lent = True

    def cut(self, size: int) -> None:
        shorter = size < self.written.size
        if self.ahead is not None and shorter:
            self.ahead.touched(size, self.written.size)
        with disk_faults():
            self._note(RECORD.pack(CUT, size, 0))
        self._disk.give(self.written.cut(size))
        if shorter:  # the bytes beyond are nobody's; and what a file grows by needs none
            with suppress(OSError):
                os.ftruncate(self._data, size)

    def _note(self, record: bytes) -> None:
        """The whole of it, or nothing: what follows half a record could not be read."""
        record = self._header + record
        done = os.write(self._log, record)
        if done < len(record):
            os.ftruncate(self._log, os.fstat(self._log).st_size - done)
            raise NoSpace("the disk of the drafts is full")
        self._header = b""

    def read(self, start: int, stop: int) -> bytes:
        """Of one span."""
        with disk_faults():
            return os.pread(self._data, stop - start, start)

    def fill(self, room: memoryview, at: int) -> None:
        """With bytes of one span, from `at` on. By any thread, as long as nobody changes the draft."""
        with disk_faults():
            fill(self._data, room, at)

    @contextmanager
    def room(self) -> Iterator[memoryview]:
        """Memory for a piece, which is used again: new memory for each cost as much as storing it."""
        room = self._disk.take_room()
        try:
            yield room
        finally:
            self._disk.give_room(room)

    def end(self) -> None:
        """It was committed, or nobody wants it."""
        self._end_ahead()
        self._disk.give(self.written.spans.total)
        self.written = Written(0)
        self._disk.put_back(self)

    def keep(self) -> None:
        """It stays on the disk, to be recovered."""
        self._end_ahead()
        self.close()

    def _end_ahead(self) -> None:
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            ahead.drop()

    def clear(self) -> None:
        os.ftruncate(self._log, 0)  # first: from here on it is nobody's
        os.ftruncate(self._data, 0)

    def close(self) -> None:
        """Once; a number that is closed is somebody else's next file."""
        closing, self._data, self._log = (self._data, self._log), CLOSED, CLOSED
        for fd in closing:
            close(fd)


class _Aside:
    """The bytes of a draft for other threads. Once the draft has ended they may be any, or none."""

    def __init__(self, data: int, disk: Disk) -> None:
        """Raises OSError."""
        self._fd = CLOSED  # `__del__` runs also when the next line fails
        self._fd = os.dup(data)
        self._disk = disk

    def __del__(self) -> None:
        close(self._fd)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """In memory that is used again. Raises StoreUnavailable."""
        room = self._disk.take_room()
        try:
            for at in range(start, stop, PIECE_SIZE):
                piece = room[: min(PIECE_SIZE, stop - at)]
                with disk_faults():
                    fill(self._fd, piece, at)
                yield piece  # type: ignore[misc]  # a memoryview serves as bytes everywhere here
        finally:
            self._disk.give_room(room)


def close(fd: int) -> None:
    if fd != CLOSED:
        with suppress(OSError):  # of a disk with a fault
            os.close(fd)


def fill(fd: int, room: memoryview, at: int) -> None:
    """Raises OSError, also when the file ends before."""
    while room:
        done = os.preadv(fd, (room,), at)
        if not done:
            raise OSError(errno.EIO, "a draft was cut while it was read")
        room, at = room[done:], at + done


def _write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, offset)
        rest, offset = rest[done:], offset + done


class disk_faults:  # noqa: N801  # read as a statement: `with disk_faults():`
    """What the disk of the drafts says. Raises NoSpace, StoreUnavailable."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if isinstance(error, OSError):
            text = f"the disk of the drafts: {error.strerror or error}"
            raise (NoSpace(text) if error.errno in _FULL else StoreUnavailable(text)) from error


_FULL = (errno.ENOSPC, errno.EDQUOT)
