"""What programs do in a folder, as one pass: a big file, then many small ones."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from bench.client import Failed
from bench.mounts import Mounted

MIB = 1 << 20
SMALL = 4096  # bytes
_IN_A_FOLDER = 100  # files
_DROP = Path("/proc/sys/vm/drop_caches")

# key → (name, unit), in the order of the tables
CASES = {
    "write": ("write a big file by 1 MiB, sync, close", "MB/s"),
    "write-stored": ("… until it is stored behind the mount", "MB/s"),
    "read": ("read it by 1 MiB", "MB/s"),
    "read-4k": ("read 4 KiB here and there in it", "a second"),
    "write-4k": ("write 4 KiB here and there in it, at last sync", "a second"),
    "write-4k-stored": ("… until all is stored behind the mount", "a second"),
    "create": ("create, write 4 KiB, close", "a second"),
    "create-stored": ("… until all are stored behind the mount", "a second"),
    "stat": ("stat", "a second"),
    "list": ("ls -lR", "entries a second"),
    "read-small": ("open, read 4 KiB, close", "a second"),
    "unlink": ("unlink", "a second"),
    "unlink-stored": ("… until all are gone behind the mount", "a second"),
    "unlink-synced": ("unlink, sync the folder", "a second"),
}
BIG = ("write", "write-stored", "read", "read-4k", "write-4k", "write-4k-stored")
STORED = {key: f"{key}-stored" for key in ("write", "write-4k", "create", "unlink")}
UNSYNCED = ("unlink", STORED["unlink"])
CHANGING = (*({*STORED, *STORED.values()} - {*UNSYNCED}), "unlink-synced")  # and durable


class Sizes(NamedTuple):
    """`big` in MiB; `random`: how many reads and writes of 4 KiB; `files`: small ones."""

    big: int = 256
    random: int = 2_000
    files: int = 10_000


@dataclass(frozen=True)
class Reading:
    """`rate` in the case's unit, `cpu`: seconds of the mount's processes for an operation (for a MiB of a big file)."""

    rate: float
    cpu: float
    seconds: float


Readings = dict[str, Reading]


class Pass:
    """One after the other, in a folder of its own; `found` is filled. `reads`: with the cases that are the same whether
    somebody syncs what is written or not."""

    def __init__(self, mounted: Mounted, number: int, sizes: Sizes, *, reads: bool = True) -> None:
        self.found: Readings = {}
        self._mounted, self._sizes, self._reads = mounted, sizes, reads
        self._folder = mounted.path / f"pass-{number}"
        self._big = self._folder / "big"
        self._chance = random.Random(number)  # the same for all
        self._folder.mkdir()

    def big(self) -> None:
        size, count = self._sizes.big, self._sizes.random
        with self._timed("write", size, size * MIB / 1e6):
            self._write_big()
        if self._reads:
            self._forget_bytes()  # what follows finds every folder at rest
            with self._timed("read", size, size * MIB / 1e6):
                self._read_big()
            self._forget_bytes()
            with self._timed("read-4k", count):
                self._anywhere(os.O_RDONLY, lambda fd, at: len(os.pread(fd, SMALL, at)))
        with self._timed("write-4k", count):
            self._anywhere(os.O_RDWR, lambda fd, at: os.pwrite(fd, bytes(SMALL), at))
        self._big.unlink()

    def files(self) -> None:
        paths = [self._folder / f"{n // _IN_A_FOLDER}" / f"file-{n}" for n in range(self._sizes.files)]
        for folder in dict.fromkeys(path.parent for path in paths):
            folder.mkdir()
        _forget_removed()
        body = os.urandom(SMALL)
        self._each("create", paths, lambda path: _create(path, body, self._mounted.sync))
        if self._reads:
            forget_names()
            self._each("stat", paths, _look)
            forget_names()
            with self._timed("list", len(paths)):
                subprocess.run(["ls", "-lR", str(self._folder)], stdout=subprocess.DEVNULL, check=True)
            self._each("read-small", paths, lambda path: _compare(path, body))
        half = len(paths) // 2
        if self._reads:
            self._each("unlink", paths[:half], Path.unlink)
        with self._timed("unlink-synced", len(paths) - half):
            self._unlink_durably(paths[half:])

    def _each(self, key: str, paths: list[Path], action: Callable[[Path], None]) -> None:
        with self._timed(key, len(paths)):
            for path in paths:
                action(path)

    @contextmanager
    def _timed(self, key: str, count: int, amount: float | None = None) -> Iterator[None]:
        """`amount`: what the rate counts, where that is not operations."""
        before, began = self._mounted.cpu(), time.perf_counter()
        yield
        self._note(key, count, amount, time.perf_counter() - began, before)
        if key in STORED:
            self._note(STORED[key], count, amount, self._mounted.rest() - began, before)

    def _note(self, key: str, count: int, amount: float | None, seconds: float, before: float) -> None:
        used = self._mounted.cpu() - before
        self.found[key] = Reading((count if amount is None else amount) / seconds, used / count, seconds)

    def _unlink_durably(self, paths: list[Path]) -> None:
        """The program has the folder open, as one has that removes many files in it."""
        for folder, found in groupby(paths, lambda path: path.parent):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for path in found:
                    path.unlink()
                    os.fsync(fd)
                    if self._mounted.sync_folder is not None:
                        self._mounted.sync_folder(folder)
            finally:
                os.close(fd)

    def _write_big(self) -> None:
        piece = os.urandom(MIB)
        with self._big.open("wb", buffering=0) as file:
            for _ in range(self._sizes.big):
                file.write(piece)
            os.fsync(file)
            self._sync_big()

    def _sync_big(self) -> None:
        if self._mounted.sync is not None:
            self._mounted.sync(self._big)

    def _read_big(self) -> None:
        with self._big.open("rb", buffering=0) as file:
            buffer, total = bytearray(MIB), 0
            while size := file.readinto(buffer):
                total += size
        if total != self._sizes.big * MIB:
            raise Failed(f"{self._mounted.label}: {total} bytes were read")

    def _anywhere(self, flags: int, action: Callable[[int, int], int]) -> None:
        last = self._sizes.big * MIB // SMALL - 1
        fd = os.open(self._big, flags)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for _ in range(self._sizes.random):
                if action(fd, self._chance.randint(0, last) * SMALL) != SMALL:
                    raise Failed(f"{self._mounted.label}: not all of 4 KiB")
            if flags != os.O_RDONLY:
                os.fsync(fd)
                self._sync_big()
        finally:
            os.close(fd)

    def _forget_bytes(self) -> None:
        """What the kernel has of a mounted file, else it answers by itself. With the disk's own that is what counts."""
        if self._mounted.pid:
            fd = os.open(self._big, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def can_forget_names() -> bool:
    return os.access(_DROP, os.W_OK)


def forget_names() -> None:
    """What the kernel remembers of names and attributes, where that is allowed (root)."""
    if can_forget_names():
        _DROP.write_text("2")


def _forget_removed() -> None:
    """ext4 gives nobody an inode that was removed within minutes, as long as it has the block at hand that tells when:
    making a file looks past them all, one by one. So whoever comes after a mass removal would pay for it."""
    if can_forget_names():
        os.sync()
        _DROP.write_text("1")


def _create(path: Path, body: bytes, sync: Callable[[Path], None] | None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(fd, body)
        if sync is not None:
            sync(path)
    finally:
        os.close(fd)


def _look(path: Path) -> None:
    if os.stat(path).st_size != SMALL:
        raise Failed(f"{path} has another size")


def _compare(path: Path, body: bytes) -> None:
    with path.open("rb", buffering=0) as file:
        if file.read() != body:
            raise Failed(f"{path} has other bytes")
