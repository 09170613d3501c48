"""When tokens were last used: gathered in memory, written now and then, in nobody's way."""

from __future__ import annotations

import threading

_OFTEN_ENOUGH_NS = 300 * 1_000_000_000
_MOST = 10_000  # tokens kept in mind


class TokenUses:
    """Of one process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._noted: dict[int, int] = {}  # token → the last use that was given out to be written
        self._due: dict[int, int] = {}

    def note(self, token_id: int, known_ns: int | None, now_ns: int) -> bool:
        """Whether there is something to write. `known_ns`: as the database has it, perhaps some time ago."""
        with self._guard:
            last = max(known_ns or 0, self._noted.get(token_id, 0))
            if 0 <= now_ns - last < _OFTEN_ENOUGH_NS:
                return False
            if len(self._noted) >= _MOST:
                self._noted.clear()
            self._noted[token_id] = self._due[token_id] = now_ns
            return True

    def take(self) -> dict[int, int]:
        """What is to be written: uses by token."""
        with self._guard:
            due, self._due = self._due, {}
            return due
