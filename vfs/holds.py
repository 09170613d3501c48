"""What this process reads just now: kept in memory at once, told to the database a little later (design §6).

A hold costs its reader no write: a thread notes, every now and then and in one commit, what is still held then. So a
short read never shows, and nobody evicts or frees for some time what a long one needs. The same thread writes down
what was read (access statistics).
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vfs.errors import KelpError

log = logging.getLogger(__name__)

EVERYTHING = "*"  # held in the place of a content: nothing is freed at all (a dump); evicted it may be

_MOST_READS = 65_536  # noted reads that wait to be written; what comes beyond is not counted
_MOST_AT_ONCE = 1000  # objects whose reads are written in one commit: others wait for it
_STATISTICS = 5.0  # seconds between two writes of them
_AFTER_A_FAULT = 1.0  # seconds until the next try
_CLOSING = 5.0  # seconds that `close` waits for the thread


@dataclass(frozen=True, slots=True)
class News:
    """For the database, in one commit. `held`: contents to note, or to note again, as read by `owner` until `lease`
    seconds from now; `given_back`: to be forgotten; `reads`: (object key, how often), the one read last at the end."""

    owner: str
    lease: float
    held: tuple[str, ...] = ()
    given_back: tuple[str, ...] = ()
    reads: tuple[tuple[str, int], ...] = ()


class Hold:
    """One reader's. It ends with `release`, with the block it is used for, or when nobody has it any more."""

    __slots__ = ("_holds", "_number")

    def __init__(self, holds: Holds, number: int) -> None:
        self._holds, self._number = holds, number

    def release(self) -> None:
        """Once is enough, more do no harm."""
        self._holds._held.pop(self._number, None)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


class Holds:
    """Of one process. No lock guards what readers do: a reader may be dropped anywhere, by the garbage collector in
    the middle of another hold too, so each hold and each release is one step of the dictionary."""

    def __init__(self, publish: Callable[[News], None], interval: float = 0.1, lease: float = 30.0) -> None:
        """`publish` writes news durably, or raises. A hold is told `interval` seconds after it began at the latest."""
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._publish = publish
        self._interval = interval / 2
        self._lease = lease
        self._held: dict[int, tuple[str, float]] = {}  # number → content, and since when (monotonic)
        self._numbers = itertools.count()
        self._reads: deque[str] = deque(maxlen=_MOST_READS)
        self._published: frozenset[str] = frozenset()
        self._renewed = self._counted = time.monotonic()
        self._telling = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._rests = self._idles = False  # it waits for the next hold; for the next read too
        self._wake = threading.Event()
        self._closed = False

    def hold(self, content_id: str) -> Hold:
        """Keep a content from being evicted and freed, soon and until released; its bytes may be gone already."""
        number = next(self._numbers)
        self._held[number] = (content_id, time.monotonic())
        if self._rests or self._thread is None:
            self._stir()
        return Hold(self, number)

    def note_read(self, key: str) -> None:
        """An object was read, whole or in part."""
        self._reads.append(key)
        if self._idles or self._thread is None:
            self._stir()

    @property
    def count(self) -> int:
        """Readers at this moment."""
        return len(self._held)

    def flush(self) -> None:
        """Tell everything now, however young, and what was told before once more. Raises what `publish` raises."""
        with self._telling:
            self._renewed = -math.inf
            self._tell(time.monotonic(), age=0.0, statistics=True)

    def close(self) -> None:
        """Forget all holds, in the database too, and write the last statistics. Reads under way go on unprotected."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSING)
        self._held.clear()
        try:
            if self._telling.acquire(timeout=_CLOSING):
                try:
                    self._tell(time.monotonic(), age=0.0, statistics=True)
                finally:
                    self._telling.release()
        except KelpError as error:
            log.warning("what was being read stays noted until its time is over: %s", error)

    def _stir(self) -> None:
        self._wake.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._run, name="kelp-holds", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        failing = False
        while not self._closed:
            try:
                with self._telling:
                    self._tell(time.monotonic(), age=self._interval)
                failing = False
            except Exception as error:  # the thread goes on: what could not be told is told next time
                if not failing:
                    known = isinstance(error, KelpError)
                    log.warning("what is being read could not be noted: %s", error, exc_info=not known)
                failing = True
            self._rest(_AFTER_A_FAULT if failing else self._interval)

    def _rest(self, soon: float) -> None:
        """Until the next look; without an end when there is nothing to look at."""
        self._wake.clear()
        self._rests = self._idles = True  # before the look: what comes after it wakes us
        if self._held or self._published or self._closed:
            self._rests = self._idles = False
            pause: float | None = soon
        elif self._reads:
            self._idles = False
            pause = max(soon, self._counted + _STATISTICS - time.monotonic())
        else:
            pause = None
        if not self._closed:
            self._wake.wait(pause)
        self._rests = self._idles = False

    def _tell(self, now: float, age: float, *, statistics: bool = False) -> None:
        seen = self._seen()
        still = frozenset(content_id for content_id, _ in seen)
        long = frozenset(content_id for content_id, since in seen if since <= now - age)
        held = long - self._published
        gone = self._published - still
        again = self._published & still if now - self._renewed > self._lease / 3 else frozenset()
        reads = self._take_reads() if statistics or now - self._counted > _STATISTICS else ()
        if not (held or gone or again or reads):
            return
        news = News(self.owner, self._lease, tuple(sorted(held | again)), tuple(sorted(gone)), reads)
        try:
            self._publish(news)
        except BaseException:
            self._reads.extendleft(key for key, count in reversed(reads) for _ in range(count))
            raise
        if again or not self._published:
            self._renewed = now
        self._published = (self._published - gone) | held
        if reads:
            self._counted = now

    def _seen(self) -> list[tuple[str, float]]:
        while True:
            try:
                return list(self._held.values())
            except RuntimeError:  # it changed meanwhile
                continue

    def _take_reads(self) -> tuple[tuple[str, int], ...]:
        taken: dict[str, int] = {}
        while self._reads and len(taken) < _MOST_AT_ONCE:
            key = self._reads.popleft()
            taken[key] = taken.pop(key, 0) + 1  # to the end: in the order of their last reads
        return tuple(taken.items())
