"""Sealed parts whose objects are files of this machine: read and opened there, into memory that is used again.

Through `opening.Reader` a long stream cost 2.3 times what a plain one costs: sealed pieces in memory of their own, cut
anew to frames, opened into more memory by one thread after another. Here the sums of blocks are not looked at: each
frame proves itself, against more than they do. Whatever is not as usual (an object is away, or bad) ends this, and is
left to `Reader`, which finds out and heals.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from vfs import metrics
from vfs.core import Kelp
from vfs.crypto.frames import FRAME_SIZE, SEALED_FRAME_SIZE, TAG_SIZE
from vfs.crypto.opened_lists import Wanted
from vfs.crypto.parts import Opener
from vfs.errors import ContentCorrupt, KelpError
from vfs.model import PIECE_SIZE, Content
from vfs.operations.sealed_contents import object_key
from vfs.storage.object_store import Near, near

_AT_ONCE = 4  # frames that are read at once: what is opened next is still in the processor's memory
_UNUSED = 3  # references to a room that only `Rooms` has: its list's, the loop's and that of the question itself

_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")


class Rooms:
    """Memory for the pieces of one stream. A room is used again once nobody has a view of it: a view holds a reference
    to what it shows, so whoever keeps a piece keeps its bytes as they are. For one thread."""

    def __init__(self) -> None:
        self._all: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """At most PIECE_SIZE bytes, which nobody else has."""
        for room in self._all:
            if sys.getrefcount(room) <= _UNUSED:
                return memoryview(room)[:size]
        self._all.append(bytearray(PIECE_SIZE))
        return memoryview(self._all[-1])[:size]


class NearParts:
    """For one stream."""

    def __init__(self, kelp: Kelp, content: Content, store: Near, size: int) -> None:
        """`size`: of the stream, in bytes."""
        self._kelp, self._content, self._store = kelp, content, store
        self._rooms = Rooms() if size > PIECE_SIZE else None
        self._sealed = memoryview(bytearray(min(_AT_ONCE, -(-size // FRAME_SIZE) + 1) * SEALED_FRAME_SIZE))

    def pieces(self, wanted: Wanted) -> Iterator[memoryview]:
        """What is wanted of one part, in pieces of at most 1 MiB; fewer when the rest must be had from elsewhere."""
        key = object_key(wanted.slice.part.id)
        if key != self._content.parts[wanted.number].key:  # somebody has changed the database
            return
        try:
            fd = self._store.open(key)
        except KelpError:
            return
        try:
            yield from self._opened(fd, wanted)
            self._kelp.holds.note_read(key)
            _FROM_CACHE.inc()
        except (OSError, ContentCorrupt):  # said by who can say which
            return
        finally:
            os.close(fd)

    def _opened(self, fd: int, wanted: Wanted) -> Iterator[memoryview]:
        """Raises OSError, ContentCorrupt."""
        length = wanted.slice.part_length
        opener = Opener(wanted.slice.part, length)
        at = wanted.start // FRAME_SIZE * FRAME_SIZE
        while at < wanted.stop:
            end = min(at + PIECE_SIZE, -(-wanted.stop // FRAME_SIZE) * FRAME_SIZE, length)
            plain = self._rooms.take(end - at) if self._rooms else memoryview(bytearray(end - at))
            self._fill(fd, opener, at // FRAME_SIZE, plain)
            yield plain[max(wanted.start - at, 0) : wanted.stop - at].toreadonly()
            at = end

    def _fill(self, fd: int, opener: Opener, first: int, plain: memoryview) -> None:
        step = _AT_ONCE * FRAME_SIZE
        for at in range(0, len(plain), step):
            into = plain[at : at + step]
            sealed = self._sealed[: len(into) + TAG_SIZE * -(-len(into) // FRAME_SIZE)]
            number = first + at // FRAME_SIZE
            if os.preadv(fd, (sealed,), number * SEALED_FRAME_SIZE) < len(sealed):
                raise ContentCorrupt("the object is shorter than it was")
            opener.open(number, sealed, into)
            _BYTES_OF_CACHE.inc(len(sealed))


def of_stream(kelp: Kelp, content: Content, size: int) -> NearParts | None:
    """None: the objects are elsewhere."""
    store = near(kelp.cache)
    return None if store is None else NearParts(kelp, content, store, size)
