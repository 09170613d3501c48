"""How long SQLite's write-ahead log is, and how much of it is in the database file already.

It stands in the memory that all connections share, the file `-shm` (https://sqlite.org/walformat.html, 2.1), and no
pragma tells it without a checkpoint. The file is opened once and kept: a process that closes any descriptor of it gives
up the locks that SQLite has there (fcntl(2)).
"""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

# Version, commits so far, pages in the log; far behind, how many of them are in the file.
_HEADER = struct.Struct("=I4xI4xI76xI")
_VERSION = 3007000


class WalIndex:
    """Of one database that this process has open. Safe to use from many threads."""

    def __init__(self, database: Path, due: int) -> None:
        """`due`: pages of the log at which it is brought into the file."""
        self._file = f"{database}-shm"
        self._due = due
        self._handle = -1
        self._opening = threading.Lock()
        self._is_sure = False  # what is opened is the file of the connections that there are
        self.commits = 0  # of whomever, when `takes_more` was asked: one more with each, modulo 2**32

    def doubt(self) -> None:
        """A connection was opened. Before, perhaps there was none, and somebody has removed the file; not while there
        is one."""
        self._is_sure = False

    def takes_more(self) -> bool:
        """The commit that is under way goes behind others. Else it would begin the log anew, which syncs it, or make it
        due to be brought into the file, or nobody knows. To be asked by who has SQLite's write lock: only then it stays
        so."""
        try:
            if self._handle < 0 or not self._is_sure:
                self._open()
            version, self.commits, length, in_file = _HEADER.unpack(os.pread(self._handle, _HEADER.size, 0))
        except (OSError, struct.error):
            return False
        return bool(version == _VERSION and in_file < length < self._due)

    def _open(self) -> None:
        with self._opening:
            self._is_sure = True  # first: one that is opened meanwhile makes us look again
            self._close()
            if self._handle < 0:
                self._handle = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)

    def _close(self) -> None:
        """Whoever closes the database last removes the file: then nobody has locks on it."""
        if self._handle >= 0 and not os.fstat(self._handle).st_nlink:
            os.close(self._handle)
            self._handle = -1

    def close(self) -> None:
        """When all connections are closed; while somebody of this process or another has one, it stays open."""
        with self._opening:
            self._close()
