"""What was read from the database, kept while it has not changed (design §8: keyed by a version, so never wrong).

A count in shared memory tells every process of the machine about every commit of any of them, at the cost of
looking at sixteen bytes: a statement would cost 20 µs, and the interpreter's lock at each.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from vfs import turns

T = TypeVar("T")

_COUNTS = struct.Struct("=QQ")  # changes ended, changes begun: in this order, since they are read in it
_UNKNOWN = object()
_MOST = 4096  # values kept; each is a few hundred bytes


class ChangeCount:
    """Counts the changes of one SQLite database in a file beside it, which all its processes map.

    Writers enter one after another: SQLite itself would have them look again after 1, 2, 5, … 100 ms, the kernel wakes
    the next one at once. Inside, `begin` and `end` are called by who holds the database's write lock too, so only one
    counts at a time. While a change is under way, or when its process died in it, the two counts differ until the next
    one has ended.
    """

    def __init__(self, file: Path) -> None:
        """Raises OSError."""
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size < _COUNTS.size:
                os.ftruncate(handle, _COUNTS.size)
            self._shared = mmap.mmap(handle, _COUNTS.size)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def value(self) -> int | None:
        """The number of changes so far; None while one is under way."""
        ended, begun = _COUNTS.unpack_from(self._shared)
        return begun if ended == begun else None

    def enter(self) -> None:
        """Wait until no other process writes."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with turns.waiting():
                fcntl.flock(self._handle, fcntl.LOCK_EX)

    def leave(self) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)

    def begin(self) -> int:
        ended, begun = _COUNTS.unpack_from(self._shared)
        _COUNTS.pack_into(self._shared, 0, ended, begun + 1)
        return int(begun + 1)

    def end(self, number: int) -> None:
        """The change `number` can be seen by everybody, or never will be."""
        struct.pack_into("=Q", self._shared, 0, number)

    def close(self) -> None:
        if self._handle >= 0:
            self._shared.close()
            os.close(self._handle)
            self._handle = -1


class Memory:
    """Values read since the last change; forgotten, all together, with the next one."""

    def __init__(self, count: ChangeCount) -> None:
        self._count = count
        self._kept: tuple[int, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, look: Callable[[], T]) -> T:
        """The value under `key`, or what `look` finds in the database, which must depend on nothing else.

        What is kept under a number was read after that number was seen, and is given only while it is the current one.
        """
        now = self._count.value()
        if now is None:
            return look()
        number, values = self._kept
        if number != now:
            values = {}
            self._kept = (now, values)
        elif (known := values.get(key, _UNKNOWN)) is not _UNKNOWN:
            return known  # type: ignore[return-value]  # a key always stands for the same kind of value
        found = look()
        if len(values) >= _MOST:
            values.clear()
        values[key] = found
        return found
