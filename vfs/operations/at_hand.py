"""Ranges of an opened content that can be had without waiting: its objects are files of this machine, whose bytes the
kernel has in memory.

For who must not wait, such as the loop of a mount: a thread for each read of 4 KiB was most of what it cost (364 µs of
the processor, without it 172). Whatever is not as usual (an object is away, or bad, or on a disk that has to turn) is
left to `opening.Reader`, which can do it all.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from itertools import accumulate

from vfs import metrics
from vfs.core import Kelp
from vfs.crypto.frames import FRAME_SIZE, SEALED_FRAME_SIZE
from vfs.crypto.opened_lists import OpenedList, Wanted
from vfs.crypto.parts import open_range
from vfs.errors import ContentCorrupt, KelpError
from vfs.model import BLOCK_SIZE, PIECE_SIZE, ByteRange, Content
from vfs.operations.verified import Verifier, verifier_of
from vfs.storage.object_store import near

_FEW_OPEN, _MOST_OPEN = 4, 64  # parts of one content: always, and as long as there are descriptors to spare
_SPARE = threading.Semaphore(192)  # of this process, which has 1,024 by itself
_PAGE = 2 << 20  # bytes of a huge page, of most processors
_SEALED_AT_ONCE = 4 * SEALED_FRAME_SIZE  # bytes that are opened at once; more take long enough for a thread

_FROM_MEMORY, _BYTES_OF_MEMORY = metrics.CACHE_READS.labels("memory"), metrics.CACHE_READ_BYTES.labels("memory")
_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")


def room() -> memoryview:
    """What `AtHand.read` fills: of whole pages, and where the kernel has them, of a huge one. To copy a MiB into it
    from a file, and out of it into a mount's answer, takes half of the time that it takes with other memory."""
    mapped = mmap.mmap(-1, max(2 * _PAGE, PIECE_SIZE + 2 * BLOCK_SIZE))  # the kernel begins it with a huge page
    with suppress(OSError):
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapped)[: PIECE_SIZE + 2 * BLOCK_SIZE]


def opened(kelp: Kelp, content: Content) -> AtHand | SealedAtHand | None:
    """None: `unsealing.reader` has to be asked, once at least, since what opens it is not in memory yet."""
    if content.seal is None:
        return AtHand(kelp, content)
    known = kelp.opened_lists.get(content.id)
    return None if known is None else SealedAtHand(kelp, content, known)


class AtHand:
    """One content, for as long as somebody holds it. Not for several threads at a time."""

    def __init__(self, kelp: Kelp, content: Content) -> None:
        self._kelp, self._content = kelp, content
        self._ends = list(accumulate(part.size for part in content.parts))
        self._opened: OrderedDict[int, tuple[int, Verifier] | None] = OrderedDict()  # None: another has to read it
        self._spare = 0  # descriptors of `_SPARE` that it has
        self._reads = self._bytes = 0
        self._store = near(kelp.cache)

    def read(self, start: int, stop: int, buffer: memoryview) -> bytes | memoryview | None:
        """Verified bytes, perhaps in `buffer`, which has room for them and for two blocks more; None: `Reader` has to
        be asked."""
        whole = self._kelp.small.get(self._content.id)
        if whole:
            self._kelp.holds.note_read(self._content.parts[0].key)
            _FROM_MEMORY.inc()
            _BYTES_OF_MEMORY.inc(stop - start)
            return whole[start:stop]
        number = bisect_right(self._ends, start)
        if self._store is None or start >= stop or number >= len(self._ends) or stop > self._ends[number]:
            return None
        begin = self._ends[number] - self._content.parts[number].size
        found = self._of_part(number, ByteRange(start - begin, stop - begin), buffer)
        if found is not None:
            self._reads += 1
            self._bytes += stop - start
        return found

    def _of_part(self, number: int, wanted: ByteRange, buffer: memoryview) -> memoryview | None:
        opened = self._open(number)
        if opened is None:
            return None
        fd, verifier = opened
        start, stop = verifier.span(wanted)
        if stop - start > len(buffer):
            return None
        read = buffer[: stop - start]
        try:
            if os.preadv(fd, (read,), start, os.RWF_NOWAIT) < len(read):
                return None
        except BlockingIOError:
            return None
        except OSError:  # a file system that cannot say so, or a bad disk
            self._let_go(number)
            return None
        if not verifier.is_good(start, read):
            self._let_go(number)
            return None
        return read[wanted.start - start : wanted.stop - start]

    def _open(self, number: int) -> tuple[int, Verifier] | None:
        if self._store is None or number in self._opened:
            return self._opened.get(number)
        part = self._content.parts[number]
        self._opened[number] = None
        try:
            verifier = verifier_of(self._kelp, part)
            if not verifier.is_known or verifier.span(ByteRange(0, 1)).stop > BLOCK_SIZE:
                return None
            self._opened[number] = self._store.open(part.key), verifier
        except KelpError:
            return None
        self._kelp.holds.note_read(part.key)
        if len(self._opened) > _FEW_OPEN + self._spare:
            if len(self._opened) <= _MOST_OPEN and _SPARE.acquire(blocking=False):
                self._spare += 1
            else:
                oldest = next(iter(self._opened))
                self._let_go(oldest)
                del self._opened[oldest]
        return self._opened[number]

    def _let_go(self, number: int) -> None:
        """Another has to read it from now on."""
        opened, self._opened[number] = self._opened[number], None
        if opened is not None:
            os.close(opened[0])

    def close(self) -> None:
        """Nothing is at hand any more. Once is enough, more do no harm."""
        self._store = None
        for number in self._opened:
            self._let_go(number)
        if self._spare:
            _SPARE.release(self._spare)
            self._spare = 0
        if self._reads:
            _FROM_CACHE.inc(self._reads)
            _BYTES_OF_CACHE.inc(self._bytes)
            self._reads = self._bytes = 0


class SealedAtHand:
    """The same of a sealed content: its frames are opened where they are asked for, 39 µs each, unless they are
    many."""

    def __init__(self, kelp: Kelp, content: Content, opened: OpenedList) -> None:
        self._kelp, self._content, self._list = kelp, content, opened
        self._stored = AtHand(kelp, content)
        self._frame: tuple[int, int, memoryview] | None = None  # what was opened last: from where to where, plain

    def read(self, start: int, stop: int, buffer: memoryview) -> bytes | memoryview | None:
        """As `AtHand.read`; `buffer` is for the sealed bytes."""
        if start >= stop:
            return None
        whole = self._kelp.small.get(self._content.id)
        if whole:
            self._kelp.holds.note_read(self._content.parts[0].key)
            return whole[start:stop]
        if self._frame is not None and self._frame[0] <= start and stop <= self._frame[1]:
            return self._frame[2][start - self._frame[0] : stop - self._frame[0]]
        wanted = next(self._list.wanted(start, stop), None)
        if wanted is None or wanted.stop - wanted.start != stop - start or wanted.last - wanted.first > _SEALED_AT_ONCE:
            return None
        return self._opened(wanted, start, stop, buffer)

    def _opened(self, wanted: Wanted, start: int, stop: int, buffer: memoryview) -> memoryview | None:
        """All of the frames, since whoever reads a little goes on beside it."""
        sealed = self._stored.read(wanted.first, wanted.last, buffer)
        if sealed is None:
            return None
        piece = wanted.slice
        first = wanted.start // FRAME_SIZE * FRAME_SIZE
        last = min(-(-wanted.stop // FRAME_SIZE) * FRAME_SIZE, piece.part_length)
        try:
            (plain,) = open_range(piece.part, piece.part_length, first, last, [sealed])
        except ContentCorrupt:  # said by who can say it
            return None
        # Of a part that is shown in part only, nothing else of it is kept.
        begin = start - (wanted.start - first)
        if (piece.offset, piece.length) == (0, piece.part_length):
            self._frame = begin, begin + len(plain), plain
        return plain[start - begin : stop - begin]

    def close(self) -> None:
        self._stored.close()
