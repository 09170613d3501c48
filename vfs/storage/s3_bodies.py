"""Bodies on their way out: cut for the network, and for an upload in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vfs.model import PART_SIZE, PIECE_SIZE
from vfs.storage.s3_wire import Body


def cut(pieces: Sequence[bytes]) -> Body:
    """The same bytes in pieces of at most PIECE_SIZE, so that a slow endpoint is seen to take them."""
    short: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) <= PIECE_SIZE:
            short.append(piece)
        else:
            view = memoryview(piece)
            short += [view[at : at + PIECE_SIZE] for at in range(0, len(piece), PIECE_SIZE)]
    return short


def in_parts(chunks: Iterable[bytes | memoryview]) -> Iterator[list[bytes]]:
    """The bytes in lists of PART_SIZE together; the last is shorter."""
    pieces: list[bytes] = []
    room = PART_SIZE
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            pieces.append(bytes(view[:room]))
            view = view[room:]
            room -= len(pieces[-1])
            if not room:
                yield pieces
                pieces, room = [], PART_SIZE
    if pieces:
        yield pieces
