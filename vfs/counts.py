"""The counts of several processes as one: each writes its own to a file, and whoever is asked adds them up.

A port that is shared gives a scrape to any of its processes, and each must tell the same. So each keeps one file in the
data folder and writes it once a second while something changes, and right before it adds up; a count that was shown is
thus never shown lower later, by whomever. A process has the kernel's lock on its file for as long as it lives. Who
begins takes over a file that nobody holds, with the counts in it: a process that died is not forgotten, and the files
are never more than the processes there were at once. After a SIGKILL at most a second is lost: it may come in the
middle of a write, and so may a look, so a file has two places, written in turn.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from vfs import metrics
from vfs.metrics import Counts, Gauge

log = logging.getLogger(__name__)

_PERIOD = 1.0  # seconds between two looks whether there is something to write
_STEADY = 15.0  # … and between two writes where nothing was counted: memory changes all the time
_TRIES = 5  # to read a file that was written twice meanwhile
_HEAD = 35  # bytes, in hex, each with a blank: CRC of what follows, length of the body, how many were written before
_PLACE = 1 << 18  # bytes from the first place to the second; a body has 14 to 50 KB
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a file tells. `alive`: the process that wrote it still is. `number`: of the write."""

    kind: str
    memory: int
    alive: bool
    counts: Counts
    number: int = 0


class Counting:
    """The counts of this process, and of those it shares a folder with."""

    def __init__(self, kind: str = "server") -> None:
        """Alone, until `share`. `kind`: what the process is, "server" or "worker"."""
        self._kind = kind
        self._folder: Path | None = None
        self._file = -1
        self._base: Counts = {}  # of the processes that had the file before
        self._number = 0  # of the last write
        self._guard = threading.Lock()
        self._written: tuple[float, Counts] = (0.0, {})  # when (monotonic), and what

    def share(self, folder: Path) -> None:
        """Take a file of `folder`, which is made when missing. Raises OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = _take(folder)
        told = _read(self._file)
        if told is not None:
            self._base, self._number = told.counts, told.number
        self._folder = folder
        self.write()

    def write(self, steady: float = 0.0) -> None:
        """Tell the others; nothing where nothing was counted since, not `steady` seconds long. Raises OSError."""
        if self._folder is None:
            return
        with self._guard:
            counts = self._own()
            now = time.monotonic()
            if counts == self._written[1] and now < self._written[0] + steady:
                return
            self._number += 1  # also of one that fails: it may have left half
            _write(self._file, self._kind, counts, self._number)
            self._written = (now, counts)

    def totals(self) -> tuple[Counts, list[Gauge]]:
        """What all processes counted, and how many there are with how much memory."""
        told = [_Told(self._kind, memory(), True, self._own())]
        if self._folder is not None:
            _quietly(self.write)  # or the next one who is asked would show less
            told += _others(self._folder, self._file)
        return _sum(one.counts for one in told), _processes(told)

    def _own(self) -> Counts:
        return _sum((self._base, metrics.counted()))

    def close(self) -> None:
        """The counts stay, for the successor."""
        if self._folder is not None:
            self.write()
            self._folder = None
            os.close(self._file)


@contextmanager
def shared(folder: Path, kind: str) -> Iterator[Counting]:
    """Counts of this process, told to the others in `folder` once a second. Without the folder, they are its own."""
    counting = Counting(kind)
    try:
        counting.share(folder)
    except OSError as error:
        log.warning("other processes cannot see what this one counts, %s: %s", folder, error.strerror or error)
        yield counting
        return
    ended = threading.Event()
    thread = threading.Thread(target=_tell, args=(counting, ended), name="counts", daemon=True)
    thread.start()
    try:
        yield counting
    finally:
        ended.set()
        thread.join(5.0)
        _quietly(counting.close)


def memory() -> int:
    """Bytes of this process that are in memory; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _tell(counting: Counting, ended: threading.Event) -> None:
    while not ended.wait(_PERIOD):
        _quietly(lambda: counting.write(_STEADY))


def _quietly(write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:  # a disk that is full: the next second may do
        log.debug("the counts could not be written: %s", error)


def _sum(parts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + value
    return total


def _processes(told: list[_Told]) -> list[Gauge]:
    count: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for one in filter(lambda one: one.alive, told):
        count[one.kind] += 1
        used[one.kind] += one.memory
    return [
        Gauge.by("kind", "processes", "Processes that work on this machine's data folder", count),
        Gauge.by("kind", "process_memory_bytes", "Their resident memory, together", used),
    ]


# --- the files ---


def _take(folder: Path) -> int:
    """Descriptor of a file that is ours from now on: one whose process is gone, else a new one."""
    number = 0
    while True:
        file = os.open(folder / f"{number}.counts", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            os.close(file)
            number += 1
        except OSError:
            os.close(file)
            raise


def _others(folder: Path, own: int) -> Iterator[_Told]:
    mine = os.fstat(own).st_ino
    for path in sorted(folder.glob("*.counts")):
        with open(path, "rb") as file:
            told = _read(file.fileno()) if os.fstat(file.fileno()).st_ino != mine else None
            if told is not None:
                yield replace(told, alive=_is_held(file.fileno()))


def _is_held(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _write(file: int, kind: str, counts: Counts, number: int) -> None:
    values = [[name, labels, value] for (name, labels), value in counts.items()]
    facts = {"kind": kind, "memory": memory(), "layout": _layout(), "counts": values}
    body = json.dumps(facts, separators=(",", ":")).encode()
    said = b"%08x %016x " % (len(body), number) + body
    os.pwrite(file, b"%08x " % zlib.crc32(said) + said, number % 2 * _PLACE)


def _read(file: int) -> _Told | None:
    """The last that was written whole. None for what another version of Kelp wrote, or a power cut left half."""
    for _ in range(_TRIES):
        whole = [one for place in (0, _PLACE) if (one := _whole(os.pread(file, _PLACE, place)))]
        if whole:
            number, body = max(whole)
            facts = json.loads(body)
            if facts["layout"] != _layout():
                return None
            counts = {(name, tuple((label, of) for label, of in labels)): n for name, labels, n in facts["counts"]}
            return _Told(facts["kind"], facts["memory"], False, counts, number)
        time.sleep(0.001)
    return None


def _whole(data: bytes) -> tuple[int, bytes] | None:
    """Number and body of a place; None when it was never written, or not to the end."""
    try:
        crc, length, number = int(data[:8], 16), int(data[9:17], 16), int(data[18 : _HEAD - 1], 16)
    except ValueError:
        return None
    return (number, data[_HEAD : _HEAD + length]) if zlib.crc32(data[9 : _HEAD + length]) == crc else None


@lru_cache(maxsize=1)
def _layout() -> str:
    return blake2b(metrics.layout().encode(), digest_size=8).hexdigest()
