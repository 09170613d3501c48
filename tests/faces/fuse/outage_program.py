"""A program that uses a mount all the time: `python -m tests.faces.fuse.outage_program write|read PLACE LEDGER`.

Each call that answers is a line in the ledger: what it was, when it began, how long it took, its errno or 0. `write`
makes file after file in the folder PLACE, `read` reads pieces of the file PLACE, of which the kernel remembers nothing.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.ledger import content

SIZE = 5000
PAUSE = 0.05


def from_mount(fd: int, size: int, at: int) -> bytes:
    """Of a file opened with O_DIRECT: what the mount answers now, not what the kernel remembers."""
    with mmap.mmap(-1, size) as room:  # it begins at a page, as it must
        return room[: os.preadv(fd, [room], at)]


class Program:
    def __init__(self, place: Path, ledger: Path) -> None:
        self._place = place
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self) -> None:
        for number in range(1, 1_000_000):
            self._timed(f"close {number}", lambda number=number: self._save(number))  # type: ignore[misc]
            time.sleep(PAUSE)

    def _save(self, number: int) -> None:
        fd = os.open(self._place / f"{number}", os.O_WRONLY | os.O_CREAT)
        try:
            if os.write(fd, content(number, SIZE)) < SIZE:
                raise OSError(28, "a part")
        except OSError:
            os.close(fd)
            raise
        os.close(fd)

    def read(self) -> None:
        chance = random.Random(1)
        while True:
            self._timed("read", lambda: self._read(chance))
            time.sleep(PAUSE)

    def _read(self, chance: random.Random) -> None:
        fd = os.open(self._place, os.O_RDONLY | os.O_DIRECT)
        try:
            size = os.fstat(fd).st_size
            at = chance.randrange(size // 4096) * 4096
            if from_mount(fd, 4096, at) != content(0, size)[at : at + 4096]:
                os.write(self._ledger, b'["wrong bytes", 0, 0, -1]\n')
        finally:
            os.close(fd)

    def _timed(self, what: str, call: Callable[[], None]) -> None:
        begun, number = time.time(), 0
        try:
            call()
        except OSError as error:
            number = error.errno or -1
        line = json.dumps([what, begun, time.time() - begun, number])
        os.write(self._ledger, line.encode() + b"\n")


if __name__ == "__main__":
    getattr(Program(Path(sys.argv[2]), Path(sys.argv[3])), sys.argv[1])()
