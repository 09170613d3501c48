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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.crypto import frames
from vfs.crypto.frames import FRAME_SIZE, MAX_PLAIN_SIZE, SEALED_FRAME_SIZE, SealedRange
from vfs.crypto.vault_keys import ID_SIZE, KEY_SIZE
from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE

_BATCH = PIECE_SIZE // FRAME_SIZE  # frames of one piece of work
_AHEAD = 3  # pieces of work that run, or wait to be taken, where threads do them
_NAME_LENGTH = 26

_Work: TypeAlias = Callable[[], memoryview]


def part_name(part_id: bytes) -> str:
    """The key of its object in the cache and its file's name on the NAS: 26 characters of base32 in lower case."""
    return base64.b32encode(part_id).decode("ascii").rstrip("=").lower()


@lru_cache(maxsize=4096)  # the id of a folder is asked for with each of its names
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

    def seal(self, chunks: Iterable[bytes | memoryview], threads: Executor | None = None) -> Iterator[memoryview]:
        """1 to 8 MiB of plain bytes in pieces of any size, sealed as they come, in pieces of about 1 MiB.

        Holds 2 MiB and one of `chunks`; with `threads`, which seal while the next are read, some MiB more. Raises
        ValueError for no bytes at all or too many, at the end or where they are too many: what was given out by then
        is to be thrown away.
        """
        self._begin()
        # What threads work on is looked at later, when the chunk it came with may be another.
        return _in_order(self._work(chunks if threads is None else map(bytes, chunks)), threads)

    def seal_buffer(self, plain: bytes | bytearray | memoryview) -> memoryview:
        """The whole part at once: 1 byte to 8 MiB."""
        self._begin()
        frames.frame_count(len(plain))
        pieces = frames.cut(memoryview(plain), FRAME_SIZE)
        return frames.seal_run(AESGCM(self.key.secret), self.key.id, 0, pieces, ends=True)

    def _begin(self) -> None:
        if not self._use.acquire(blocking=False):
            raise ValueError(f"part {self.key.name} was sealed before; its key must not be used again")

    def _work(self, chunks: Iterable[bytes | memoryview]) -> Iterator[_Work]:
        cipher, number = AESGCM(self.key.secret), 0
        for plain, ends in _runs(_not_too_many(chunks), FRAME_SIZE):
            if not plain:
                raise ValueError("no part is empty")
            yield partial(frames.seal_run, cipher, self.key.id, number, plain, ends=ends)
            number += len(plain)


def _in_order(work: Iterator[_Work], threads: Executor | None) -> Iterator[memoryview]:
    """What each of them gives; with `threads` some are done ahead, where there is more than one."""
    begun = list(islice(work, 2 if threads is not None else 0))
    if threads is None or len(begun) < 2:
        for each in chain(begun, work):
            yield each()
        return
    running: deque[Future[memoryview]] = deque()
    for each in chain(begun, work):
        running.append(threads.submit(each))
        if len(running) > _AHEAD:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def open_range(
    key: PartKey,
    plain_length: int,
    start: int,
    end: int,
    sealed: Iterable[bytes | memoryview],
    threads: Executor | None = None,
) -> Iterator[memoryview]:
    """Plain bytes [start, end) of a part, in pieces of at most 1 MiB, each verified before it is given out.

    `sealed`: the bytes of `frames.sealed_range(plain_length, start, end)`, in pieces of any size. `plain_length`: of
    the whole part, from the part list. Raises ContentCorrupt, naming part and frame, for bytes that are not those,
    for too few, and for too many; ValueError for no range of the part. With `threads`, which open while the next are
    read, chunks of `sealed` must stay as they are.
    """
    wanted = frames.sealed_range(plain_length, start, end)
    return _in_order(_open(key, plain_length, start, end, wanted, sealed), threads)


def open_buffer(key: PartKey, plain_length: int, sealed: bytes | bytearray | memoryview) -> memoryview:
    """A whole part at once. Raises ContentCorrupt."""
    if len(sealed) != frames.sealed_length(plain_length):
        raise ContentCorrupt(f"part {key.name}: has {len(sealed)} bytes, not {frames.sealed_length(plain_length)}")
    pieces = frames.cut(memoryview(sealed), SEALED_FRAME_SIZE)
    return _opened(key, AESGCM(key.secret), 0, pieces, ends=True)


class Opener:
    """Frames of one part, opened where the caller has room for them. For several threads."""

    def __init__(self, key: PartKey, plain_length: int) -> None:
        self._key = key
        self._cipher = AESGCM(key.secret)
        self._stop = frames.frame_count(plain_length)

    def open(self, first: int, sealed: memoryview, plain: memoryview) -> None:
        """Whole frames from `first` on, `plain` being 16 bytes shorter for each. Raises ContentCorrupt: then what is in
        `plain` is not to be looked at."""
        pieces = frames.cut(sealed, SEALED_FRAME_SIZE)
        ends = first + len(pieces) == self._stop
        frames.open_into(self._cipher, self._key.id, first, pieces, plain, ends=ends)


def _open(
    key: PartKey, plain_length: int, start: int, end: int, wanted: SealedRange, sealed: Iterable[bytes | memoryview]
) -> Iterator[_Work]:
    cipher, number = AESGCM(key.secret), wanted.first_frame
    reaches_end = wanted.stop == frames.sealed_length(plain_length)
    for pieces, is_rest in _runs(_exactly(key, wanted.stop - wanted.start, sealed), SEALED_FRAME_SIZE):
        at = number * FRAME_SIZE
        shown = slice(max(start - at, 0), end - at)
        if pieces:
            yield partial(_opened, key, cipher, number, pieces, ends=is_rest and reaches_end, shown=shown)
        number += len(pieces)


def _opened(
    key: PartKey, cipher: AESGCM, first: int, sealed: list[memoryview], *, ends: bool, shown: slice = slice(None)
) -> memoryview:
    try:
        return frames.open_run(cipher, key.id, first, sealed, ends=ends)[shown]
    except ContentCorrupt as error:
        raise ContentCorrupt(f"part {key.name}: {error}") from error


def _runs(chunks: Iterable[bytes | memoryview], size: int) -> Iterator[tuple[list[memoryview], bool]]:
    """All bytes of `chunks` in pieces of `size`, at most 16 together; True with those that are the last.

    The last piece so far is kept back, copied unless it cannot change: whoever gives chunks may use a buffer again.
    """
    held: bytes | bytearray = b""
    for chunk in chunks:
        rest = memoryview(chunk)
        if len(held) + len(rest) < PIECE_SIZE:
            held = chunk if isinstance(chunk, bytes) and not held else _grown(held, rest)
            continue
        fill = -len(held) % size
        if fill:
            held = _grown(held, rest[:fill])
        pieces = frames.cut(memoryview(held), size) + frames.cut(rest[fill:], size)
        held = bytes(pieces.pop())
        for at in range(0, len(pieces), _BATCH):
            yield pieces[at : at + _BATCH], False
    yield frames.cut(memoryview(held), size), True


def _grown(held: bytes | bytearray, more: memoryview) -> bytearray:
    """The same object, where it can grow."""
    grown = held if isinstance(held, bytearray) else bytearray(held)
    grown += more
    return grown


def _not_too_many(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > MAX_PLAIN_SIZE:
            raise ValueError(f"no part has more than {MAX_PLAIN_SIZE} bytes")
        yield chunk


def _exactly(key: PartKey, length: int, sealed: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    left = length
    for chunk in sealed:
        left -= len(chunk)
        if left < 0:
            raise ContentCorrupt(f"part {key.name}: more bytes than its length allows")
        yield chunk
    if left:
        raise ContentCorrupt(f"part {key.name}: ends {left} bytes too early")
