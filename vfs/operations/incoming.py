"""The body of an upload on its way in: counted, hashed, cut into parts. One for a vault: `sealed_contents`."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from blake3 import blake3

from vfs.errors import UploadIncomplete
from vfs.model import BLOCK_SIZE, PART_SIZE, Content, Expected, Part
from vfs.storage.block_sums import BlockSums


class Held(Protocol):
    """A part in memory, for a store that must be able to send it twice."""

    @property
    def key(self) -> str:
        """Of the object that it becomes."""

    def ready(self) -> tuple[list[bytes], bytes | None]:
        """Its bytes as they are stored, and their sums (`Part.blocks`); asked for once, by whichever thread stores
        them."""


class Incoming(Protocol):
    """What `part_uploads` stores. Each part is either taken by `next_key` and `part`, or held."""

    @property
    def blocks(self) -> bytes | None:
        """Sums of the part that `part` gave last, once it was taken to its end: see `Part.blocks`."""

    def more(self) -> bool:
        """Look whether a byte is left, reading the next piece when needed."""

    def next_key(self) -> str:
        """Of the part that comes next."""

    def part(self) -> Iterator[bytes]:
        """The pieces of one part, at most PART_SIZE bytes of the body together."""

    def held_part(self) -> Held: ...


class _Held:
    def __init__(self, key: str, pieces: list[bytes], blocks: bytes | None) -> None:
        self.key = key
        self._found = pieces, blocks

    def ready(self) -> tuple[list[bytes], bytes | None]:
        return self._found


def _random_id() -> str:
    return str(uuid.uuid4())


class Body:
    """The incoming pieces: counted, hashed, and cut into parts without copying."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        expected: Expected,
        id: str = "",
        new_id: Callable[[], str] = _random_id,
        *,
        hashed: bool = True,
    ) -> None:
        """`id`: of the content to be, which is how the keys of its objects begin; "": as `new_id` says when the first
        is about to be put. `hashed`: its BLAKE3 is wanted."""
        self._id, self._new_id = id, new_id
        self._keys = 0  # given out
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._expected = expected
        # Of a body that will be one part, the store makes the checksum: 1.6 ms of 8 MiB are saved.
        self._whole = blake3() if hashed and (expected.length is None or expected.length > PART_SIZE) else None
        # Who announces one of them (rclone: SHA-1) asks for the other when it compares: both, or none.
        announced = expected.sha1 or expected.md5
        self._sha1 = hashlib.sha1(usedforsecurity=False) if announced else None
        self._md5 = hashlib.md5(usedforsecurity=False) if announced else None
        self._one_block = expected.length is not None and expected.length <= BLOCK_SIZE
        self.size = 0
        self.taken = 0  # of its bytes, by parts
        self.blocks: bytes | None = None

    def next_key(self) -> str:
        self._id = self._id or self._new_id()
        key = f"{self._id}.{self._keys:06d}" if self._keys else self._id
        self._keys += 1
        return key

    def more(self) -> bool:
        while not self._rest:
            piece = next(self._chunks, None)
            if piece is None:
                return False
            self._take(memoryview(piece))
        return True

    def _take(self, piece: memoryview) -> None:
        self.size += len(piece)
        if self._expected.length is not None and self.size > self._expected.length:
            raise UploadIncomplete(f"more than the announced {self._expected.length} bytes came")
        for digest in (self._whole, self._sha1, self._md5):
            if digest is not None:
                digest.update(piece)
        self._rest = piece

    def part(self) -> Iterator[bytes]:
        self.blocks = None
        sums = None if self._one_block else BlockSums()
        for piece in self.cut():
            if sums is not None:
                sums.update(piece)
            yield piece
        if sums is not None:
            self.blocks = sums.finish()

    def cut(self) -> Iterator[bytes]:
        """The next PART_SIZE bytes, in pieces that hold until the next is asked for."""
        left = PART_SIZE
        while left and self.more():
            piece, self._rest = self._rest[:left], self._rest[left:]
            left -= len(piece)
            self.taken += len(piece)
            yield piece  # type: ignore[misc]  # a memoryview serves as bytes everywhere here

    def held_part(self) -> Held:
        pieces = [bytes(piece) for piece in self.part()]
        return _Held(self.next_key(), pieces, self.blocks)

    def content(self, parts: Sequence[Part]) -> Content:
        """What was stored, compared with what was announced. Raises UploadIncomplete."""
        digests = self.verify()
        if self._whole is not None:
            checksum = self._whole.hexdigest()
        else:
            checksum = parts[0].checksum if parts else blake3().hexdigest()
        return Content(self._id or _random_id(), self.size, checksum, digests, tuple(parts))

    def verify(self) -> str | None:
        """Compare with what was announced: the digests, when one was. Raises UploadIncomplete."""
        expected = self._expected
        if expected.length is not None and self.size != expected.length:
            raise UploadIncomplete(f"{self.size} bytes came instead of {expected.length}")
        if self._sha1 is None or self._md5 is None:
            return None
        sha1, md5 = self._sha1.hexdigest(), self._md5.hexdigest()
        if expected.sha1 not in (None, sha1):
            raise UploadIncomplete("the body does not have the announced SHA-1")
        if expected.md5 not in (None, md5):
            raise UploadIncomplete("the body does not have the announced MD5")
        return f"SHA1:{sha1} MD5:{md5}"
