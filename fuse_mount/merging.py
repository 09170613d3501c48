"""What a file becomes that was written to in places: the bytes of its draft, over those of the content below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from fuse_mount.draft_file import DraftFile
from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE

Below = Callable[[int, int], Iterator[bytes]]  # the content from one byte to another, in pieces of any size

_FEW = 64 * 1024  # bytes


class _Piece(NamedTuple):
    """`shown`: where the content below ends in it; nothing of that is wanted when it is no more than `start`."""

    start: int
    shown: int
    stop: int

    @property
    def wants_below(self) -> bool:
        return self.shown > self.start


def merged(draft: DraftFile, below: Below, start: int, stop: int) -> Iterator[bytes]:
    """In pieces of at most PIECE_SIZE, each of which is gone when the next is asked for. By any thread, as long as
    nobody changes the draft. Raises StoreUnavailable, and what `below` raises.

    Of a piece that was written here and there, the content is read as a whole: to read what lies between the spans,
    each by itself, took several times as long, since blocks are verified as a whole.
    """
    spans = draft.written.spans
    if stop - start <= _FEW and spans.missing(start, stop) == 0:
        if start < stop:
            yield draft.read(start, stop)
        return
    with draft.room() as room:
        for wants, run in groupby(_pieces(draft, start, stop), lambda piece: piece.wants_below):
            pieces = list(run)
            stream = _Stream(below(pieces[0].start, pieces[-1].shown)) if wants else None
            for piece in pieces:
                filled = room[: piece.stop - piece.start]
                if stream is not None:
                    stream.fill(filled[: piece.shown - piece.start])
                yield _written(draft, piece, filled)


def _pieces(draft: DraftFile, start: int, stop: int) -> Iterator[_Piece]:
    written = draft.written
    for at in range(start, stop, PIECE_SIZE):
        end = min(at + PIECE_SIZE, stop)
        shown = min(end, written.limit)
        yield _Piece(at, shown if written.spans.missing(at, shown) else at, end)


def _written(draft: DraftFile, piece: _Piece, filled: memoryview) -> bytes:
    """The same memory, with what was written, and zero where nothing is."""
    at = piece.shown
    for first, last in draft.written.spans.within(piece.start, piece.stop):
        if at < first:
            filled[at - piece.start : first - piece.start] = bytes(first - at)
        draft.fill(filled[first - piece.start : last - piece.start], first)
        at = max(at, last)
    if at < piece.stop:
        filled[at - piece.start :] = bytes(piece.stop - at)
    return filled  # type: ignore[return-value]  # a memoryview serves as bytes everywhere here


class _Stream:
    """Chunks of any size, taken by other sizes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def fill(self, room: memoryview) -> None:
        while room:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    raise ContentCorrupt("a content ended before its end")
            size = min(len(room), len(self._rest))
            room[:size], self._rest = self._rest[:size], self._rest[size:]
            room = room[size:]
