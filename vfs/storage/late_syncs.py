"""Syncs of small objects behind the commits that show them, many at a time.

A new small file would wait for the disk twice, for its object and for the commit. Where the commit carries the bytes
too (`redo_objects`), it alone is waited for: the file is synced here, with those of others, and then its row goes.
Whatever keeps the thread from that leaves the row, and `operations/redoing.py` finds it.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vfs.errors import KelpError
from vfs.storage.object_store import Unsynced

log = logging.getLogger(__name__)

Row = tuple[int, str]  # of redo_objects: id and key

_MANY = 31  # objects that are synced at once …
_SOON = 0.5  # … or so many seconds after the first of them
_MOST = 128  # that may wait or be at it, each with an open file, and its bytes in the log …
_SHARE = 8  # … and of the files that the process may open, at most this part
_CLOSING = 10.0  # seconds that `close` waits for it


class _Waiting(NamedTuple):
    row: Row
    unsynced: Unsynced


class LateSyncs:
    """Of one process; its thread begins with the first object."""

    def __init__(self, forget: Callable[[Sequence[Row]], None]) -> None:
        """`forget`: the rows may go. Raises KelpError."""
        self._forget = forget
        self._changed = threading.Condition()
        self._affordable = _affordable()
        self._waiting: list[_Waiting] = []
        self._at_it = 0  # so many are being synced
        self._since = 0.0  # monotonic: when the first of them came
        self._thread: threading.Thread | None = None
        self._closed = False
        self._forgetting = threading.Lock()
        self._over = False  # no row may go any more

    @property
    def takes_more(self) -> bool:
        """The disk is not so far behind that others should wait for it."""
        return len(self._waiting) + self._at_it < min(_MOST, self._affordable) and not self._closed

    def add(self, row: Row, unsynced: Unsynced) -> None:
        """Committed, durably, with its bytes."""
        with self._changed:
            if not self._closed:
                if not self._waiting:
                    self._since = time.monotonic()
                self._waiting.append(_Waiting(row, unsynced))
                if self._thread is None:
                    self._begin()
                if len(self._waiting) in (1, _MANY):
                    self._changed.notify()
                return
        unsynced.close()  # the row stays

    def close(self) -> None:
        """After what waits is synced; of a disk that takes longer than that, the rows stay."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSING)
        with self._forgetting:
            self._over = True

    def _begin(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="late-syncs", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there are too many: the next one tries again
                return
            self._thread = thread

    def _run(self) -> None:
        while waiting := self._next():
            try:
                self._sync(waiting)
            except KelpError as error:
                log.warning("the rows of %d synced objects stay for now: %s", len(waiting), error)
            except Exception:
                log.exception("syncing %d objects", len(waiting))

    def _next(self) -> list[_Waiting]:
        """Those that are due; none: it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            until = self._since + _SOON
            while len(self._waiting) < _MANY and not self._closed and (rest := until - time.monotonic()) > 0:
                self._changed.wait(rest)
            waiting, self._waiting = self._waiting, []
            self._at_it = len(waiting)
            return waiting

    def _sync(self, waiting: list[_Waiting]) -> None:
        """Raises KelpError: from `forget`. What cannot be synced keeps its row: it has to be written anew."""
        for one in waiting:
            one.unsynced.begin_sync()
        synced = []
        for one in waiting:
            if self._over:
                one.unsynced.close()
                continue
            try:
                one.unsynced.sync()
            except KelpError as error:
                log.warning("object %s could not be synced, and will be written again: %s", one.row[1], error)
            else:
                synced.append(one.row)
            finally:
                self._at_it -= 1
        with self._forgetting:
            if synced and not self._over:
                self._forget(synced)


def _affordable() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft // _SHARE
