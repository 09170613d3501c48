"""Finished answers to PROPFIND, kept while what they show has not changed (design §8).

A body is known by what was asked and by whom, and bound to two versions: that of the whole database, which costs
nothing to look at, and that of the listing, which is read when anything else has changed. Only what depends on neither
time nor free space may be kept, so answers with locks or quota are not.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.model import Caller
from vfs.operations import reading
from vfs.web.contents import close

_MOST_BYTES = 24 * 1024 * 1024  # of all bodies, per process
_LARGEST = 8 * 1024 * 1024  # bytes of one body: some 16,000 entries
_IDLE = 600.0  # seconds after which a body that nobody asked for goes: most are of folders that have changed since


@dataclass(slots=True)
class _Kept:
    body: bytes
    version: int | str | None  # of the database when it was made, or last found unchanged
    listing: reading.ListingVersion | None
    used: float  # time.monotonic() of the last time it was asked for


class ListingCache:
    """One per application. Bounded in bytes; what was not asked for the longest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0
        self._gathered = 0  # bytes of answers that are being made
        self._guard = threading.RLock()  # a dropped answer ends wherever memory is collected, here too

    def find(self, kelp: Kelp, caller: Caller, key: Hashable, entry_id: int) -> bytes | None:
        """The body under `key`, when the entry and, if it is a folder, its listing are as they were."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        now = reading.version(kelp)
        if now is None or kept.version != now:
            listing = reading.listing_version(kelp, caller, entry_id)
            if listing is None or listing != kept.listing:
                return None
            kept.version = now
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept.used = time.monotonic()
        return kept.body

    def keep(
        self, key: Hashable, version: int | str | None, listing: reading.ListingVersion | None, body: bytes
    ) -> None:
        """`version` and `listing` were read before the rows of the body."""
        if len(body) > _LARGEST:
            return
        with self._guard:
            before = self._kept.pop(key, None)
            self._bytes += len(body) - (len(before.body) if before else 0)
            now = time.monotonic()
            self._kept[key] = _Kept(body, version, listing, now)
            while self._kept and (self._bytes > _MOST_BYTES or self._oldest().used < now - _IDLE):
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.body)

    def _oldest(self) -> _Kept:
        return next(iter(self._kept.values()))

    def keeping(
        self, key: Hashable, version: int | str | None, listing: reading.ListingVersion | None, pieces: Iterator[bytes]
    ) -> Iterator[bytes]:
        """The same pieces; kept when all of them were made and they are not too many."""
        made: list[bytes] | None = []
        size = 0
        try:
            for piece in pieces:
                if made is not None and self._may_gather(len(piece)):
                    made.append(piece)
                    size += len(piece)
                elif made is not None:
                    made = None
                    self._gave_up(size)
                    size = 0
                yield piece
            if made is not None:
                self.keep(key, version, listing, b"".join(made))
        finally:
            self._gave_up(size)
            close(pieces)

    def _may_gather(self, size: int) -> bool:
        with self._guard:
            fits = self._gathered + size <= _LARGEST
            self._gathered += size if fits else 0
            return fits

    def _gave_up(self, size: int) -> None:
        with self._guard:
            self._gathered -= size
