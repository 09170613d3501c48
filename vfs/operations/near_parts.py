"""Sealed parts whose objects are files of this machine: read and opened there, into memory that is used again.

Through `opening.Reader` a long stream cost 2.3 times what a plain one costs: sealed pieces in memory of their own, cut
anew to frames, opened into more memory by one thread after another. Here the sums of blocks are not looked at: each
frame proves itself, against more than they do. Whatever is not as usual (an object is away, or bad) ends this, and is
left to `Reader`, which finds out and heals.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from vfs import metrics
from vfs.core import Kelp
from vfs.crypto import frames
from vfs.crypto.frames import FRAME_SIZE, SEALED_FRAME_SIZE
from vfs.crypto.opened_lists import Wanted
from vfs.crypto.parts import Opener
from vfs.errors import ContentCorrupt, KelpError
from vfs.model import PIECE_SIZE, Content
from vfs.operations.sealed_contents import object_key
from vfs.storage.object_store import Near, near

_AT_ONCE = 4  # frames that are read at once: what is opened next is still in the processor's memory
_LONG = 4 * PIECE_SIZE  # bytes of a stream from which on a second thread helps
# Such threads of a process; a stream without one costs a fifth less, which counts where there are many.
_SPARE = threading.Semaphore(len(os.sched_getaffinity(0)) - 1)
_AHEAD = 2  # pieces that are opened, or wait to be, beside the one that is asked for

_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")


class _Rooms:
    """Memory for the pieces of one stream. A room is used again once nobody has a view of it, so whoever keeps a piece
    keeps its bytes as they are. For one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._all: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """Bytes that nobody else has."""
        for room in self._all:
            if not _is_viewed(room):
                return memoryview(room)[:size]
        self._all.append(bytearray(self._size))
        return memoryview(self._all[-1])[:size]


def _is_viewed(room: bytearray) -> bool:
    """A bytearray that somebody has a view of cannot be resized. References are not counted for this: how many there
    are differs from one release of Python to another (fewer from 3.14 on), and one too few would be wrong bytes."""
    try:
        room.append(room.pop())
    except BufferError:
        return True
    return False


class _Part:
    """An object, opened. It is closed when nobody has it any more."""

    def __init__(self, fd: int, wanted: Wanted) -> None:
        self._fd = fd
        self._opener = Opener(wanted.slice.part, wanted.slice.part_length)

    def read(self, first: int, plain: memoryview, scratch: memoryview) -> None:
        """Frames from `first` on, as many as `plain` has room for. Raises OSError, ContentCorrupt."""
        step = _AT_ONCE * FRAME_SIZE
        for at in range(0, len(plain), step):
            into, number = plain[at : at + step], first + at // FRAME_SIZE
            sealed = scratch[: frames.sealed_length(len(into))]
            if os.preadv(self._fd, (sealed,), number * SEALED_FRAME_SIZE) < len(sealed):
                raise ContentCorrupt("the object is shorter than it was")
            self._opener.open(number, sealed, into)

    def __del__(self) -> None:
        os.close(self._fd)


class _Piece(NamedTuple):
    """Frames of a part from `first` on, and what of them is wanted. `scratch` is for the sealed ones."""

    part: _Part
    first: int
    plain: memoryview
    scratch: memoryview
    shown: slice

    def open(self) -> memoryview:
        self.part.read(self.first, self.plain, self.scratch)
        return self.plain[self.shown].toreadonly()


class NearParts:
    """For one stream, of `size` bytes."""

    def __init__(self, kelp: Kelp, content: Content, store: Near, size: int) -> None:
        self._kelp, self._content, self._store, self._size = kelp, content, store, size
        whole = min(PIECE_SIZE, -(-size // FRAME_SIZE) * FRAME_SIZE + FRAME_SIZE)
        self._rooms, self._scratch = _Rooms(whole), _Rooms(min(_AT_ONCE * SEALED_FRAME_SIZE, 2 * whole))

    def pieces(self, wanted: Iterable[Wanted]) -> Iterator[memoryview]:
        """At most 1 MiB each, in order; they end early where the rest must be had from elsewhere."""
        pieces = self._unopened(wanted)
        try:
            if self._size >= _LONG and _SPARE.acquire(blocking=False):
                try:
                    with ThreadPoolExecutor(1, thread_name_prefix="opening") as thread:
                        yield from _by_two(pieces, thread)
                finally:
                    _SPARE.release()
            else:
                for piece in pieces:
                    yield piece.open()
        except (OSError, ContentCorrupt):  # as there
            return

    def _unopened(self, wanted: Iterable[Wanted]) -> Iterator[_Piece]:
        """Up to the first object that cannot be opened: what is on its way by then is whole, and read only once."""
        with suppress(KelpError):  # said by who can say which
            for each in wanted:
                yield from self._of_part(each)

    def _of_part(self, wanted: Wanted) -> Iterator[_Piece]:
        """Raises KelpError."""
        length, key = wanted.slice.part_length, object_key(wanted.slice.part.id)
        if key != self._content.parts[wanted.number].key:
            raise ContentCorrupt("somebody has changed the database")
        part = _Part(self._store.open(key), wanted)
        at = wanted.start // FRAME_SIZE * FRAME_SIZE
        while at < wanted.stop:
            end = min(at + PIECE_SIZE, -(-wanted.stop // FRAME_SIZE) * FRAME_SIZE, length)
            plain = self._rooms.take(end - at)
            scratch = self._scratch.take(min(len(plain) // FRAME_SIZE + 1, _AT_ONCE) * SEALED_FRAME_SIZE)
            shown = slice(max(wanted.start - at, 0), wanted.stop - at)
            yield _Piece(part, at // FRAME_SIZE, plain, scratch, shown)
            at = end
        self._kelp.holds.note_read(key)
        _FROM_CACHE.inc()
        _BYTES_OF_CACHE.inc(wanted.last - wanted.first)


def _by_two(pieces: Iterator[_Piece], thread: ThreadPoolExecutor) -> Iterator[memoryview]:
    """Opened in order, ahead by a thread; who would have to wait for it opens what it has not begun."""
    waiting: deque[tuple[_Piece, Future[memoryview]]] = deque()
    try:
        for piece in pieces:
            waiting.append((piece, thread.submit(piece.open)))
            del piece
            if len(waiting) > _AHEAD:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        for _, opening in waiting:
            opening.cancel()


def _first(waiting: deque[tuple[_Piece, Future[memoryview]]]) -> memoryview:
    if not waiting[0][1].done():
        for number, (piece, opening) in enumerate(waiting):
            if opening.cancel():
                mine: Future[memoryview] = Future()
                mine.set_result(piece.open())
                waiting[number] = piece, mine
                break
    return waiting.popleft()[1].result()


def of_stream(kelp: Kelp, content: Content, size: int) -> NearParts | None:
    """None: the objects are elsewhere."""
    store = near(kelp.cache)
    return None if store is None else NearParts(kelp, content, store, size)
