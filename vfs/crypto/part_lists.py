"""The list of the parts that make a content, sealed under the content's key (docs/vault-format.md, "Part lists").

It is the only place where a part's key is kept. An empty content has a list too, of nothing.
"""

from __future__ import annotations

import secrets
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.crypto.frames import MAX_PLAIN_SIZE, TAG_SIZE
from vfs.crypto.parts import PartKey
from vfs.crypto.vault_keys import KEY_SIZE, check_id
from vfs.errors import ContentCorrupt, TooLarge

MAX_SLICES = 2**22  # 32 TiB of full parts
_NONCE_SIZE = 12
_AD = b"kelp parts 1"
_HEAD = struct.Struct(">4sIIQ")  # the mark, how many parts, how many slices, plain bytes of the content
_PART = struct.Struct(">16s32sI")  # its id, its key, its plain length
_SLICE = struct.Struct(">III")  # the part's number in the list from 0, offset and length of plain bytes in it
_MARK = b"KPL1"


@dataclass(frozen=True, slots=True)
class Slice:
    """Plain bytes `offset` to `offset + length` of a part that has `part_length` plain bytes.

    Raises ValueError: not within the part, or nothing.
    """

    part: PartKey
    part_length: int
    offset: int
    length: int

    def __post_init__(self) -> None:
        if not 0 < self.part_length <= MAX_PLAIN_SIZE:
            raise ValueError(f"no part has {self.part_length} bytes")
        if self.offset < 0 or self.length <= 0 or self.offset + self.length > self.part_length:
            raise ValueError(f"no range of {self.part_length} bytes: {self.length} from {self.offset}")

    @classmethod
    def whole(cls, part: PartKey, part_length: int) -> Slice:
        return cls(part, part_length, 0, part_length)


@dataclass(frozen=True)
class PartList:
    """A content: its slices in order. A part may come more than once (holes of a file are one part of zeros)."""

    slices: tuple[Slice, ...]

    @cached_property
    def _ends(self) -> list[int]:
        """Where each slice ends in the content."""
        return list(accumulate(piece.length for piece in self.slices))

    @property
    def length(self) -> int:
        """Plain bytes of the content."""
        return self._ends[-1] if self._ends else 0

    def ranges(self, start: int, end: int) -> Iterator[tuple[Slice, int, int]]:
        """What holds plain bytes [start, end) of the content: slices in order, each with a range of its part's plain
        bytes. Fewer bytes where the content ends before."""
        for number in range(bisect_right(self._ends, start), len(self.slices)):
            piece = self.slices[number]
            at = self._ends[number] - piece.length
            if at >= end or start >= end:
                return
            yield piece, piece.offset + max(start - at, 0), piece.offset + min(end - at, piece.length)


def seal_parts(content_id: bytes, content_key: bytes, parts: PartList) -> bytes:
    """Another sealed form each time. Raises TooLarge, and ValueError (one id with two keys or lengths)."""
    nonce = secrets.token_bytes(_NONCE_SIZE)
    bound = _AD + check_id(content_id, "a content's id")
    return nonce + AESGCM(content_key).encrypt(nonce, _encode(parts), bound)


def open_parts(content_id: bytes, content_key: bytes, sealed: bytes | memoryview) -> PartList:
    """Raises ContentCorrupt: changed, of another content or key, or a list that contradicts itself."""
    what = f"part list of {check_id(content_id, 'a content id').hex()}"
    if len(content_key) != KEY_SIZE:
        raise ValueError(f"a content's key has {KEY_SIZE} bytes")
    longest = _HEAD.size + MAX_SLICES * (_PART.size + _SLICE.size)
    if not _HEAD.size <= len(sealed) - _NONCE_SIZE - TAG_SIZE <= longest:
        raise ContentCorrupt(f"{what}: no list is sealed in {len(sealed)} bytes")
    data = memoryview(sealed)
    try:
        plain = AESGCM(content_key).decrypt(data[:_NONCE_SIZE], data[_NONCE_SIZE:], _AD + content_id)
    except InvalidTag as error:
        raise ContentCorrupt(f"{what} was changed, or is of another content or key") from error
    try:
        return _decode(plain)
    except ValueError as error:
        raise ContentCorrupt(f"{what} is sealed well, but wrong: {error}") from error


def _encode(parts: PartList) -> bytes:
    if len(parts.slices) > MAX_SLICES:
        raise TooLarge(f"a file of a vault may have {MAX_SLICES} parts, this one has {len(parts.slices)}")
    numbers: dict[bytes, int] = {}
    known: list[tuple[bytes, bytes, int]] = []
    slices = bytearray()
    for piece in parts.slices:
        fields = (piece.part.id, piece.part.secret, piece.part_length)
        number = numbers.setdefault(piece.part.id, len(known))
        if number == len(known):
            known.append(fields)
        elif known[number] != fields:
            raise ValueError(f"part {piece.part.name} comes with two keys or lengths")
        slices += _SLICE.pack(number, piece.offset, piece.length)
    head = _HEAD.pack(_MARK, len(known), len(parts.slices), parts.length)
    return head + b"".join(_PART.pack(*fields) for fields in known) + slices


def _decode(plain: bytes) -> PartList:
    """Raises ValueError for all that `_encode` never makes: a list has one form."""
    mark, part_count, slice_count, length = _HEAD.unpack_from(plain)
    if mark != _MARK:
        raise ValueError("another format")
    if part_count > slice_count or slice_count > MAX_SLICES:
        raise ValueError("counts out of bounds")
    middle = _HEAD.size + part_count * _PART.size
    if len(plain) != middle + slice_count * _SLICE.size:
        raise ValueError("its length is not what its counts say")
    view = memoryview(plain)
    known = [(PartKey(id, key), size) for id, key, size in _PART.iter_unpack(view[_HEAD.size : middle])]
    if len({part.id for part, _ in known}) != part_count:
        raise ValueError("a part is in it twice")
    slices, used = [], 0
    for number, offset, size in _SLICE.iter_unpack(view[middle:]):
        if number > used or number >= part_count:
            raise ValueError("parts are not in the order of their first use")
        used = max(used, number + 1)
        part, part_length = known[number]
        slices.append(Slice(part, part_length, offset, size))
    parts = PartList(tuple(slices))
    if used != part_count or parts.length != length:
        raise ValueError("its parts are not the whole content")
    return parts
