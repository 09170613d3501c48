"""What a file becomes that was written to in places: the bytes of its draft, over those of the content below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby
from typing import NamedTuple

from fuse_mount.draft_file import DraftFile
from vfs.core import Kelp
from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE, ByteRange, Content
from vfs.operations import at_hand, unsealing
from vfs.operations.at_hand import AtHand, SealedAtHand

_FEW = 64 * 1024  # bytes
_RUN = 64 * PIECE_SIZE  # bytes that are read from below as one; a file has any number of them


class _Piece(NamedTuple):
    """`shown`: where the content below ends in it; nothing of that is wanted when it is no more than `start`."""

    start: int
    shown: int
    stop: int

    @property
    def wants_below(self) -> bool:
        return self.shown > self.start


class ContentBelow:
    """The content that a draft is made of."""

    def __init__(self, kelp: Kelp, content: Content) -> None:
        self._kelp, self._content = kelp, content

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        """In pieces of any size. Raises ContentLost, StoreUnavailable."""
        return unsealing.reader(self._kelp, self._content).chunks(ByteRange(start, stop))

    def at_hand(self) -> AtHand | SealedAtHand | None:
        """What of it is in memory; None: nothing. The caller closes it."""
        return at_hand.opened(self._kelp, self._content)


def merged(draft: DraftFile, below: ContentBelow, start: int, stop: int) -> Iterator[bytes]:
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
        for (wants, _), run in groupby(_pieces(draft, start, stop), _run_of):
            pieces = list(run)
            with _Filling(below, pieces[-1].shown) if wants else nullcontext() as filling:
                for piece in pieces:
                    if filling is not None:
                        filling.fill(room, piece)
                    yield _written(draft, piece, room[: piece.stop - piece.start])


def _pieces(draft: DraftFile, start: int, stop: int) -> Iterator[_Piece]:
    written = draft.written
    for at in range(start, stop, PIECE_SIZE):
        end = min(at + PIECE_SIZE, stop)
        shown = min(end, written.limit)
        yield _Piece(at, shown if written.spans.missing(at, shown) else at, end)


def _run_of(piece: _Piece) -> tuple[bool, int]:
    return piece.wants_below, piece.start // _RUN


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


class _Filling:
    """Fills pieces that follow each other with what lies below, up to `stop`: as long as that is in memory straight
    from there, else from a stream."""

    def __init__(self, below: ContentBelow, stop: int) -> None:
        self._below, self._stop = below, stop
        self._at_hand = below.at_hand()
        self._stream: _Stream | None = None

    def __enter__(self) -> _Filling:
        return self

    def __exit__(self, *_: object) -> None:
        if self._at_hand is not None:
            self._at_hand.close()

    def fill(self, room: memoryview, piece: _Piece) -> None:
        """The beginning of `room`."""
        filled = room[: piece.shown - piece.start]
        if self._stream is None:
            found = self._at_hand.read(piece.start, piece.shown, room) if self._at_hand is not None else None
            if found is not None:
                filled[:] = found  # it may be in `room`, and not at its beginning
                return
            self._stream = _Stream(self._below.stream(piece.start, self._stop))
        self._stream.fill(filled)


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
