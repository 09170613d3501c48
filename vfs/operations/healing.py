"""What readers ask for when a store fails them: done in the background, so that none of them waits."""

from __future__ import annotations

import threading
from functools import partial

from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import Content, Part
from vfs.operations import restoring

_TEED = 32 * 1024 * 1024  # bytes that readers have put aside for restoring, in the whole process


class Tee:
    """The verified bytes of a part that a reader goes through, put aside. For one thread at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def drop(self) -> None:
        """Give the memory back; once is enough."""
        _teed.give(self._size)
        self._size = 0
        self.pieces = []

    def __del__(self) -> None:
        self.drop()  # its restore had no turn: the drive was closed before


class _Teed:
    def __init__(self) -> None:
        self._bytes = 0
        self._guard = threading.RLock()  # a Tee may be collected anywhere, in here too

    def take(self, size: int) -> bool:
        with self._guard:
            if self._bytes + size > _TEED:
                return False
            self._bytes += size
            return True

    def give(self, size: int) -> None:
        with self._guard:
            self._bytes -= size


_teed = _Teed()


def tee(part: Part) -> Tee | None:
    """For a reader that will have all of a part; None when readers have put enough aside already."""
    return Tee(part.size) if _teed.take(part.size) else None


def ask(kelp: Kelp, content: Content, number: int, fault: KelpError, tee: Tee | None = None) -> None:
    """The cache did not have part `number` of a content, or has it wrong (`fault`): restore it in the background."""
    key = content.parts[number].key

    def work() -> None:
        try:
            restoring.restore_part(kelp, content, number, fault, tee.pieces if tee else None)
        finally:
            if tee:
                tee.drop()

    if not kelp.background.submit(("restore", key), work) and tee:
        tee.drop()


def lost(kelp: Kelp, content: Content, number: int) -> None:
    """Neither store has part `number` of a content: an admin is told, in the background."""
    kelp.background.submit(("lost", content.id), partial(restoring.lose, kelp, content, content.parts[number], None))


def learn_blocks(kelp: Kelp, part: Part, blocks: bytes) -> None:
    """A part from before the sums of blocks were kept was read whole: from now on a range of it is enough."""

    def work() -> None:
        with kelp.database.write(quiet=True) as tx:
            tx.restoring.learn_blocks(part.key, part.checksum, blocks)

    kelp.background.submit(("blocks", part.key), work)
