"""What a process remembers of the policies about addresses, and which refusals it has told of. No database here.

A request pays for no statement: the rules are read again when they are half a second old, by one thread, while the
others go on with what is known; nobody goes on with what is older than `_OLDEST`. A change thus counts on every node
within two seconds (spec §10), in the process that made it at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from vfs import turns
from vfs.addresses import Rules
from vfs.errors import StoreUnavailable

_FRESH = 0.5  # seconds for which nobody looks again
_OLDEST = 1.2  # … and from which on everybody waits for the look
_AGAIN = 60.0  # seconds between two lines about one address
_MOST_LINES = 20  # in that time, about all addresses


class _Known(NamedTuple):
    rules: Rules
    seen: float  # monotonic, when the look began


class _Failed(NamedTuple):
    error: StoreUnavailable
    at: float


class Gate:
    """One per process. Safe to use from many threads; `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: _Known | None = None
        self._failed: _Failed | None = None
        self._changes = 0
        self._looking = threading.Lock()
        self._guard = threading.Lock()
        self._told: dict[str, float] = {}
        self._minute, self._lines, self._untold = 0.0, 0, 0

    def fresh(self) -> Rules | None:
        """The rules, when nobody need look; what every request asks."""
        known = self._known
        return known.rules if known is not None and self._now() - known.seen < _FRESH else None

    def rules(self, look: Callable[[Rules | None], Rules]) -> Rules:
        """As they were at most `_OLDEST` seconds ago. `look` reads them; it gets those that are known, and gives the
        same ones back when they have not changed.

        Raises StoreUnavailable when they are older and cannot be read: then nobody is let in on them.
        """
        known, asked = self._known, self._now()
        age = asked - known.seen if known else _OLDEST
        if known and age < _FRESH:
            return known.rules
        if known and age < _OLDEST:
            if not self._looking.acquire(blocking=False):
                return known.rules
        else:
            with turns.waiting():  # whoever looks wants the turn
                self._looking.acquire()
        try:
            return self._looked(look, asked)
        finally:
            self._looking.release()

    def _looked(self, look: Callable[[Rules | None], Rules], asked: float) -> Rules:
        known, begun, changes = self._known, self._now(), self._changes
        if known and begun - known.seen < _FRESH:  # somebody else has looked while this thread waited
            return known.rules
        if self._failed and self._failed.at > asked:  # … in vain: each in turn would wait for a database that hangs
            raise StoreUnavailable(str(self._failed.error), self._failed.error.retry_after)
        try:
            rules = look(known.rules if known else None)
        except StoreUnavailable as error:
            self._failed = _Failed(error, self._now())
            if known and self._now() - known.seen < _OLDEST:
                return known.rules
            raise
        if changes == self._changes:  # else it may be from before the change
            self._known = _Known(rules, begun)
        return rules

    def forget(self) -> None:
        """This process has changed them."""
        self._changes += 1
        self._known = None

    def tells(self, address: str) -> int | None:
        """Whether to write a line about this address, which was refused: how many others had none since the last
        line; None: not now, and it is counted."""
        now = self._now()
        with self._guard:
            if now - self._minute >= _AGAIN:
                self._minute, self._lines = now, 0
                self._told = {each: told for each, told in self._told.items() if now - told < _AGAIN}
            if self._lines >= _MOST_LINES or now - self._told.get(address, -_AGAIN) < _AGAIN:
                self._untold += 1
                return None
            self._lines += 1
            self._told[address] = now
            untold, self._untold = self._untold, 0
            return untold
