"""Empty files made ahead, whose names are durable: to fill one takes one sync less (measured: 1.6 instead of 3.3 ms).

While objects come one after the other, one of them makes files for the next ones in its own folder before it syncs
that, so the one sync serves all. As long as they go on coming, a thread makes more before those are used up, since 31
files take 1.3 ms, and ten times that after many were removed (ext4 looks past those). A name is given out once, after
that sync, and only while it is young: what rests for an hour may be taken for an orphan. A process that dies leaves
empty files, at most two batches, which the orphan batch removes; a drive at rest, and who only reads, makes none.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from vfs.storage.files import sync_folder

BATCH = 31  # files that are made beside one object
FEW = 10  # that are left: time to make the next ones
IN_A_ROW = 4  # keys asked for, each within _ROW seconds of the one before: then more will be
_ROW = 1.0
_CLOSING = 5.0  # seconds that `close` waits for it
FRESH = 600.0  # seconds by the clock that gives files their times; a sixth of the age of an orphan
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Spare(NamedTuple):
    """`made`: seconds since 1970."""

    key: str
    path: str
    made: float


_all = weakref.WeakSet["SpareFiles"]()


class SpareFiles:
    """Of one store in one process. For many threads; a forked process begins with none."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._closed = False
        self.start_anew()
        _all.add(self)

    def start_anew(self) -> None:
        """With none, as nobody is at work: what a process was forked from may have been in the middle of anything."""
        self._ready: deque[_Spare] = deque()
        self._given: set[str] = set()  # told to somebody who has not come with his object yet
        self._guard = threading.Lock()
        self._making = threading.Lock()
        self._asked, self._last = 0, 0.0

    def take(self) -> str | None:
        """A key for `claim`, when one is ready."""
        now, stale = self._clock(), list[_Spare]()
        with self._guard:
            self._asked = self._asked + 1 if 0 <= now - self._last < _ROW else 1
            self._last = now
            key = None
            while self._ready and key is None:
                spare = self._ready.popleft()
                if 0 <= now - spare.made < FRESH:
                    key = spare.key
                    self._given.add(key)
                else:
                    stale.append(spare)
            wants_more = key is not None and len(self._ready) <= FEW and self._asked >= IN_A_ROW and not self._closed
        if stale:
            _remove(stale)
        if wants_more:
            self._make_more(os.path.dirname(spare.path))
        return key

    def claim(self, key: str) -> bool:
        """Whether `take` gave it, for the one who fills it or removes it; once."""
        with self._guard:
            if key not in self._given:
                return False
            self._given.remove(key)
            return True

    def keys(self) -> frozenset[str]:
        """Of files that nobody has asked for: they are no objects yet."""
        with self._guard:
            return frozenset(spare.key for spare in self._ready)

    @contextmanager
    def made_beside(self, path: str) -> Iterator[None]:
        """Before the block, which syncs the folder of `path`, files are made in it when that is worth it."""
        if not self._is_due() or not self._making.acquire(blocking=False):
            yield
            return
        try:
            made = _make(os.path.dirname(path), self._clock())
            try:
                yield
            except BaseException:
                _remove(made)
                raise
            self._keep(made)
        finally:
            self._making.release()

    def _make_more(self, beside: str) -> None:
        """In a thread, unless somebody is at it: in another folder beside that one, so that none becomes large."""
        if not self._making.acquire(blocking=False):
            return
        folder = f"{os.path.dirname(beside)}/{uuid.uuid4().hex[:2]}"
        try:
            threading.Thread(target=self._made_in, args=(folder,), name="spare-files", daemon=True).start()
        except RuntimeError:  # there are too many
            self._making.release()

    def _made_in(self, folder: str) -> None:
        try:
            made = _make(folder, self._clock())
            try:
                sync_folder(folder)
            except OSError:
                _remove(made)
            else:
                self._keep(made)
        finally:
            self._making.release()

    def _keep(self, made: list[_Spare]) -> None:
        with self._guard:
            closed = self._closed
            if not closed:
                self._ready.extend(made)
        if closed:
            _remove(made)

    def _is_due(self) -> bool:
        return self._asked >= IN_A_ROW and not self._ready and not self._closed

    def close(self) -> None:
        """Remove what nobody has asked for, and make no more."""
        with self._guard:
            self._closed = True
            left, self._ready = list(self._ready), deque()
        _remove(left)
        if self._making.acquire(timeout=_CLOSING):
            self._making.release()


def _make(folder: str, now: float) -> list[_Spare]:
    """As many as can be: a full disk is for others to notice. Each key is a UUID whose first byte names the folder; the
    key beside which they are made need not be one, and entries get their UUIDs from here."""
    made: list[_Spare] = []
    first = os.path.basename(folder)
    with suppress(OSError):
        for _ in range(BATCH):
            key = first + str(uuid.uuid4())[2:]
            path = f"{folder}/{key}"
            os.close(os.open(path, _NEW, 0o600))
            made.append(_Spare(key, path, now))
    return made


def _remove(spares: list[_Spare]) -> None:
    for spare in spares:
        with suppress(OSError):
            os.unlink(spare.path)


def _forget() -> None:
    for spares in _all:
        spares.start_anew()


os.register_at_fork(after_in_child=_forget)
