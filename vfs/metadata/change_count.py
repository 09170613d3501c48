"""A count in shared memory that tells every process of the machine about every commit of any of them.

Looking at it costs sixteen bytes; a statement would cost 20 µs, and the interpreter's lock at each.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import queue
import threading
import time
from pathlib import Path

from vfs import turns

log = logging.getLogger(__name__)

_ENDED, _BEGUN = 0, 1  # changes; in this order, since they are read in it
_SIZE = 16  # bytes: two numbers of 64 bits
_ROUND = 1 << 64
_PATIENCE = 5.0  # seconds for a change of another process; one that was stopped in it may never end
_FOLLOW = 1.0  # seconds between two looks whether the file is still the one that others open


class ChangeCount:
    """Counts the changes of one SQLite database in a file beside it, which all its processes map.

    Writers enter one after another: SQLite itself would have them look again after 1, 2, 5, … 100 ms, the kernel wakes
    the next one at once. Inside, `begin` and `end` are called by who holds the database's write lock too, so only one
    counts at a time. While a change is under way, or when its process died in it, the two counts differ until the next
    one has ended.
    """

    def __init__(self, file: Path, like: Path | None = None) -> None:
        """`like`: a file whose owner it gets where this process may give it away, as SQLite does with its own.

        Raises OSError.
        """
        self._file = file
        self._path = os.fspath(file)  # made of it each time it cost a tenth of an empty change
        self._like = like
        self._following = threading.Lock()
        self._due = 0.0  # monotonic, when to look at the file again
        self._is_lost = False
        self._handle, counts = _mapped(file, like)
        self._identity = _identity(os.fstat(self._handle))
        self._usher: _Usher | None = None
        self._mapped = (counts, 0)  # … and what is added, so that no number comes twice when there is another file
        self._base = 0  # what was added as the last change of this process began

    def value(self) -> int | None:
        """A number that every change changes; None while one is under way."""
        now = time.monotonic()
        if now > self._due:
            self._due = now + _FOLLOW  # first: the others need not look too
            self._follow()
        counts, base = self._mapped
        ended = counts[_ENDED]
        begun = counts[_BEGUN]
        return base + begun if ended == begun and not self._is_lost else None

    def enter(self) -> bool:
        """Wait until no other process writes; False when one seems to hang in it, so that SQLite's lock decides."""
        if self.enter_at_once():
            return True
        self._usher = self._usher or _Usher()
        with turns.waiting():
            return self._usher.enter(self._handle, _PATIENCE)

    def enter_at_once(self) -> bool:
        """As `enter`, without waiting; False when another process writes."""
        if self._is_removed() or time.monotonic() > self._due:
            self._due = time.monotonic() + _FOLLOW
            self._follow()
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        if self._handle >= 0:  # else closing it did
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    # Each number is stored by one instruction: `struct.pack_into` clears the bytes first, and others read 0 there.

    def begin(self) -> int:
        counts, self._base = self._mapped
        number = (counts[_BEGUN] + 1) % _ROUND
        counts[_BEGUN] = number
        return number

    def version_of(self, number: int) -> int:
        """What `value` will be once the change has ended, while no other begins; nothing that it will ever be when
        there is another file since the change began."""
        return self._base + number

    def version_before(self) -> int:
        """What `value` was before the change that is under way."""
        counts, base = self._mapped
        return base + counts[_BEGUN] - 1

    def end(self, number: int) -> None:
        """The change `number` can be seen by everybody, or never will be."""
        self._mapped[0][_ENDED] = number

    def close(self) -> None:
        with self._following:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
                if self._usher is not None:
                    self._usher.go()

    def _is_removed(self) -> bool:
        """Or another was renamed over it. A third of what a look by the path takes."""
        try:
            return not os.fstat(self._handle).st_nlink
        except OSError:
            return True

    def _follow(self) -> None:
        """Count where the others do: somebody may have removed the file, or put another in its place."""
        with self._following:
            if self._handle < 0:
                return
            try:
                with contextlib.suppress(FileNotFoundError):
                    if _identity(os.stat(self._path)) == self._identity:
                        self._is_lost = False
                        return
                self._is_lost = True
                handle, counts = _mapped(self._file, self._like)
            except OSError as error:
                log.error("%s cannot be opened: every look goes to the database: %s", self._file, error)
                return
            log.warning("%s was removed or replaced while it was in use", self._file)
            os.close(self._handle)
            self._handle, self._identity = handle, _identity(os.fstat(handle))
            self._mapped = (counts, self._mapped[1] + _ROUND)
            self._is_lost = False


class _Usher(threading.Thread):
    """Waits for a file's lock on behalf of one caller at a time: flock itself has no limit of time."""

    def __init__(self) -> None:
        super().__init__(name="kelp-usher", daemon=True)
        self._files: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._is_waiting = False
        self._is_wanted = False
        self._entered = threading.Semaphore(0)
        self.start()

    def enter(self, file: int, patience: float) -> bool:
        """Have the file's lock; False after `patience` seconds."""
        with self._guard:
            self._is_wanted = True
            if not self._is_waiting:  # else it still waits for one who gave up
                self._is_waiting = True
                self._files.put(file)
        if self._entered.acquire(timeout=patience):
            return True
        with self._guard:
            self._is_wanted = False
            return self._entered.acquire(blocking=False)

    def go(self) -> None:
        self._files.put(None)

    def run(self) -> None:
        while (file := self._files.get()) is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                fcntl.flock(file, fcntl.LOCK_EX)
            with self._guard:
                self._is_waiting = False
                if self._is_wanted:
                    self._is_wanted = False
                    self._entered.release()
                    continue
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_dev


def _mapped(file: Path, like: Path | None) -> tuple[int, memoryview[int]]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Its block is taken now: on a full disk, the first write to a hole would kill the process.
        os.posix_fallocate(handle, 0, _SIZE)
        if like is not None and os.geteuid() == 0:  # a command of root's before the first start
            owner = os.stat(like)
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle, memoryview(mmap.mmap(handle, _SIZE)).cast("Q")
    except BaseException:
        os.close(handle)
        raise
