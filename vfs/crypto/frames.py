"""Frames of a sealed part (docs/vault-format.md, "Parts"): AES-256-GCM over 64 KiB each, 16 bytes longer when sealed.

Pure arithmetic, and runs of frames sealed or opened. A frame is bound to its part's id, its number and whether it is
the last. Runs go through `map`: each frame is some µs without the interpreter's lock, and between two of them little is
done with it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.errors import ContentCorrupt
from vfs.model import PART_SIZE

FRAME_SIZE = 64 * 1024  # plain bytes; only the last frame of a part has less
TAG_SIZE = 16
SEALED_FRAME_SIZE = FRAME_SIZE + TAG_SIZE
MAX_PLAIN_SIZE = PART_SIZE  # of a part: the format's limit, whatever a drive is set to
_AD = b"kelp part 1"
_BOUND = struct.Struct(f">{len(_AD)}s16sQB")  # and the part's id, the frame's number, whether it is the last
_NONCES = [number.to_bytes(12, "big") for number in range(MAX_PLAIN_SIZE // FRAME_SIZE)]  # the frame's number


class SealedRange(NamedTuple):
    """Bytes of a sealed part, half open, that hold a range of its plain bytes; they begin with `first_frame`."""

    start: int
    stop: int
    first_frame: int


def frame_count(plain_length: int) -> int:
    """Raises ValueError: there is no part without bytes, and none over 8 MiB."""
    if not 0 < plain_length <= MAX_PLAIN_SIZE:
        raise ValueError(f"no part has {plain_length} bytes")
    return -(-plain_length // FRAME_SIZE)


def sealed_length(plain_length: int) -> int:
    """Raises ValueError, as `frame_count`."""
    return plain_length + TAG_SIZE * frame_count(plain_length)


def plain_length(sealed: int) -> int:
    """The inverse. Raises ContentCorrupt: no part is as long as `sealed`."""
    frames = -(-sealed // SEALED_FRAME_SIZE)
    plain = sealed - TAG_SIZE * frames
    if sealed <= 0 or not 0 < plain <= MAX_PLAIN_SIZE or sealed_length(plain) != sealed:
        raise ContentCorrupt(f"no sealed part has {sealed} bytes")
    return plain


def sealed_range(plain_length: int, start: int, end: int) -> SealedRange:
    """The whole frames that hold plain bytes [start, end) of a part. Raises ValueError: no range of it."""
    total = sealed_length(plain_length)
    if not 0 <= start <= end <= plain_length:
        raise ValueError(f"no range of {plain_length} bytes: {start} to {end}")
    first = start // FRAME_SIZE
    begin = min(first * SEALED_FRAME_SIZE, total)
    if start == end:
        return SealedRange(begin, begin, first)
    return SealedRange(begin, min(-(-end // FRAME_SIZE) * SEALED_FRAME_SIZE, total), first)


def seal_run(cipher: AESGCM, part_id: bytes, first: int, plain: Sequence[memoryview], *, ends: bool) -> memoryview:
    """Frames `first`, … sealed, in one piece; `ends`: the last of them is the part's. A number is used once under one
    key, ever."""
    sealed = memoryview(bytearray(sum(map(len, plain)) + TAG_SIZE * len(plain)))
    into = cut(sealed, SEALED_FRAME_SIZE)
    _check_run(first, plain, into)
    deque(map(cipher.encrypt_into, _NONCES[first:], plain, _bound(part_id, first, len(plain), ends), into), maxlen=0)
    return sealed.toreadonly()


def open_run(cipher: AESGCM, part_id: bytes, first: int, sealed: Sequence[memoryview], *, ends: bool) -> memoryview:
    """The inverse. Raises ContentCorrupt, naming the frame."""
    plain = memoryview(bytearray(max(sum(map(len, sealed)) - TAG_SIZE * len(sealed), 0)))
    open_into(cipher, part_id, first, sealed, plain, ends=ends)
    return plain.toreadonly()


def open_into(
    cipher: AESGCM, part_id: bytes, first: int, sealed: Sequence[memoryview], plain: memoryview, *, ends: bool
) -> None:
    """The same, into room for just the plain bytes; after an exception nobody may look at what is there."""
    into = cut(plain, FRAME_SIZE)
    _check_run(first, sealed, into)
    opened = 0
    try:
        for _ in map(cipher.decrypt_into, _NONCES[first:], sealed, _bound(part_id, first, len(sealed), ends), into):
            opened += 1
    except InvalidTag as error:
        raise ContentCorrupt(f"frame {first + opened} was changed, or is of another place, part or key") from error


def _check_run(first: int, given: Sequence[memoryview], into: Sequence[memoryview]) -> None:
    """`map` ends with the shortest: what it would leave out must not be taken for done. Raises ValueError."""
    if len(into) != len(given) or first + len(given) > len(_NONCES):
        raise ValueError(f"no run of frames: {len(given)} from {first}")


def cut(data: memoryview, size: int) -> list[memoryview]:
    """In pieces of `size`, the last with what is left."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def _bound(part_id: bytes, first: int, count: int, ends: bool) -> list[bytes]:
    """The associated data of each frame."""
    end = first + count - 1 if ends else -1
    return [_BOUND.pack(_AD, part_id, number, number == end) for number in range(first, first + count)]
