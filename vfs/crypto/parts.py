"""Parts of a content, sealed each under a key of its own (docs/vault-format.md, "Parts").

A `NewPart` is sealed once and thrown away when that fails: two plain texts under one key and the same frame numbers
would show what differs between them. What remains of it is its `PartKey`. Sealing and opening work on 1 MiB at a time,
with the interpreter's lock released for each frame; keys may be used by many threads, an iterator by one.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.crypto import frames
from vfs.crypto.frames import FRAME_SIZE, MAX_PLAIN_SIZE, SEALED_FRAME_SIZE, TAG_SIZE
from vfs.crypto.vault_keys import ID_SIZE, KEY_SIZE
from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE

_BATCH = PIECE_SIZE // FRAME_SIZE  # frames of one piece of work
_NAME_LENGTH = 26


def part_name(part_id: bytes) -> str:
    """The key of its object in the cache and its file's name on the NAS: 26 characters of base32 in lower case."""
    return base64.b32encode(part_id).decode("ascii").rstrip("=").lower()


def part_id(name: str) -> bytes:
    """The inverse. Raises ValueError: not the name of a part."""
    if len(name) == _NAME_LENGTH and name.isascii():
        try:
            value = base64.b32decode(name.upper() + "======")
        except binascii.Error:
            pass
        else:
            if part_name(value) == name:
                return value
    raise ValueError(f"not the name of a part: {name!r}")


@dataclass(frozen=True, slots=True)
class PartKey:
    """What opens a part; it is kept in a sealed part list only."""

    id: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.id) != ID_SIZE or len(self.secret) != KEY_SIZE:
            raise ValueError("a part has an id of 16 bytes and a key of 32")

    @property
    def name(self) -> str:
        return part_name(self.id)


class NewPart:
    """A part that is about to be sealed, once. Raises ValueError when that is tried again."""

    def __init__(self) -> None:
        self.key = PartKey(secrets.token_bytes(ID_SIZE), secrets.token_bytes(KEY_SIZE))
        self._use = threading.Lock()  # taken for good by the one who seals

    def seal(self, chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
        """1 to 8 MiB of plain bytes in pieces of any size, sealed as they come, in pieces of about 1 MiB.

        Holds 2 MiB and one of `chunks`. Raises ValueError for no bytes at all or too many, at the end or where they
        are too many: what was given out by then is to be thrown away.
        """
        self._begin()
        return self._seal(chunks)

    def seal_buffer(self, plain: bytes | bytearray | memoryview) -> memoryview:
        """The whole part at once: 1 byte to 8 MiB."""
        self._begin()
        frames.frame_count(len(plain))
        return _seal_frames(AESGCM(self.key.secret), self.key.id, 0, memoryview(plain), ends=True)

    def _begin(self) -> None:
        if not self._use.acquire(blocking=False):
            raise ValueError(f"part {self.key.name} was sealed before; its key must not be used again")

    def _seal(self, chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
        cipher = AESGCM(self.key.secret)
        held, number, total = bytearray(), 0, 0
        for chunk in chunks:
            total += len(chunk)
            if total > MAX_PLAIN_SIZE:
                raise ValueError(f"no part has more than {MAX_PLAIN_SIZE} bytes")
            rest = memoryview(chunk)
            while len(held) + len(rest) > PIECE_SIZE:  # not when equal: the last frame must be known as such
                taken = PIECE_SIZE - len(held)
                if held:
                    held += rest[:taken]
                    piece = memoryview(held)
                else:
                    piece = rest[:taken]
                yield _seal_frames(cipher, self.key.id, number, piece, ends=False)
                number += _BATCH
                held, rest = bytearray(), rest[taken:]
            held += rest
        if not total:
            raise ValueError("no part is empty")
        yield _seal_frames(cipher, self.key.id, number, memoryview(held), ends=True)


def open_range(
    key: PartKey, plain_length: int, start: int, end: int, sealed: Iterable[bytes | memoryview]
) -> Iterator[memoryview]:
    """Plain bytes [start, end) of a part, in pieces of at most 1 MiB, each verified before it is given out.

    `sealed`: the bytes of `frames.sealed_range(plain_length, start, end)`, in pieces of any size. `plain_length`: of
    the whole part, from the part list. Raises ContentCorrupt, naming part and frame, for bytes that are not those,
    for too few, and for too many; ValueError for no range of the part.
    """
    wanted = frames.sealed_range(plain_length, start, end)
    return _open(key, plain_length, start, end, wanted, sealed)


def open_buffer(key: PartKey, plain_length: int, sealed: bytes | bytearray | memoryview) -> memoryview:
    """A whole part at once. Raises ContentCorrupt."""
    if len(sealed) != frames.sealed_length(plain_length):
        raise ContentCorrupt(f"part {key.name}: has {len(sealed)} bytes, not {frames.sealed_length(plain_length)}")
    return _open_frames(key, AESGCM(key.secret), 0, frames.frame_count(plain_length), memoryview(sealed))


def _open(
    key: PartKey,
    plain_length: int,
    start: int,
    end: int,
    wanted: frames.SealedRange,
    sealed: Iterable[bytes | memoryview],
) -> Iterator[memoryview]:
    cipher, count = AESGCM(key.secret), frames.frame_count(plain_length)
    number = wanted.first_frame
    for batch in _batches(key, wanted.stop - wanted.start, sealed):
        at = number * FRAME_SIZE
        plain = _open_frames(key, cipher, number, count, batch)
        yield plain[max(start - at, 0) : end - at]
        number += _BATCH


def _batches(key: PartKey, length: int, sealed: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """`length` bytes of `sealed` in whole frames, 16 at a time."""
    size = _BATCH * SEALED_FRAME_SIZE
    held, left = bytearray(), length
    batch: bytearray | memoryview | None
    for chunk in sealed:
        rest = memoryview(chunk)
        if len(held) + len(rest) > left:
            raise ContentCorrupt(f"part {key.name}: more bytes than its length allows")
        while rest:
            full = min(size, left)
            taken = full - len(held)
            if held or len(rest) < taken:
                held += rest[:taken]
                batch = held if len(held) == full else None
            else:
                batch = rest[:taken]
            rest = rest[taken:]
            if batch is not None:
                left -= full
                yield memoryview(batch)
                held = bytearray()
    if left:
        raise ContentCorrupt(f"part {key.name}: ends {left - len(held)} bytes too early")


def _seal_frames(cipher: AESGCM, part: bytes, first: int, plain: memoryview, *, ends: bool) -> memoryview:
    count = -(-len(plain) // FRAME_SIZE)
    sealed = memoryview(bytearray(len(plain) + count * TAG_SIZE))
    for index in range(count):
        at, to = index * FRAME_SIZE, index * SEALED_FRAME_SIZE
        is_last = ends and index == count - 1
        piece = plain[at : at + FRAME_SIZE]
        frames.seal_into(cipher, part, first + index, is_last, piece, sealed[to : to + len(piece) + TAG_SIZE])
    return sealed.toreadonly()


def _open_frames(key: PartKey, cipher: AESGCM, first: int, total: int, sealed: memoryview) -> memoryview:
    """`total`: frames of the part. Raises ContentCorrupt."""
    count = -(-len(sealed) // SEALED_FRAME_SIZE)
    plain = memoryview(bytearray(len(sealed) - count * TAG_SIZE))
    for index in range(count):
        at, to = index * SEALED_FRAME_SIZE, index * FRAME_SIZE
        piece, number = sealed[at : at + SEALED_FRAME_SIZE], first + index
        try:
            into = plain[to : to + len(piece) - TAG_SIZE]
            frames.open_into(cipher, key.id, number, number == total - 1, piece, into)
        except ContentCorrupt as error:
            raise ContentCorrupt(f"part {key.name}: {error}") from error
    return plain.toreadonly()
