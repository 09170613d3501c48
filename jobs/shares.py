"""How many entries of a batch go into one commit.

Who changes something waits for SQLite's write lock while the mirror has it, so it has it for a millisecond at a time;
where nobody changes anything, half as many commits are a fifth less of the mirror's work.
"""

from __future__ import annotations

import time
from threading import Lock

from vfs.core import Kelp

BATCH = 32  # entries: one sync of each folder is shared by so many, and where the database is a server two commits
SHARE = 16  # … else so many: people wait for SQLite's write lock, 1 ms each time (measured)
_QUIET = 0.1  # seconds without anybody else's change


class Shares:
    """For the mirror of one process; safe to use from several threads."""

    def __init__(self, kelp: Kelp) -> None:
        self._database = kelp.database
        self._guard = Lock()
        self._own = 0  # commits
        self._others: int | None = None
        self._heard = time.monotonic()

    def size(self) -> int:
        """Of the next one."""
        return SHARE if self.others_change else BATCH

    @property
    def others_change(self) -> bool:
        """… something now, or did a moment ago; False where it does not matter to them what the mirror does."""
        if not self._database.is_near:
            return False
        version = self._database.version()
        with self._guard:
            others = version - self._own if isinstance(version, int) else None
            if others is None or others != self._others:
                self._others, self._heard = others, time.monotonic()
            return time.monotonic() - self._heard < _QUIET

    def committed(self) -> None:
        """One more, by the mirror itself. When it was none, or two, nothing worse comes of it than small ones."""
        with self._guard:
            self._own += 1
