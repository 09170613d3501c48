"""What was written and is not committed yet, on a local disk: bounded, sparse, and found again after a kill.

    {data}/drafts/{pid}-{random}/lock        locked by the mount for as long as it lives
                                 {n}.data    the bytes, where the file has them; holes where nobody wrote
                                 {n}.log     a line of JSON (which file, which content it had), then a record for each
                                             change of what was written, the first one with it; empty: nobody's, to be
                                             used again

Neither is synced: what a draft promises is nothing, until it is committed. A killed process loses nothing all the same,
since the kernel has it; a machine that stops does, and the file is as it was.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from fuse_mount.draft_file import CLOSED, DraftFile, Header, NewAhead, close, disk_faults
from vfs.errors import NoSpace, StoreUnavailable
from vfs.operations import at_hand

_MOST_IDLE = 16  # pairs of files that wait to be used again: making and removing them costs more than a small write
_MOST_ROOMS = 4  # that are kept
# Where so many bytes are left, nobody asks for so long whether there is room for little.
_LITTLE, _AMPLE = 64 << 10, 4 << 30
_A_WHILE = 0.1  # seconds, in which no disk takes so much
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class DraftDisk:
    """The drafts of this process: `limit` bytes together at most, 0: as many as their disk has room for. `reserve`
    bytes of it, which may be the database's too, stay free; `twice`: the cache is on it, where what is written is
    stored while the draft is still there. Raises StoreUnavailable when the folder cannot be made."""

    def __init__(self, folder: Path, limit: int = 0, reserve: int = 0, *, twice: bool = False) -> None:
        self._limit, self._reserve, self._twice = limit, reserve, twice
        self._used = 0
        self.ahead = 0  # bytes that are stored already
        self._guard = threading.Lock()
        self._idle: list[DraftFile] = []
        self._rooms: list[memoryview] = []
        self._next = 0
        self._ample_until = 0.0  # monotonic
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = folder / name
        try:
            unlocked = folder / f".{name}"  # a name that nobody takes for a dead mount's
            unlocked.mkdir(mode=0o700, parents=True)
            self._lock = os.open(unlocked / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(self.folder)
        except OSError as error:
            raise StoreUnavailable(f"cannot keep drafts in {folder}: {error.strerror}") from error

    @property
    def used(self) -> int:
        """Bytes of all drafts."""
        return self._used

    def new(self, header: Header, ahead: NewAhead | None = None) -> DraftFile:
        """`ahead`: what may store parts of it before it is committed."""
        with self._guard:
            draft = self._idle.pop() if self._idle else None
            if draft is None:
                self._next += 1
                number = self._next
        if draft is None:
            with disk_faults():
                data = os.open(self.folder / f"{number}.data", _NEW, 0o600)
                try:
                    log = os.open(self.folder / f"{number}.log", _NEW | os.O_APPEND, 0o600)
                except BaseException:
                    close(data)
                    self._remove(number)
                    raise
            draft = DraftFile(self, number, data, log)
        try:
            draft.begin(header, ahead)
        except BaseException:
            self.put_back(draft)
            raise
        return draft

    def take(self, size: int) -> None:
        """Raises NoSpace."""
        if size > _LITTLE or time.monotonic() > self._ample_until:
            self._look_for_room(size)
        with self._guard:
            if self._limit and self._used + size > self._limit:
                raise NoSpace(f"more than {self._limit} bytes are written and not closed (fuse.draft_limit)")
            self._used += size

    def _look_for_room(self, size: int) -> None:
        if not size:
            return
        now = time.monotonic()
        with disk_faults():
            disk = os.statvfs(self._lock)
        again = max(self._used + size - self.ahead, 0) if self._twice else 0
        left = disk.f_bavail * disk.f_frsize - (size + again + self._reserve)
        if left < 0:
            raise NoSpace("the disk of the drafts is full")
        self._ample_until = now + _A_WHILE if left > _AMPLE else 0.0

    def give(self, size: int) -> None:
        with self._guard:
            self._used -= size

    def stored_ahead(self, size: int) -> None:
        """So many bytes more (negative: fewer) are in the cache too."""
        with self._guard:
            self.ahead += size

    def take_room(self) -> memoryview:
        """For a piece."""
        with self._guard:
            return self._rooms.pop() if self._rooms else at_hand.room()

    def give_room(self, room: memoryview) -> None:
        with self._guard:
            if len(self._rooms) < _MOST_ROOMS:
                self._rooms.append(room)

    def put_back(self, draft: DraftFile) -> None:
        try:
            draft.clear()
        except OSError:
            draft.close()
            return
        with self._guard:
            if len(self._idle) < _MOST_IDLE and not draft.is_lent:
                self._idle.append(draft)
                return
        draft.close()
        self._remove(draft.number)

    def _remove(self, number: int) -> None:
        for suffix in ("log", "data"):
            with suppress(OSError):
                (self.folder / f"{number}.{suffix}").unlink()

    def close(self) -> None:
        """What is kept stays, to be recovered; without any the folder goes."""
        for draft in self._idle:
            draft.close()
            self._remove(draft.number)
        self._idle = []
        if not any(self.folder.glob("*.log")):
            shutil.rmtree(self.folder, ignore_errors=True)
        lock, self._lock = self._lock, CLOSED
        close(lock)
