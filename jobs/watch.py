"""Whether a worker hangs in the NAS: when each last came back from a system call there."""

from __future__ import annotations

import threading
import time

_FLUSH_LIMIT = 120.0  # seconds that the final fsync of a file may take (design §5)


class Watch:
    """Other threads use the NAS too (a read that falls through): only those between `begin` and `end` count."""

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._deadlines: dict[int, float] = {}

    def begin(self) -> None:
        self._deadlines[threading.get_ident()] = time.monotonic() + self._stall

    def progress(self) -> None:
        self._extend(self._stall)

    def flush(self) -> None:
        self._extend(_FLUSH_LIMIT)

    def end(self) -> None:
        self._deadlines.pop(threading.get_ident(), None)

    def _extend(self, seconds: float) -> None:
        me = threading.get_ident()
        if me in self._deadlines:
            self._deadlines[me] = time.monotonic() + seconds

    def stalled(self) -> frozenset[tuple[int, float]]:
        """Who hangs, and since when it should not; the same as long as it does."""
        now = time.monotonic()
        return frozenset((who, deadline) for who, deadline in list(self._deadlines.items()) if deadline < now)
