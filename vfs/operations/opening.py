"""Open a content for reading: from the cache, and what that cannot give from the NAS, every byte verified (design §6).

A reader does not look at statuses of objects. It asks the cache by key; what is absent or wrong there it takes from the
NAS at the same byte, and `healing` is told in the background.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from vfs import metrics, turns
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, ContentLost, KelpError, NasFault, ObjectMissing, StoreUnavailable
from vfs.holds import Hold
from vfs.model import ByteRange, Content, Part
from vfs.operations import healing, learning, nas_copies
from vfs.operations.learning import NasFileChanged
from vfs.operations.verified import Verifier, verifier_of
from vfs.storage.small_contents import SMALL

log = logging.getLogger(__name__)

_CACHE_FAULTS = (ObjectMissing, ContentCorrupt, StoreUnavailable)
_NAS_FAULTS = (ObjectMissing, ContentCorrupt, StoreUnavailable, NasFault)
_PROVEN = (ObjectMissing, ContentCorrupt)

_FROM_MEMORY, _BYTES_OF_MEMORY = metrics.CACHE_READS.labels("memory"), metrics.CACHE_READ_BYTES.labels("memory")
_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")
_CORRUPT = metrics.CORRUPT.labels("cache")
_size = attrgetter("size")


class _Wanted(NamedTuple):
    """A range of one part, which begins at `offset` in the content."""

    number: int
    part: Part
    range: ByteRange
    offset: int


_Ahead: TypeAlias = tuple[Verifier, Iterator[bytes]]


class Reader:
    """One content, opened: until its first stream has ended, in whatever way, it is neither evicted nor freed.

    The first piece is read at the call, so what is missing shows before a byte went out. From a store that gains by it,
    the next part is on its way while one is sent: asked for, it fills the buffers of its connection.
    """

    def __init__(self, kelp: Kelp, content: Content, *, counted: bool = True) -> None:
        """`counted`: somebody wants to see it, so that it is worth keeping in cache and memory."""
        self._kelp = kelp
        self._content = content
        self._counted = counted
        self._is_small = content.size <= SMALL and content.seal is None  # who opens sealed ones keeps what they show
        self._hold: Hold | None = None if self._is_small else kelp.holds.hold(content.id)  # the first stream's
        self._away: StoreUnavailable | None = None  # what the cache said when it was away: then the NAS is asked first
        self.size = content.size

    def chunks(self, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        """Pieces of at most PIECE_SIZE bytes, all of them verified.

        Raises, here or while they are read, ContentLost when both cache and NAS proved not to have them,
        StoreUnavailable when one of them that may have them is away, NasFileChanged for an adopted file.
        """
        start, stop = byte_range or ByteRange(0, self.size)
        if self._is_small:
            return iter((self._small()[start:stop],))
        hold, self._hold = self._hold or self._kelp.holds.hold(self._content.id), None
        return begun(unhurried(self._pieces(start, stop, hold)))

    def stored(self, number: int) -> Iterator[bytes]:
        """All of one part as it is stored: sealed, when the content is. Raises as `chunks`."""
        part = self._content.parts[number]
        wanted = _Wanted(number, part, ByteRange(0, part.size), self._content.offset_of(number))
        hold = self._kelp.holds.hold(self._content.id)
        return begun(unhurried(self._stored(wanted, hold)))

    def _stored(self, wanted: _Wanted, hold: Hold) -> Iterator[bytes]:
        with hold:
            yield from self._part(wanted, verifier_of(self._kelp, wanted.part), None)

    def _small(self) -> bytes:
        """All of a small content, from memory when it was read lately."""
        kelp, content = self._kelp, self._content
        whole = kelp.small.get(content.id)
        if whole is None:
            whole = b"".join(unhurried(self._pieces(0, self.size, kelp.holds.hold(content.id))))
            if content.checksum and self._counted:
                kelp.small.keep(content.id, whole)
        elif whole:
            kelp.holds.note_read(content.parts[0].key)
            _FROM_MEMORY.inc()
            _BYTES_OF_MEMORY.inc(len(whole))
        return whole

    def _wanted(self, start: int, stop: int) -> list[_Wanted]:
        parts = self._content.parts
        if start >= stop:
            return []
        ends = list(accumulate(map(_size, parts)))
        wanted = []
        for number in range(bisect_right(ends, start), len(parts)):
            part = parts[number]
            offset = ends[number] - part.size
            if offset >= stop:
                break
            wanted.append(
                _Wanted(number, part, ByteRange(max(start - offset, 0), min(stop - offset, part.size)), offset)
            )
        return wanted

    def _pieces(self, start: int, stop: int, hold: Hold) -> Iterator[bytes]:
        with hold:
            wanted = self._wanted(start, stop)
            early = self._kelp.cache.at_once > 1
            ahead: _Ahead | None = None
            for number, this in enumerate(wanted):
                later = wanted[number + 1] if early and number + 1 < len(wanted) else None
                verifier, stream = ahead or (verifier_of(self._kelp, this.part), None)
                ahead = None
                for piece in self._part(this, verifier, stream):
                    yield piece
                    if later is not None:
                        ahead, later = self._ahead(later), None

    def _ahead(self, wanted: _Wanted) -> _Ahead | None:
        """What the cache has of a later part, when it can be had now; if not, it is asked for again in its turn."""
        try:
            verifier = verifier_of(self._kelp, wanted.part)
            return verifier, self._kelp.cache.get(wanted.part.key, verifier.span(wanted.range))
        except _CACHE_FAULTS:
            return None

    def _part(self, wanted: _Wanted, verifier: Verifier, ahead: Iterator[bytes] | None) -> Iterator[bytes]:
        """One part from whichever store has it: when one fails, the other goes on at that byte.

        After the NAS failed the cache is asked once more: it may have come back there, and left the NAS meanwhile.
        """
        at, stop = wanted.range
        failed_at = -1
        nas_fault: KelpError | None = None
        fault: KelpError | None = self._away
        while True:
            if fault is None:
                try:
                    for piece in self._from_cache(verifier, ByteRange(at, stop), ahead):
                        at += len(piece)
                        yield piece
                    break
                except _CACHE_FAULTS as error:
                    fault, ahead = self._noticed(_bare(error)), None
                if nas_fault is not None and at == failed_at:
                    raise self._verdict(wanted, fault, nas_fault) from nas_fault
            try:
                for piece in self._from_nas(verifier, wanted, ByteRange(at, stop), fault):
                    at += len(piece)
                    yield piece
                break
            except _NAS_FAULTS as error:
                failed_at, nas_fault, fault = at, _bare(error), None
        if self._counted:
            self._kelp.holds.note_read(wanted.part.key)
        if verifier.learned:
            healing.learn_blocks(self._kelp, wanted.part, verifier.learned)

    def _from_cache(
        self, verifier: Verifier, wanted: ByteRange, ahead: Iterator[bytes] | None = None
    ) -> Iterator[bytes]:
        stream = ahead or self._kelp.cache.get(verifier.part.key, verifier.span(wanted))
        for piece in verifier.pieces(stream, wanted, "cache"):
            _BYTES_OF_CACHE.inc(len(piece))
            yield piece
        _FROM_CACHE.inc()

    def _noticed(self, fault: KelpError) -> KelpError:
        evicted = isinstance(fault, ObjectMissing)  # every day's work; what was lost is an alert, see `restoring`
        log.log(logging.DEBUG if evicted else logging.WARNING, "%s: reading from the NAS", fault)
        if isinstance(fault, StoreUnavailable):
            self._away = fault
        elif isinstance(fault, ContentCorrupt):
            _CORRUPT.inc()
        return fault

    def _from_nas(self, verifier: Verifier, wanted: _Wanted, rest: ByteRange, fault: KelpError) -> Iterator[bytes]:
        """What the cache lacks; it comes back there, from these very bytes when they are the whole part."""
        heals = isinstance(fault, _PROVEN) and verifier.is_known
        tee = healing.tee(wanted.part) if heals and rest == (0, wanted.part.size) else None
        if heals and tee is None:
            healing.ask(self._kelp, self._content, wanted.number, fault)
        try:
            for piece in nas_copies.read(self._kelp, self._content, verifier, rest, wanted.offset):
                if tee is not None:
                    tee.add(piece)
                yield piece
            if tee is not None:
                healing.ask(self._kelp, self._content, wanted.number, fault, tee)
                tee = None
        finally:
            if tee is not None:
                tee.drop()

    def _verdict(self, wanted: _Wanted, fault: KelpError, nas_fault: KelpError) -> KelpError:
        """Why nobody could give it; an admin is told when nobody ever will."""
        kelp, content = self._kelp, self._content
        if isinstance(nas_fault, NasFileChanged):
            message = str(nas_fault)
            kelp.background.submit("changed on the NAS", lambda: learning.tell_changed(kelp, message))
            return nas_fault
        for error in (nas_fault, fault):
            if isinstance(error, StoreUnavailable):
                return error
        if not isinstance(nas_fault, _PROVEN):
            return StoreUnavailable(f"not in the cache, and not to be had from the NAS: {nas_fault}")
        with kelp.database.read() as tx:
            if not tx.contents.in_use(content.id):
                return StoreUnavailable("the content has just been freed", retry_after=1)
        healing.lost(kelp, content, wanted.number)
        return ContentLost(f"the content is good in neither the cache nor the NAS: {fault}; {nas_fault}")


def _bare(error: KelpError) -> KelpError:
    """Without the frames it came through: kept by one of them, it would keep their open streams till who knows when."""
    return error.with_traceback(None)


def begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, with the first one read already."""
    first = next(pieces, None)
    return iter(()) if first is None else _with(first, pieces)


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    del first
    yield from rest


def unhurried(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces; others may run while a store looks for the next."""
    while True:
        with turns.waiting():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
