"""Have files in the cache before somebody asks for them (warm), and keep them there (pin)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from vfs.core import Kelp
from vfs.errors import KelpError, NasDown, StoreUnavailable
from vfs.metadata.pins import Stored
from vfs.metadata.retrying import retried
from vfs.model import Caller, Done, Entry, Kind, Level
from vfs.operations import cache_limits, guard, restoring
from vfs.operations.restoring import Restored

log = logging.getLogger(__name__)

_AT_ONCE = 4  # files that are restored at the same time
_AHEAD = 32  # … or wait for it
_PAGE = 1000
_TRIES = 20  # each brings a share of the cache's limit, or finds somebody else at work on the same objects
_VAIN = _AT_ONCE  # of them in a row, nothing brought by any thread: no room. In fewer, others may have been quicker
_FULL = 1.0  # seconds for which that holds for other files
_IN_A_ROUND = 200  # contents of pinned files that one round of the batch brings back
_NAMED = 1000  # files that could not be restored are told by name, up to so many

Report = Callable[["Warmed"], object]


@dataclass
class Warmed:
    """How far it is. `files` and `bytes` are there, of all; `restored` of those bytes came from the NAS just now."""

    all_files: int = 0
    all_bytes: int = 0
    files: int = 0
    bytes: int = 0
    restored: int = 0
    failed: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list)  # (entry id, why it is not there), the first of them
    stopped: str = ""  # why the rest was not tried


@dataclass(frozen=True, slots=True)
class Pin:
    entry_id: int
    created_ns: int
    user_name: str


# --- pins ---


@retried
def pin(kelp: Kelp, caller: Caller, entry: Entry) -> bool:
    """Keep a file, or all files below a folder, in the cache; what is not there comes back (`warm_pinned`).

    False when it was pinned before. Raises NotFound.
    """
    with kelp.database.write() as tx:
        guard.reach(tx, caller, entry.id, Level.READ)
        return tx.pins.add(entry.id, caller.user_id, kelp.clock.now_ns())


@retried
def unpin(kelp: Kelp, caller: Caller, entry: Entry) -> bool:
    """False when it was not pinned itself."""
    with kelp.database.write() as tx:
        return tx.pins.remove(entry.id)


def pins(kelp: Kelp) -> list[Pin]:
    """Oldest first."""
    with kelp.database.read() as tx:
        return [Pin(*row) for row in tx.pins.every()]


def warm_pinned(kelp: Kelp) -> Done:
    """A batch: bring back what the cache lacks of pinned files, as far as its limit lets."""
    with kelp.database.scan() as tx:
        missing = tx.pins.missing(_IN_A_ROUND) if tx.pins.any() else []
    count = size = 0
    for content_id in missing:
        try:
            done = _restore(kelp, content_id)
        except StoreUnavailable:
            raise
        except KelpError as error:
            log.warning("pinned content %s: %s", content_id, error)
            continue
        if done.left:  # no room, or somebody else is at it
            break
        count, size = count + done.objects, size + done.bytes
    return Done(count, size, more=len(missing) == _IN_A_ROUND and count > 0)


# --- warm ---


def warm(kelp: Kelp, entries: list[Entry], report: Report = lambda _: None) -> Warmed:
    """See that the cache has these files, and all below these folders. What is there already is only looked at, so one
    that was interrupted goes on where it was. Never raises for what one file, or a store, lacks: see the answer."""
    warmed = Warmed()
    with kelp.database.scan() as tx:
        for entry in entries:
            files, size = tx.pins.count_below(entry.id)
            warmed.all_files, warmed.all_bytes = warmed.all_files + files, warmed.all_bytes + size
    running: dict[Future[Restored], Stored] = {}
    room = _Room()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="warm") as threads:
        try:
            for file in _files(kelp, entries):
                running[threads.submit(_bring, kelp, file, room)] = file
                if len(running) >= _AHEAD:
                    _collect(running, warmed, report)
                if warmed.stopped:
                    break
            while running and not warmed.stopped:
                _collect(running, warmed, report)
        finally:  # with Ctrl-C, too: only what is being brought is waited for
            threads.shutdown(cancel_futures=True)
    return warmed


def _files(kelp: Kelp, entries: list[Entry]) -> Iterator[Stored]:
    for entry in entries:
        if entry.kind == Kind.FILE:
            with kelp.database.read() as tx:
                file = tx.pins.file(entry.id)
            if file is not None:
                yield file
            continue
        with kelp.database.scan() as tx:
            folders = tx.pins.folders_below(entry.id)
        for folder_id in folders:
            yield from _files_in(kelp, folder_id)


def _files_in(kelp: Kelp, folder_id: int) -> Iterator[Stored]:
    after = 0
    while True:
        with kelp.database.read() as tx:
            page = tx.pins.files_in(folder_id, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].entry_id


def _bring(kelp: Kelp, file: Stored, room: _Room) -> Restored:
    seen, vain = room.brought, 0
    done = _restore(kelp, file.content_id, room)
    for _ in range(_TRIES):
        if not done.left or not room.is_there(kelp, file.size - done.bytes):
            break
        again = _restore(kelp, file.content_id, room)
        done = Restored(done.objects + again.objects, done.bytes + again.bytes, again.left)
        now = room.brought
        seen, vain = now, vain + 1 if now == seen else 0
        if vain == _VAIN:
            room.refused(file.size - done.bytes)
            break
    return done


class _Room:
    """Adds up what the cache holds, with which the share of this process begins anew; but when it was full a moment
    ago, not for each of thousands of files."""

    def __init__(self) -> None:
        self.brought = 0  # objects, by all threads
        self._size, self._until = 0, 0.0
        self._counting, self._looking = threading.Lock(), threading.Lock()

    def note(self, objects: int) -> None:
        with self._counting:
            self.brought += objects

    def is_there(self, kelp: Kelp, size: int) -> bool:
        if size >= self._size and time.monotonic() < self._until:
            return False
        with self._looking:  # what is noted last was seen last
            held = cache_limits.refresh(kelp)
        if held.limit is None or held.limit - held.clean >= size:
            return True
        self.refused(size)
        return False

    def refused(self, size: int) -> None:
        self._size, self._until = size, time.monotonic() + _FULL


def _restore(kelp: Kelp, content_id: str, room: _Room | None = None) -> Restored:
    with kelp.database.read() as tx:
        content = tx.contents.get(content_id)
    done = restoring.restore(kelp, content) if content is not None else Restored()  # None: replaced meanwhile
    if room is not None:
        room.note(done.objects)
    return done


def _collect(running: dict[Future[Restored], Stored], warmed: Warmed, report: Report) -> None:
    """What has ended; at least one."""
    ended, _ = wait(running, return_when=FIRST_COMPLETED)
    for one in ended:
        file = running.pop(one)
        error = one.exception()
        if error is None:
            done = one.result()
            warmed.restored += done.bytes
            if not done.left:
                warmed.files, warmed.bytes = warmed.files + 1, warmed.bytes + file.size
                continue
            error = KelpError("the cache has no room for it, or somebody else is at work on it")
        if not isinstance(error, KelpError):
            raise error
        if isinstance(error, NasDown):
            warmed.stopped = str(error)
        warmed.failed += 1
        if len(warmed.reasons) < _NAMED:
            warmed.reasons.append((file.entry_id, str(error)))
    report(warmed)
