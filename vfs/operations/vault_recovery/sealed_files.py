"""The bytes of a sealed file: its part list and its parts, every byte verified before it is given out.

Two threads open parts at the same time, each 1 MiB after the other: that is what a recovery holds, however big the
file is.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from vfs.crypto import frames, manifests, part_lists, parts
from vfs.crypto.frames import FRAME_SIZE
from vfs.crypto.manifests import SealedContent
from vfs.crypto.part_lists import PartList, Slice
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt
from vfs.operations.vault_recovery import reading
from vfs.operations.vault_recovery.entries import MANIFEST

Take = Callable[[int, memoryview], None]  # plain bytes, and where they are in the file; called by two threads

PART_LIST = "parts"
_THREADS = 2
_MOST_FAULTS = 100  # of one file that are told; more say nothing more
_MOST_LIST = 20 + part_lists.MAX_SLICES * 64 + 28  # bytes of a part list, sealed


class _Piece(NamedTuple):
    """A slice to be opened. `at`: where it begins in the file; None: it is only verified."""

    number: int
    slice: Slice
    at: int | None


class SealedFile:
    """The content of an entry whose folder on the NAS is open as `folder`. Raises ContentCorrupt when its part list is
    not the one that its manifest stands for."""

    def __init__(self, folder: int, content: SealedContent, key: VaultKey) -> None:
        self._folder = folder
        self.length = content.length
        content_key = key.unwrap_content_key(content.id, content.wrapped_key)
        try:
            sealed = _read_list(folder, content.list_digest)
        except ContentCorrupt as error:
            raise ContentCorrupt(f"{PART_LIST}: {error}") from error
        self._list: PartList = part_lists.open_parts(content.id, content_key, sealed)
        if self._list.length != content.length:
            raise ContentCorrupt(f"{PART_LIST}: of {self._list.length} bytes; the manifest says {content.length}")
        self._numbers: dict[bytes, int] = {}
        for piece in self._list.slices:
            self._numbers.setdefault(piece.part.id, len(self._numbers) + 1)

    def strays(self) -> list[str]:
        """What else lies in its folder. Raises ContentCorrupt."""
        known = {parts.part_name(id) for id in self._numbers} | {MANIFEST, PART_LIST}
        return [name for name in reading.names(self._folder) if name not in known and not name.startswith(".")]

    def open(self, take: Take) -> list[str]:
        """Give all bytes to `take`; each part that was not whole, and why. What `take` raises ends it."""
        return self._run(self._pieces(), take)

    def verify_rest(self) -> list[str]:
        """Faults of parts in bytes that are not of this file: it was written over an older one, of which it shares the
        parts."""
        whole = {piece.part.id for piece in self._list.slices if piece.length == piece.part_length}
        rest = {piece.part.id: piece for piece in self._list.slices if piece.part.id not in whole}
        return self._run(
            (_Piece(self._numbers[id], Slice.whole(piece.part, piece.part_length), None) for id, piece in rest.items()),
            lambda at, plain: None,
        )

    def salvage(self, take: Take) -> None:
        """Give all frames that are whole."""
        for piece in self._pieces():
            start, stop = piece.slice.offset, piece.slice.offset + piece.slice.length
            for at in range(start - start % FRAME_SIZE, stop, FRAME_SIZE):
                begin, end = max(at, start), min(at + FRAME_SIZE, stop)
                assert piece.at is not None
                cut = Slice(piece.slice.part, piece.slice.part_length, begin, end - begin)
                with suppress(ContentCorrupt):
                    self._open_slice(_Piece(piece.number, cut, piece.at + begin - start), take, is_cut=True)

    def _pieces(self) -> Iterator[_Piece]:
        at = 0
        for piece in self._list.slices:
            yield _Piece(self._numbers[piece.part.id], piece, at)
            at += piece.length

    def _run(self, pieces: Iterator[_Piece], take: Take) -> list[str]:
        faults: dict[int, str] = {}
        guard, stop = threading.Lock(), threading.Event()

        def work() -> None:
            while not stop.is_set():
                with guard:
                    piece = next(pieces, None)
                if piece is None:
                    return
                try:
                    if piece.number not in faults:
                        self._open_slice(piece, take)
                except ContentCorrupt as error:
                    faults[piece.number] = f"part {piece.number} of {len(self._numbers)}: {error}"
                    if len(faults) >= _MOST_FAULTS:
                        return
                except BaseException:
                    stop.set()
                    raise

        if len(self._list.slices) < 2:
            work()
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                try:
                    for done in [pool.submit(work) for _ in range(_THREADS)]:
                        done.result()
                finally:
                    stop.set()  # else whoever presses Ctrl-C waits for the whole file
        return [faults[number] for number in sorted(faults)]

    def _open_slice(self, piece: _Piece, take: Take, *, is_cut: bool = False) -> None:
        """Raises ContentCorrupt. `is_cut`: the part may be shorter than it was."""
        part, length, offset, size = piece.slice.part, piece.slice.part_length, piece.slice.offset, piece.slice.length
        try:
            with reading.opened_file(self._folder, part.name) as (fd, there):
                if there != frames.sealed_length(length) and not is_cut:
                    raise ContentCorrupt(f"has {there} bytes, not {frames.sealed_length(length)}")
                wanted = frames.sealed_range(length, offset, offset + size)
                sealed = reading.pieces(fd, wanted.start, wanted.stop)
                at = piece.at or 0
                for plain in parts.open_range(part, length, offset, offset + size, sealed):
                    take(at, plain)
                    at += len(plain)
        except ContentCorrupt as error:
            told = str(error)
            raise ContentCorrupt(told if part.name in told else f"part {part.name}: {told}") from error


def _read_list(folder: int, digest: bytes) -> bytes:
    """The sealed list, read twice: the digest is known before its size is believed. Raises ContentCorrupt."""
    with reading.opened_file(folder, PART_LIST) as (fd, size):
        if size > _MOST_LIST:
            raise ContentCorrupt(f"has {size} bytes, and may have {_MOST_LIST}")
        seen = hashlib.sha256()
        for piece in reading.pieces(fd, 0, size):
            seen.update(piece)
        if seen.digest() != digest:
            raise ContentCorrupt("is not the one of this content: changed, or of an older state")
        sealed = b"".join(reading.pieces(fd, 0, size))
    if manifests.digest(sealed) != digest:
        raise ContentCorrupt("changed while it was read")
    return sealed
