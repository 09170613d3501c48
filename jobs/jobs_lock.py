"""The file `jobs.lock` in the data folder: the process that runs a drive's jobs alone, or those that do so together.

The kernel gives it on when its holder dies. It holds on one machine only, so it is what a drive on SQLite relies on,
which cannot be on two; on PostgreSQL leases in the database keep all apart, and it merely spares work.
"""

from __future__ import annotations

import fcntl

from vfs.settings import Settings


class JobsLock:
    def __init__(self, settings: Settings) -> None:
        self._file = (settings.data / "jobs.lock").open("w")
        self.decides = settings.database.url.startswith("sqlite")  # who has it alone knows that no other works

    def take_alone(self) -> bool:
        return self._take(fcntl.LOCK_EX)

    def take_together(self) -> bool:
        """With others that take it so."""
        return self._take(fcntl.LOCK_SH)

    def _take(self, how: int) -> bool:
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._file.close()
