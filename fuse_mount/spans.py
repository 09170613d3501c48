"""Which bytes of a file were written: sorted spans that neither touch nor overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from vfs.model import PIECE_SIZE

Span = tuple[int, int]  # start, stop (half open)

_ZEROS = bytes(PIECE_SIZE)


class Spans:
    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.total = 0
        """Bytes in all spans."""

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._stops, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def add(self, start: int, stop: int) -> int:
        """How many of these bytes are new."""
        if start >= stop:
            return 0
        first = bisect_left(self._stops, start)  # spans that touch it become one with it
        last = bisect_right(self._starts, stop)
        known = sum(self._stops[n] - self._starts[n] for n in range(first, last))
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        new = stop - start - known
        self.total += new
        return new

    def missing(self, start: int, stop: int) -> int:
        """How many bytes `add` would find new."""
        return max(stop - start, 0) - sum(b - a for a, b in self.within(start, stop))

    def cut(self, at: int) -> int:
        """Forget what is at `at` and beyond; how many bytes that were."""
        first = bisect_right(self._stops, at)
        gone = sum(self._stops[n] - max(self._starts[n], at) for n in range(first, len(self._stops)))
        if first < len(self._starts) and self._starts[first] < at:
            self._stops[first] = at
            first += 1
        del self._starts[first:], self._stops[first:]
        self.total -= gone
        return gone

    def clear(self) -> None:
        self.cut(0)

    def within(self, start: int, stop: int) -> Iterator[Span]:
        """The spans, as far as they lie between `start` and `stop`."""
        for n in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[n] >= stop or start >= stop:
                return
            yield max(self._starts[n], start), min(self._stops[n], stop)

    def touch(self, start: int, stop: int) -> bool:
        """Any byte between the two is in a span."""
        return next(self.within(start, stop), None) is not None


def gap(start: int, stop: int, limit: int) -> Iterator[bytes | tuple[int, int]]:
    """Nobody wrote there: as in the content below `limit`, zero beyond."""
    shown = min(stop, limit)
    if start < shown:
        yield start, shown
    for at in range(max(start, shown), stop, PIECE_SIZE):
        yield _ZEROS[: stop - at]
