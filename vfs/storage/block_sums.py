"""Sums of the blocks of a part: what tells that a range is good without reading the whole part.

XXH3-64 of each BLOCK_SIZE bytes, 8 bytes big endian each, in order; the last block may be short. They find what a disk
or a cable did, at many times the speed of BLAKE3; against whoever means harm the part's BLAKE3 stands.
"""

from __future__ import annotations

from xxhash import xxh3_64, xxh3_64_digest

from vfs.model import BLOCK_SIZE

SUM_SIZE = 8  # bytes


class BlockSums:
    """Sums made of the pieces of one part as they come, of whatever sizes."""

    def __init__(self) -> None:
        self._sums = bytearray()
        self._open = xxh3_64()  # the block that is not full yet
        self._filled = 0

    def update(self, piece: bytes | memoryview) -> None:
        rest = memoryview(piece).cast("B")
        if self._filled:
            rest = self._fill(rest)
        whole = len(rest) // BLOCK_SIZE * BLOCK_SIZE
        for at in range(0, whole, BLOCK_SIZE):
            self._sums += xxh3_64_digest(rest[at : at + BLOCK_SIZE])
        if whole < len(rest):
            self._fill(rest[whole:])

    def _fill(self, rest: memoryview) -> memoryview:
        """Complete the open block as far as the bytes go; those left over."""
        taken = rest[: BLOCK_SIZE - self._filled]
        self._open.update(taken)
        self._filled += len(taken)
        if self._filled == BLOCK_SIZE:
            self._sums += self._open.digest()
            self._open.reset()
            self._filled = 0
        return rest[len(taken) :]

    def finish(self) -> bytes | None:
        """The sums, for `Part.blocks`; None for a part of at most one block, which its checksum verifies."""
        if self._filled:
            self._sums += self._open.digest()
            self._filled = 0
        return bytes(self._sums) if len(self._sums) > SUM_SIZE else None
