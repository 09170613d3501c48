"""Parts of a draft that are stored while a program goes on writing it, so that less is left for the commit.

A part is begun when all of its bytes have been written. Whatever changes one of them afterwards undoes it: the object
is removed again, and the part is left to the commit. So what a commit takes over is what it would have stored itself.
No row names these objects: those of a killed process are found by the orphan batch. It knows what is still growing by
the newest object of a name, so objects of a draft that rested for some minutes are not relied on.

Not for vaults: what is stored of a vault is sealed, and the batch has to be told of it (`unfinished`).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

from vfs.background import Background
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import PART_SIZE, Part
from vfs.operations import cache_limits, contents, guard, part_uploads
from vfs.operations.layouts import Unit
from vfs.operations.reserving import Reservation

log = logging.getLogger(__name__)

Pieces = Callable[[int, int], Iterator[bytes]]
"""Bytes of the draft, for another thread than the one that writes: also when they change meanwhile, or are gone."""

_RESTED_NS = 10 * 60 * 1_000_000_000  # far less than an object rests before the orphan batch takes it


class _Early:
    """One part. Its fields are changed under the guard of its `Ahead`."""

    def __init__(self, key: str, unit: Unit, since_ns: int) -> None:
        self.key, self.unit, self.since_ns = key, unit, since_ns
        self.is_wanted = True
        self.is_begun = self.has_ended = False
        self.part: Part | None = None
        self.room: Reservation | None = None


class Ahead:
    """Of one draft. All but what `threads` do is called by whoever may change the draft, and does not wait but in a
    commit. `told`: of the bytes that are stored here, and those (negative) that are so no more."""

    def __init__(self, kelp: Kelp, threads: Background, pieces: Pieces, told: Callable[[int], None]) -> None:
        self._kelp, self._threads, self._pieces, self._told = kelp, threads, pieces, told
        self._changed = threading.Condition()
        self._early: dict[int, _Early] = {}  # by where they begin; the newest is the last
        self._known: set[int] = set()  # parts that were begun once: no part is stored twice before the commit
        self._end = 0  # of the last of them
        self._is_off = False  # it failed: all is left to the commit
        self._id = ""  # how the keys begin

    # --- while it is written ---

    def store(self, start: int) -> None:
        """All of the part that begins there has been written."""
        if self._is_off or start in self._known:
            return
        self._forget_rested()
        self._id = self._id or str(uuid.uuid4())
        # A content of one object has its name; and that is the first part.
        key = f"{self._id}.a{start // PART_SIZE:06d}" if start else self._id
        early = _Early(key, Unit(start, start + PART_SIZE), self._kelp.clock.now_ns())
        if self._threads.submit(key, partial(self._carry_out, early)):
            self._early[start] = early
            self._known.add(start)
            self._end = max(self._end, early.unit.stop)

    def touched(self, start: int, stop: int) -> None:
        """These bytes change now."""
        if start < self._end:
            for at in range(start // PART_SIZE * PART_SIZE, min(stop, self._end), PART_SIZE):
                self._drop(at)

    def drop(self) -> None:
        """Nothing of it is wanted."""
        for start in list(self._early):
            self._drop(start)

    def _forget_rested(self) -> None:
        """The orphan batch goes by what is there: an object that was removed again has kept none of the others."""
        newest = next(reversed(self._early.values()), None)
        if newest is not None and abs(self._kelp.clock.now_ns() - newest.since_ns) > _RESTED_NS:
            self.drop()
            self._id = ""

    def _drop(self, start: int) -> None:
        early = self._early.pop(start, None)
        if early is None:
            return
        with self._changed:
            early.is_wanted = False
            is_ours = early.has_ended and early.part is not None
        # Always: of a large draft there are more than may wait, and it gives back what is reserved.
        if is_ours and not self._threads.submit((early.key, "undo"), partial(self._undo, early), always=True):
            self._is_told_off(early)
            log.warning("object %s is left to the orphan batch", early.key)

    # --- in a thread ---

    def _carry_out(self, early: _Early) -> None:
        with self._changed:
            if not early.is_wanted:
                return
            early.is_begun = True
        part = None
        try:
            part = self._stored(early)
        except KelpError as error:
            self._is_off = True
            log.info("nothing more of a draft is stored before its commit: %s", error)
        finally:
            with self._changed:
                early.part, early.has_ended = part, True
                is_ours = early.is_wanted and part is not None
                self._changed.notify_all()
            if not is_ours:
                self._undo(early)

    def _stored(self, early: _Early) -> Part:
        size = early.unit.stop - early.unit.start
        guard.require_space(self._kelp, size)
        early.room = Reservation(self._kelp, cache_limits.hard_limit(self._kelp))
        self._told(size)
        early.room.grow(size)
        part = part_uploads.put_part(self._kelp.cache, early.key, self._pieces(*early.unit), size)
        early.room.count(size)
        return part

    def _undo(self, early: _Early) -> None:
        contents.remove(self._kelp, [early.key])
        self._is_told_off(early)

    def _is_told_off(self, early: _Early, heir: Reservation | None = None) -> None:
        room, early.room = early.room, None
        if room is not None:
            self._told(early.unit.start - early.unit.stop)
            if heir is not None:
                heir.adopt(room)
            room.end()

    # --- in a commit ---

    @contextmanager
    def claimed(self, units: Collection[Unit]) -> Iterator[Claimed]:
        """What a commit need not store; what it does not take is undone at the end of the block, all else at once."""
        self._forget_rested()
        wanted = set(units)
        for start, early in list(self._early.items()):
            with self._changed:
                is_waiting = not early.is_begun
            if is_waiting or early.unit not in wanted:
                self._drop(start)
        id, self._id = self._id if self._early else "", ""
        try:
            yield Claimed(id, self._early, self._taken)
        finally:
            self.drop()

    def _taken(self, start: int, room: Reservation) -> Part | None:
        early = self._early[start]
        with self._changed:
            self._changed.wait_for(lambda: early.has_ended)
        del self._early[start]
        if early.part is not None:
            self._is_told_off(early, room)
        return early.part


class Claimed:
    """Parts that are stored already, or just being. `id`: how the keys of the content begin; "": there is none."""

    def __init__(
        self,
        id: str = "",
        early: Collection[int] = (),
        take: Callable[[int, Reservation], Part | None] = lambda start, room: None,
    ) -> None:
        self.id = id
        self._early, self._take = early, take

    def __contains__(self, unit: Unit) -> bool:
        return unit.start in self._early

    def __bool__(self) -> bool:
        return bool(self._early)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._early) * PART_SIZE

    def take(self, unit: Unit, room: Reservation) -> Part | None:
        """It is the caller's from now on, and what was reserved for it is part of `room`. None: it could not be
        stored. Waits for it."""
        return self._take(unit.start, room)
