"""Part lists that were opened, for who reads: where each part's sealed bytes are, and those opened lately in memory."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from vfs.crypto import frames
from vfs.crypto.part_lists import PartList, Slice
from vfs.crypto.vault_keys import VaultKey

_MOST_BYTES = 64 * 1024 * 1024  # of all: a file of 1 TiB has 131,072 parts
_TRUSTED = 5.0  # seconds for which the key of a vault is not looked up again
_OF_A_LIST, _OF_A_SLICE = 1000, 350  # bytes (measured: 330 a slice)


class Wanted(NamedTuple):
    """A range of one part: its plain bytes `start` … `stop`-1, which are opened from bytes `first` … `last`-1 of the
    sealed content."""

    number: int  # of the slice
    slice: Slice
    start: int
    stop: int
    first: int
    last: int


class OpenedList:
    """The parts of one content, in order; immutable. In the sealed content each is there whole."""

    def __init__(self, parts: PartList) -> None:
        self.slices = parts.slices
        self._ends = array("q", accumulate(piece.length for piece in self.slices))
        self._stored = array("q", accumulate(frames.sealed_length(piece.part_length) for piece in self.slices))

    @property
    def size(self) -> int:
        """Plain bytes of the content."""
        return self._ends[-1] if self._ends else 0

    @property
    def stored_size(self) -> int:
        return self._stored[-1] if self._stored else 0

    def wanted(self, start: int, stop: int) -> Iterator[Wanted]:
        """What holds plain bytes [start, stop) of the content, in order. Fewer bytes where the content ends before."""
        for number in range(bisect_right(self._ends, start), len(self.slices)):
            piece = self.slices[number]
            at = self._ends[number] - piece.length
            if at >= stop or start >= stop:
                return
            low = piece.offset + max(start - at, 0)
            high = piece.offset + min(stop - at, piece.length)
            begin = self._stored[number - 1] if number else 0
            sealed = frames.sealed_range(piece.part_length, low, high)
            yield Wanted(number, piece, low, high, begin + sealed.start, begin + sealed.stop)


class OpenedLists:
    """By content, which never changes. What was not read for the longest goes first; for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, OpenedList] = OrderedDict()
        self._bytes = 0
        self._vaults: dict[int, tuple[float, VaultKey]] = {}
        self._guard = threading.Lock()

    def vault(self, id: int) -> VaultKey | None:
        """The key of a vault, by its row; None: whether this process may open it has to be looked up again."""
        found = self._vaults.get(id)
        return found[1] if found is not None and time.monotonic() < found[0] + _TRUSTED else None

    def keep_vault(self, id: int, key: VaultKey) -> None:
        self._vaults[id] = time.monotonic(), key

    def get(self, content_id: str) -> OpenedList | None:
        with self._guard:
            found = self._kept.get(content_id)
            if found is not None:
                self._kept.move_to_end(content_id)
            return found

    def keep(self, content_id: str, opened: OpenedList) -> None:
        weight = _weight(opened)
        if weight > _MOST_BYTES:
            return
        with self._guard:
            if content_id in self._kept:
                return
            self._kept[content_id] = opened
            self._bytes += weight
            while self._bytes > _MOST_BYTES:
                self._bytes -= _weight(self._kept.popitem(last=False)[1])


def _weight(opened: OpenedList) -> int:
    return _OF_A_LIST + len(opened.slices) * _OF_A_SLICE
