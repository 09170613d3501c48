"""Frames of a sealed part (docs/vault-format.md, "Parts"): AES-256-GCM over 64 KiB each, 16 bytes longer when sealed.

Pure arithmetic, and one frame sealed or opened. A frame is bound to its part's id, its number and whether it is the
last.
"""

from __future__ import annotations

import struct
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
_NONCE = struct.Struct(">IQ")  # the frame's number in 12 bytes


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


def seal_into(
    cipher: AESGCM, part_id: bytes, number: int, is_last: bool, plain: memoryview, sealed: memoryview
) -> None:
    """`sealed` is 16 bytes longer than `plain`. A number is used once under one key, ever."""
    cipher.encrypt_into(_NONCE.pack(0, number), plain, _BOUND.pack(_AD, part_id, number, is_last), sealed)


def open_into(
    cipher: AESGCM, part_id: bytes, number: int, is_last: bool, sealed: memoryview, plain: memoryview
) -> None:
    """`plain` is 16 bytes shorter than `sealed`; it holds nothing to be used when this raises ContentCorrupt."""
    try:
        cipher.decrypt_into(_NONCE.pack(0, number), sealed, _BOUND.pack(_AD, part_id, number, is_last), plain)
    except InvalidTag as error:
        raise ContentCorrupt(f"frame {number} was changed, or is of another place, part or key") from error
