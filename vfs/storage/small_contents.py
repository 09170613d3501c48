"""Small contents that were read lately, in memory: opening a file costs as much as the rest of a small GET."""

from __future__ import annotations

import threading
from collections import OrderedDict

SMALL = 64 * 1024  # bytes of one content
_MOST_BYTES = 16 * 1024 * 1024  # of all, per process
_OVERHEAD = 200  # bytes that an entry of the table takes beside its content (measured: 190)


class SmallContents:
    """Contents are immutable, so nothing in here can be out of date. What was not read for the longest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()

    def get(self, content_id: str) -> bytes | None:
        with self._guard:
            content = self._kept.get(content_id)
            if content is not None:
                self._kept.move_to_end(content_id)
            return content

    def keep(self, content_id: str, content: bytes) -> None:
        if len(content) > SMALL:
            return
        with self._guard:
            if content_id in self._kept:
                return
            self._kept[content_id] = content
            self._bytes += len(content) + _OVERHEAD
            while self._bytes > _MOST_BYTES:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone) + _OVERHEAD
