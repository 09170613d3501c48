"""A ZIP archive that is written while it is read (APPNOTE.TXT 6.3.10), for clients that take hours over it.

Python's own `zipfile` keeps each entry's description in memory to the end: half a kilobyte of a hundred thousand files
that the archive of a drive may have. Here they are put aside as the bytes they will be, sealed where that is a file.
"""

from __future__ import annotations

import itertools
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vfs.model import BLOCK_SIZE, PIECE_SIZE
from vfs.operations.archiving import Member
from vfs.operations.set_aside import Spool

_IN_MEMORY = 1024 * 1024  # bytes of the directory, of some 8,000 entries; more of it is in a file
_AT_ONCE = 4 * BLOCK_SIZE  # bytes that are sent together: a thousand small files are not three thousand pieces
_FULL = 0xFFFFFFFF  # "see the ZIP64 field" (§4.4.8)
_LARGE = 0xFF000000  # from this size on ZIP64 is said before the end is known: deflate adds a little to what it stores
_MANY = 0xFFFF  # entries (§4.4.21)
_LONGEST_NAME = 0xFFFF  # bytes (§4.4.10)
_NOTE = "left out"  # the file that tells what is not in the archive
_TOLD = 1000  # lines of it
_STORED, _DEFLATED = 0, 8
_UTF8, _SIZES_FOLLOW = 0x0800, 0x0008  # flags (§4.4.4)
_PLAIN_ZIP, _ZIP64 = 20, 45  # versions (§4.4.3)
_UNIX = 3 << 8
_FILE_MODE, _FOLDER_MODE = 0o100644 << 16, (0o040755 << 16) | 0x10


@dataclass(slots=True)
class _Item:
    """An entry of the directory."""

    name: bytes
    mtime: int  # seconds since 1970
    mode: int
    at: int  # offset of its head
    method: int
    flags: int
    zip64: bool = False
    crc: int = 0
    packed: int = 0
    size: int = 0

    def head(self) -> bytes:
        """The local file header (§4.3.7); sizes and checksum of a file follow it (§4.3.9)."""
        sizes = (_FULL, _FULL) if self.zip64 else (0, 0)
        extra = (struct.pack("<HHQQ", 1, 16, 0, 0) if self.zip64 else b"") + self._times()
        version = _ZIP64 if self.zip64 else _PLAIN_ZIP
        fixed = (0x04034B50, version, self.flags, self.method, *_dos_time(self.mtime), 0, *sizes)
        return struct.pack("<LHHHHHLLLHH", *fixed, len(self.name), len(extra)) + self.name + extra

    def tail(self) -> bytes:
        """The data descriptor (§4.3.9)."""
        return struct.pack("<LLQQ" if self.zip64 else "<LLLL", 0x08074B50, self.crc, self.packed, self.size)

    def listed(self) -> bytes:
        """The header in the central directory (§4.3.12)."""
        large = [value for value in (self.size, self.packed, self.at) if value >= _FULL]
        extra = (struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b"") + self._times()
        version = _ZIP64 if self.zip64 or large else _PLAIN_ZIP
        fixed = (0x02014B50, _UNIX | version, version, self.flags, self.method, *_dos_time(self.mtime), self.crc)
        sizes = (min(self.packed, _FULL), min(self.size, _FULL), len(self.name), len(extra))
        rest = (0, 0, 0, self.mode, min(self.at, _FULL))
        return struct.pack("<LHHHHHHLLLHHHHHLL", *fixed, *sizes, *rest) + self.name + extra

    def _times(self) -> bytes:
        """The true time, whatever zone the reader is in (Info-ZIP's "UT"), as long as 32 bits hold it."""
        return struct.pack("<HHBl", 0x5455, 5, 1, self.mtime) if abs(self.mtime) < 1 << 31 else b""


def _dos_time(seconds: int) -> tuple[int, int]:
    """Time and date (§4.4.6) between 1980 and 2107, in this server's zone: readers take them for their own."""
    t = time.localtime(min(max(seconds, -(1 << 40)), 1 << 40))
    if t.tm_year < 1980:
        return 0, 1 << 5 | 1
    if t.tm_year > 2107:
        return 23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31
    return t.tm_hour << 11 | t.tm_min << 5 | t.tm_sec // 2, (t.tm_year - 1980) << 9 | t.tm_mon << 5 | t.tm_mday


def archive(members: Iterable[Member]) -> Iterator[bytes]:
    """Its bytes, in pieces of 256 KiB to some more than 1 MiB. Raises what the members raise: then it has no end, and
    nobody takes it for whole. What has a path that no archive can hold is left out, and a text beside the folder tells
    of it."""
    waiting: list[bytes] = []
    size = 0
    for piece in bytes_of(members):
        waiting.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def bytes_of(members: Iterable[Member], at: int = 0) -> Iterator[bytes]:
    """The same, each as it is made. `at`: bytes that stand before it."""
    count, left_out, listed = 0, _LeftOut(), bytearray()
    with Spool(_IN_MEMORY) as directory:
        for item, pieces in itertools.chain(_items(members, left_out), left_out.note()):
            item.at = at
            for piece in _packed(item, pieces):
                at += len(piece)
                yield piece
            listed += item.listed()
            count += 1
            if len(listed) >= PIECE_SIZE:
                directory.add(bytes(listed))
                listed.clear()
        directory.add(bytes(listed))
        yield from directory
        yield _end(count, directory.size, at)


class _LeftOut:
    """What is not in the archive."""

    def __init__(self) -> None:
        self._count = 0
        self._lines: list[str] = []
        self._taken: set[str] = set()  # names beside which the note will stand, and that are like its own

    def meet(self, member: Member) -> None:
        top = member.path[0].casefold()
        if top.startswith(_NOTE):
            self._taken.add(top)

    def add(self, member: Member) -> None:
        self._count += 1
        if self._count <= _TOLD:
            self._lines.append(f"{member.entry.uuid}  …/{member.path[-1]}")

    def note(self) -> Iterator[tuple[_Item, Iterable[bytes]]]:
        """Nothing where nothing was left out."""
        if not self._count:
            return
        further = (f"{_NOTE} {number}.txt" for number in itertools.count(1))
        name = next(each for each in itertools.chain([f"{_NOTE}.txt"], further) if each not in self._taken)
        head = f"Left out of this archive, since their paths are longer than {_LONGEST_NAME} bytes: {self._count}"
        more = ["…"] if self._count > _TOLD else []
        text = "\n".join((head, "", *self._lines, *more, "")).encode()
        yield _Item(name.encode(), int(time.time()), _FILE_MODE, 0, _DEFLATED, _UTF8 | _SIZES_FOLLOW), (text,)


def _items(members: Iterable[Member], left_out: _LeftOut) -> Iterator[tuple[_Item, Iterable[bytes]]]:
    for member in members:
        item = _item(member)
        if len(item.name) > _LONGEST_NAME:
            left_out.add(member)
            continue
        left_out.meet(member)
        yield item, () if member.entry.is_folder else member.pieces()


def _item(member: Member) -> _Item:
    entry = member.entry
    # Some readers take "\" for "/", and would unpack "..\..\name" outside of where they were told to.
    name = "/".join(member.path).replace("\\", "%5C").encode() + (b"/" if entry.is_folder else b"")
    mtime = entry.mtime_ns // 1_000_000_000
    if entry.is_folder:
        return _Item(name, mtime, _FOLDER_MODE, 0, _STORED, _UTF8)
    return _Item(name, mtime, _FILE_MODE, 0, _DEFLATED, _UTF8 | _SIZES_FOLLOW, entry.size >= _LARGE)


def _packed(item: _Item, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """An entry's bytes. Contents are not made smaller, since that costs more than most networks; yet they are in the
    frame of deflate, the only one by which a reader that cannot seek finds their end."""
    yield item.head()
    if item.method == _STORED:
        return
    deflate = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    for piece in pieces:
        item.crc = zlib.crc32(piece, item.crc)
        item.size += len(piece)
        packed = deflate.compress(piece)
        item.packed += len(packed)
        yield packed
    packed = deflate.flush()
    item.packed += len(packed)
    yield packed
    yield item.tail()


def _end(count: int, length: int, at: int) -> bytes:
    """The end of the central directory (§4.3.14 to §4.3.16)."""
    end = struct.pack(
        "<LHHHHLLH",
        *(0x06054B50, 0, 0, min(count, _MANY), min(count, _MANY)),
        *(min(length, _FULL), min(at, _FULL), 0),
    )
    if count < _MANY and length < _FULL and at < _FULL:
        return end
    versions = (_UNIX | _ZIP64, _ZIP64)
    larger = struct.pack("<LQHHLLQQQQ", 0x06064B50, 44, *versions, 0, 0, count, count, length, at)
    return larger + struct.pack("<LLQL", 0x07064B50, 0, at + length, 1) + end
