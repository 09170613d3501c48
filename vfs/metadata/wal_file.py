"""SQLite's write-ahead log as a file that is synced by others than SQLite."""

from __future__ import annotations

import os
from pathlib import Path

_PIECE = 1 << 20  # bytes


class WalFile:
    """Of one database. It is opened once and kept, which was a tenth of a sync: closing a file gives up the process's
    locks on it, but on the log SQLite has none. For one caller at a time."""

    def __init__(self, database: Path) -> None:
        self._path = f"{database}-wal"
        self._handle = -1

    def sync(self) -> None:
        """As SQLite itself does it: what fsync would add is its time of change, mostly, and for that a commit of the
        file system's own journal. Raises OSError."""
        while True:
            if self._handle < 0:
                try:
                    self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return  # all is in the file
            os.fdatasync(self._handle)
            # Looked at last: before, the interpreter's lock would have to be waited for once more.
            if os.fstat(self._handle).st_nlink:
                return
            self.close()  # who closed the database last has removed it, and somebody may have begun another

    def write_anew(self) -> None:
        """The same bytes, so that all of them are brought to the disk once more. For who has SQLite's write lock: this
        would undo what another writes meanwhile. Raises OSError."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            at = 0
            while piece := os.pread(handle, _PIECE, at):
                at += os.pwrite(handle, piece, at)
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
