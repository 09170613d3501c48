"""Bytes that this process may bring into the cache, kept in memory: granted in large amounts, given out in small ones.

The database grants (`operations/reserving.py`): what waits for the NAS and all grants together never pass a limit,
however many processes there are. A grant that is not renewed in time is void, so that of a process that died comes
back; whoever relies on one looks whether it still holds.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time

LIFETIME = 120.0  # seconds until the database counts a grant as void
_TAKERS = 4  # processes that may restore a large object at the same time
RELIABLE = 60.0  # … and while its process may rely on it: a commit that began by then has ended long before that


class Escrow:
    """Of one process. `asking` is held by who goes to the database for more; the others wait for what he brings."""

    def __init__(self) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.asking = threading.Lock()
        self._guard = threading.Lock()
        self._spare = 0  # granted, and nobody's yet
        self._in_use = 0  # of uploads that are not committed
        self._began = -LIFETIME  # monotonic, when the grant was last asked for
        self._refused = (0.0, 0)  # until when (monotonic), and from which size on, nobody need ask
        self._measured = 0.0  # monotonic, from when on what waits may be added up again

    def take(self, size: int) -> bool:
        """So many bytes of the grant, if it has them and holds."""
        with self._guard:
            if self._spare < size or not self._holds():
                return False
            self._spare -= size
            self._in_use += size
            return True

    def take_rest(self, most: int) -> int:
        """All that is left of the grant, up to `most` bytes; how many."""
        with self._guard:
            size = min(most, self._spare) if self._holds() else 0
            self._spare -= size
            self._in_use += size
            return size

    def give_back(self, size: int) -> None:
        """They did not come after all."""
        with self._guard:
            self._in_use -= size
            self._spare += size

    def settle(self, size: int) -> None:
        """They have come, and are counted among what waits for the NAS."""
        with self._guard:
            self._in_use -= size

    @property
    def held(self) -> int:
        """Bytes given out, and bytes that still can be."""
        with self._guard:
            return self._in_use + self._spare

    def holds(self) -> bool:
        """The grant can be relied on for a while: for longer than a commit takes."""
        with self._guard:
            return self._holds()

    def is_fresh(self) -> bool:
        """It need not be renewed yet."""
        return time.monotonic() - self._began < RELIABLE / 2

    def granted(self, used: int, spare: int, began: float) -> None:
        """More was granted when asked at `began` (monotonic), and all that was held before again: `used` bytes for who
        asked, `spare` for whoever comes."""
        with self._guard:
            self._in_use += used
            self._spare += spare
            self._began = began

    def refused(self, size: int, seconds: float) -> None:
        """So much was not granted: it need not be asked for again so soon."""
        self._refused = (time.monotonic() + seconds, size)

    def is_refused(self, size: int) -> bool:
        until, least = self._refused
        return size >= least and time.monotonic() < until

    def may_measure(self) -> bool:
        """What waits may be added up again."""
        return time.monotonic() >= self._measured

    def measured(self, pause: float) -> None:
        """It was, and shall not be for so many seconds."""
        self._measured = time.monotonic() + pause

    def _holds(self) -> bool:
        return time.monotonic() - self._began < RELIABLE


class Allowance:
    """What restores may bring into the cache between two looks at how full it is."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._stamp: tuple[int, int] = (0, 0)  # of the look
        self._left = 0
        self._untouched = False

    def take(self, size: int, stamp: tuple[int, int], room: int, most: int) -> bool:
        """At the look `stamp` there was `room`; of that this process may use `most`, or a single object that is larger,
        but not so large that several processes which do so could not."""
        with self._guard:
            if stamp != self._stamp:
                self._stamp, self._left, self._untouched = stamp, min(room, most), True
            if size > self._left and not (self._untouched and size <= room // _TAKERS):
                return False
            self._left -= size
            self._untouched = False
            return True


class Ample:
    """What was found to have far more room need not be asked at each request: only after so many bytes, or a second."""

    BYTES, SECONDS = 64 * 1024 * 1024, 1.0

    def __init__(self) -> None:
        self._left, self._until = 0, 0.0

    def found(self) -> None:
        """Room for so many bytes more than was asked for."""
        self._left, self._until = self.BYTES, time.monotonic() + self.SECONDS

    def has(self, size: int) -> bool:
        if time.monotonic() >= self._until:
            return False
        self._left -= size  # what is lost when two do it at once is less than what a second brings
        return self._left >= 0


class Seen:
    """The version of the database in which this process last looked whether anything must leave the cache."""

    version: int | str | None = None
