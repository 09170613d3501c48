"""Ask a part of the drive that may hang, without hanging: for monitors, whose questions never pile up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from vfs import trace
from vfs.errors import KelpError

_log = logging.getLogger(__name__)

PATIENCE = 2.5  # seconds after which a part counts as away; nobody is kept waiting longer
_FRESH = 1.0  # seconds that what was seen is said again, however many ask
_LONGEST = 60.0  # … at most: what took long may have waited for a part that was away, and be wrong by now

T = TypeVar("T")


class Look(Generic[T]):
    """What one part says, asked in a thread of its own, by one at a time."""

    def __init__(
        self, part: str, ask: Callable[[], T], *, why: str = "ready", rest: float = 0.0, tells: bool = True
    ) -> None:
        """`part` and `why` are for the log. `rest`: for how many times as long as an answer took nobody asks again.

        `tells`: that the part is away is worth a line in the log; what nobody foresaw always is.
        """
        self._part, self._ask, self._why, self._rest, self._tells = part, ask, why, rest, tells
        self._changed = threading.Condition()
        self._asked: float | None = None  # monotonic: since when an answer is waited for
        self._fresh_until = float("-inf")
        self._seen: tuple[T] | None = None  # None: away
        self._told = False  # … and the log says so: once, however long it lasts

    def begin(self) -> None:
        """Ask, unless somebody does, or did just now."""
        with self._changed:
            now = time.monotonic()
            if self._asked is None and now > self._fresh_until:
                self._asked = now
                threading.Thread(target=self._run, name=f"{self._why}-{self._part}", daemon=True).start()

    def result(self, until: float) -> tuple[T] | None:
        """What it said, or None when it is away, or has not answered `until` then (time.monotonic)."""
        with self._changed:
            if self._asked is not None:
                limit = min(until, self._asked + PATIENCE) - time.monotonic()
                self._changed.wait_for(lambda: self._asked is None, max(limit, 0.0))
            return self._seen if self._asked is None else None

    def _run(self) -> None:
        seen: tuple[T] | None = None
        begun = time.monotonic()
        try:
            with trace.under(trace.new_id(self._why)):
                seen = (self._ask(),)
        except Exception as error:
            unforeseen = None if isinstance(error, KelpError) else error
            if not self._told and (self._tells or unforeseen):
                _log.warning("%s: the %s is away: %s", self._why, self._part, error, exc_info=unforeseen)
        finally:
            self._told = seen is None
            with self._changed:
                now = time.monotonic()
                self._asked, self._seen = None, seen
                rest = 0.0 if seen is None else self._rest * (now - begun)  # that it was away is not said for long
                self._fresh_until = now + min(max(_FRESH, rest), _LONGEST)
                self._changed.notify_all()
