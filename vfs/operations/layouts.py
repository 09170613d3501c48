"""Which objects a changed file is made of: those of the content before that nobody touched, and new ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from vfs.model import PART_SIZE, PIECE_SIZE, Part


class Shared(NamedTuple):
    """An object that is there already."""

    part: Part


class Fresh(NamedTuple):
    """Bytes of the file that are stored anew, in objects of PART_SIZE."""

    start: int
    stop: int
    unit: int = PART_SIZE


class Zeros(NamedTuple):
    """Bytes that nobody ever wrote, a multiple of `unit`: one object, again and again."""

    start: int
    stop: int
    unit: int = PART_SIZE


class Unit(NamedTuple):
    """Bytes of the file that become one object."""

    start: int
    stop: int


Layout = list[Shared | Fresh | Zeros]
_ZEROS = bytes(PIECE_SIZE)
T = TypeVar("T")


def lay_out(
    parts: Sequence[Part],
    limit: int,
    size: int,
    is_written: Callable[[int, int], bool],
    may_share: Callable[[str], bool] = lambda key: True,
) -> Layout:
    """`parts` of the content before, which shows through below `limit` where nothing `is_written`; `size` of the file.

    A content of one object has its name, so a single object cannot be shared. A last part that is not full, and that
    something follows now, is stored anew: else a file that grows line by line would have an object for each of them.
    """
    layout: Layout = []
    before = sum(part.size for part in parts)
    at = 0
    for part in parts:
        start, at = at, at + part.size
        if start >= size:
            break
        grows = at == before and size > at and part.size < PART_SIZE
        if at <= limit and part.checksum and not grows and may_share(part.key) and not is_written(start, at):
            layout.append(Shared(part))
        else:
            _add(layout, start, min(at, size))
    at = min(at, size)
    if at < size:
        _add_rest(layout, at, size, limit, is_written)
    if len(layout) == 1 and isinstance(layout[0], Shared):
        return [Fresh(0, size)]
    return layout


def _add(layout: Layout, start: int, stop: int) -> None:
    """New bytes; those that follow each other become one run."""
    if layout and isinstance(layout[-1], Fresh):
        layout[-1] = Fresh(layout[-1].start, stop)
    elif stop > start:
        layout.append(Fresh(start, stop))


def _add_rest(layout: Layout, start: int, size: int, limit: int, is_written: Callable[[int, int], bool]) -> None:
    """Beyond the parts, or without any: what was written, and holes."""
    at = start
    if layout and isinstance(layout[-1], Fresh):  # to where its last object is full
        at = min(size, start + -(start - layout[-1].start) % PART_SIZE)
        _add(layout, start, at)
    while at < size:
        stop = min(at + PART_SIZE, size)
        if stop - at == PART_SIZE and at >= limit and not is_written(at, stop):
            _add_zeros(layout, at, stop)
        else:
            _add(layout, at, stop)
        at = stop


def _add_zeros(layout: Layout, start: int, stop: int) -> None:
    if layout and isinstance(layout[-1], Zeros):
        layout[-1] = Zeros(layout[-1].start, stop)
    else:
        layout.append(Zeros(start, stop))


def new_bytes(layout: Layout) -> list[int]:
    """That are stored anew, of each piece."""
    return [
        piece.unit if isinstance(piece, Zeros) else piece.stop - piece.start
        for piece in layout
        if not isinstance(piece, Shared)
    ]


def units_of(layout: Layout) -> list[Unit]:
    """Of what is stored anew, but for zeros, in order."""
    return [unit for piece in layout if isinstance(piece, Fresh) for unit in units(piece)]


def units(piece: Fresh) -> list[Unit]:
    return [Unit(at, min(at + piece.unit, piece.stop)) for at in range(piece.start, piece.stop, piece.unit)]


def repeated(stored: Sequence[T], piece: Fresh | Zeros) -> list[T]:
    """What was stored for a piece, as often as it shows."""
    return list(stored) * ((piece.stop - piece.start) // piece.unit) if isinstance(piece, Zeros) else list(stored)


def zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= PIECE_SIZE
