"""A program that works on a mount until that dies: `python -m tests.crash.mount_writer FOLDER LEDGER SEED`.

It notes each step in the ledger before it takes it, and that it was acknowledged after. FOLDER is its own.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.ledger import content

_SMALL = (0, 1, 100, 4096, 5000, 70_000, 200_000)
_BIG = (1 << 20, 3_000_000, (8 << 20) + 1, 12 << 20)
_PIECE = 300_000
_MOST_FILES = 25
_LONGEST = 60.0  # seconds; then nobody has killed the mount


class Writer:
    def __init__(self, folder: Path, ledger: Path, seed: int) -> None:
        self._folder, self._random = folder, random.Random(seed)
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._number = seed * 10_000
        self._names = sorted(entry.name for entry in os.scandir(folder))

    def work(self) -> None:
        """Raises OSError when the mount dies."""
        if self._random.random() < 0.5:
            self._leave_open()
        ways: dict[Callable[[], None], int] = {
            self._new: 6,
            self._big: 2,
            self._append: 3,
            self._in_places: 3,
            self._write_over: 3,
            self._safe_save: 4,
            self._truncate: 2,
            self._rename: 2,
            self._unlink: 3,
        }
        until = time.monotonic() + _LONGEST
        while time.monotonic() < until:
            if len(self._names) > _MOST_FILES:
                self._unlink()
            self._random.choices(list(ways), weights=list(ways.values()))[0]()

    # --- what it does

    def _new(self) -> None:
        self._make(self._new_name(), self._random.choice(_SMALL))

    def _big(self) -> None:
        self._make(self._new_name(), self._random.choice(_BIG))

    def _make(self, name: str, size: int) -> None:
        with self._step("create", name):
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        for at in range(0, size, _PIECE):
            self._write(fd, name, at, min(_PIECE, size - at))
            if self._random.random() < 0.1:
                self._commit(name, lambda: os.fsync(fd))
        if self._random.random() < 0.3:
            self._commit(name, lambda: os.fsync(fd))
        self._commit(name, lambda: os.close(fd))
        self._names.append(name)

    def _append(self) -> None:
        for name in self._any():
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND)
            size = os.fstat(fd).st_size
            for _ in range(self._random.randrange(1, 4)):
                self._write(fd, name, size, 3000)
                size += 3000
                if self._random.random() < 0.5:
                    self._commit(name, lambda fd=fd: os.fsync(fd))  # type: ignore[misc]
            self._commit(name, lambda fd=fd: os.close(fd))  # type: ignore[misc]

    def _in_places(self) -> None:
        for name in self._any():
            fd = os.open(self._folder / name, os.O_RDWR)
            size = os.fstat(fd).st_size
            for _ in range(self._random.randrange(1, 4)):
                self._write(fd, name, self._random.randrange(size + 10_000), self._random.choice((1, 4096, 100_000)))
            if self._random.random() < 0.3:
                cut = self._random.randrange(size + 1)
                with self._step("cut", name, size=cut):
                    os.ftruncate(fd, cut)
            self._commit(name, lambda fd=fd: os.close(fd))  # type: ignore[misc]

    def _write_over(self) -> None:
        """As editors do that are not careful."""
        for name in self._any():
            with self._step("cut", name, size=0):
                fd = os.open(self._folder / name, os.O_WRONLY | os.O_TRUNC)
            self._write(fd, name, 0, self._random.choice((1, 4096, 100_000)))
            self._commit(name, lambda fd=fd: os.close(fd))  # type: ignore[misc]

    def _safe_save(self) -> None:
        """As those do that are."""
        for name in self._any():
            beside = f"{self._new_name()}~"
            self._make(beside, self._random.choice(_SMALL))
            self._move(beside, name)

    def _truncate(self) -> None:
        for name in self._any():
            size = self._random.choice((0, 10, 5000, 9 << 20))
            with self._step("truncate", name, size=size):
                os.truncate(self._folder / name, size)

    def _rename(self) -> None:
        for name in self._any():
            self._move(name, self._new_name())

    def _move(self, name: str, target: str) -> None:
        with self._step("rename", name, target=target):
            os.rename(self._folder / name, self._folder / target)
        self._names.remove(name)
        if target not in self._names:
            self._names.append(target)

    def _unlink(self) -> None:
        for name in self._any():
            with self._step("unlink", name):
                os.unlink(self._folder / name)
            self._names.remove(name)

    def _leave_open(self) -> None:
        name = self._new_name()
        with self._step("create", name):
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._write(fd, name, 0, 50_000)
        self._commit(name, lambda: os.fsync(fd))
        self._write(fd, name, 40_000, 500_000)  # and nobody closes it

    # --- with what

    def _write(self, fd: int, name: str, at: int, size: int) -> None:
        self._number += 1
        with self._step("write", name, at=at, size=size, number=self._number):
            if os.pwrite(fd, content(self._number, size), at) < size:
                raise OSError(errno.ECONNABORTED, "the mount died in the middle of it")

    def _commit(self, name: str, call: Callable[[], None]) -> None:
        with self._step("commit", name):
            call()

    @contextmanager
    def _step(self, what: str, name: str, **facts: object) -> Iterator[None]:
        self._note({"what": what, "name": name, **facts})
        yield
        self._note({"what": "done"})

    def _note(self, line: object) -> None:
        os.write(self._ledger, json.dumps(line).encode() + b"\n")

    def _any(self) -> list[str]:
        return [self._random.choice(self._names)] if self._names else []

    def _new_name(self) -> str:
        self._number += 1
        return f"{self._number} é.bin"


def main(folder: str, ledger: str, seed: str) -> None:
    try:
        Writer(Path(folder), Path(ledger), int(seed)).work()
    except OSError as error:
        print(f"{error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
