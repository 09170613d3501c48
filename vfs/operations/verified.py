"""Bytes of a part, from whatever store: verified before any of them goes out.

A range is widened to whole blocks, whose sums tell (`Part.blocks`). A part of one block, and one from before sums were
kept, is read whole and told by its BLAKE3. Of an adopted file nobody has read yet nothing is known but its length.
"""

from __future__ import annotations

from collections.abc import Iterator

from blake3 import blake3
from xxhash import xxh3_64_digest

from vfs.core import Kelp
from vfs.errors import ContentCorrupt
from vfs.model import BLOCK_SIZE, PIECE_SIZE, ByteRange, Part
from vfs.storage.block_sums import SUM_SIZE, BlockSums


class Verifier:
    """For one part; any number of ranges of it, one after another."""

    def __init__(self, part: Part, blocks: bytes | None) -> None:
        self.part = part
        self._blocks = blocks
        self.learned: bytes | None = None
        """Sums of the blocks of a part that had none, once it was read."""

    @property
    def is_known(self) -> bool:
        """False for a part that cannot be verified."""
        return bool(self.part.checksum)

    def span(self, wanted: ByteRange) -> ByteRange:
        """What must be read so that `wanted` can be verified."""
        if not self.part.checksum:
            return wanted
        if self._blocks is None:
            return ByteRange(0, self.part.size)
        stop = -(-wanted.stop // BLOCK_SIZE) * BLOCK_SIZE
        return ByteRange(wanted.start // BLOCK_SIZE * BLOCK_SIZE, min(stop, self.part.size))

    def pieces(self, read: Iterator[bytes], wanted: ByteRange, source: str) -> Iterator[bytes]:
        """`wanted` of `read`, which gives `span(wanted)`: all up to the first bad block, then ContentCorrupt.

        `source` is for the message.
        """
        if not self.part.checksum:
            return self._counted(read, wanted, source)
        if self._blocks is None:
            return self._whole(read, wanted, source)
        return self._by_blocks(read, self._blocks, wanted, source)

    def is_good(self, at: int, data: memoryview) -> bool:
        """Whether `data` is what was stored there: all of a span that `span` gave."""
        if self._blocks is None:
            return len(data) == self.part.size and blake3(data).hexdigest() == self.part.checksum
        sums = b"".join([xxh3_64_digest(data[n : n + BLOCK_SIZE]) for n in range(0, len(data), BLOCK_SIZE)])
        first = at // BLOCK_SIZE * SUM_SIZE
        return self._blocks[first : first + len(sums)] == sums

    def _by_blocks(self, read: Iterator[bytes], blocks: bytes, wanted: ByteRange, source: str) -> Iterator[bytes]:
        at, end = self.span(wanted)
        rest = b""
        for piece in read:
            if rest:
                piece = rest + piece
            size = len(piece)
            whole = size if at + size == end else size // BLOCK_SIZE * BLOCK_SIZE
            view = memoryview(piece)
            sums = b"".join([xxh3_64_digest(view[n : n + BLOCK_SIZE]) for n in range(0, whole, BLOCK_SIZE)])
            first = at // BLOCK_SIZE * SUM_SIZE
            is_good = blocks[first : first + len(sums)] == sums and at + size <= end
            if not is_good:
                whole = _equal_sums(sums, blocks[first:]) * BLOCK_SIZE
            good, rest = (piece, b"") if whole == size else (piece[:whole], piece[whole:])
            if at < wanted.start or at + whole > wanted.stop:
                good = good[max(wanted.start - at, 0) : wanted.stop - at]
            at += whole
            if good:
                yield good
            if not is_good:
                raise self._corrupt(source, f"at byte {at}")
        if at != end:
            raise self._corrupt(source, f"ends at byte {at + len(rest)}")

    def _whole(self, read: Iterator[bytes], wanted: ByteRange, source: str) -> Iterator[bytes]:
        whole = b"".join(read)
        if len(whole) != self.part.size or blake3(whole).hexdigest() != self.part.checksum:
            raise self._corrupt(source, "in a part of it")
        if len(whole) > BLOCK_SIZE:
            sums = BlockSums()
            sums.update(whole)
            self.learned = sums.finish()
        if wanted == (0, len(whole)) and len(whole) <= PIECE_SIZE:
            yield whole
            return
        for at in range(wanted.start, wanted.stop, PIECE_SIZE):
            yield whole[at : min(at + PIECE_SIZE, wanted.stop)]

    def _counted(self, read: Iterator[bytes], wanted: ByteRange, source: str) -> Iterator[bytes]:
        left = wanted.stop - wanted.start
        for piece in read:
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise self._corrupt(source, "its length changed")

    def _corrupt(self, source: str, where: str) -> ContentCorrupt:
        return ContentCorrupt(f"{source}: {self.part.key}: other bytes than were stored, {where}")


def _equal_sums(some: bytes, others: bytes) -> int:
    """How many are equal before the first that is not."""
    for n in range(0, len(some), SUM_SIZE):
        if some[n : n + SUM_SIZE] != others[n : n + SUM_SIZE]:
            return n // SUM_SIZE
    return len(some) // SUM_SIZE


def verifier_of(kelp: Kelp, part: Part) -> Verifier:
    """Asks the database for sums that `part` lacks: of a content with very many parts, or learned since."""
    blocks = part.blocks
    if blocks is None and part.checksum and part.size > BLOCK_SIZE:
        with kelp.database.read() as tx:
            blocks = tx.contents.blocks(part.key)
    return Verifier(part, blocks)
