"""Open a content for somebody who wants to see it, sealed or not.

A sealed one is read as every other, so what the cache lacks comes from the NAS and is healed, all verified by sums that
need no key. Then each frame is opened, which proves it a second time: against whoever could change the sums too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Protocol

from vfs.core import Kelp
from vfs.crypto import base64url, frames, part_lists, parts
from vfs.crypto.opened_lists import OpenedList, Wanted
from vfs.errors import ContentCorrupt
from vfs.model import PIECE_SIZE, ByteRange, Content, ContentSeal
from vfs.operations import near_parts, vaults_of
from vfs.operations.opening import Reader, begun, unhurried
from vfs.operations.sealed_contents import object_key, part_id_of
from vfs.storage.small_contents import SMALL

log = logging.getLogger(__name__)

_THREADS = 2  # that open one stream
_LONG = 4 * PIECE_SIZE  # bytes of a stream from which on they gain


class Readable(Protocol):
    """A content as it is shown: see `Reader`."""

    size: int

    def chunks(self, byte_range: ByteRange | None = None) -> Iterator[bytes]: ...


def reader(kelp: Kelp, content: Content) -> Readable:
    """Raises, for a sealed one, KeyMissing, and ContentCorrupt: what opens its parts was changed."""
    return Reader(kelp, content) if content.seal is None else SealedReader(kelp, content, content.seal)


class SealedReader:
    """As `Reader`, which it reads with. A wrong byte is ContentCorrupt, never given out."""

    def __init__(self, kelp: Kelp, content: Content, seal: ContentSeal) -> None:
        self._kelp, self._content = kelp, content
        self._list = opened_list(kelp, content, seal)
        self._stored = Reader(kelp, content)
        self.size = self._list.size

    def chunks(self, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        start, stop = byte_range or ByteRange(0, self.size)
        if self.size <= SMALL:
            return iter((self._small()[start:stop],))
        return begun(unhurried(self._pieces(start, stop)))

    def _small(self) -> bytes:
        kelp, content = self._kelp, self._content
        whole = kelp.small.get(content.id)
        if whole is None:
            whole = self._whole()
            kelp.small.keep(content.id, whole)
        elif whole:
            kelp.holds.note_read(content.parts[0].key)
        return whole

    def _whole(self) -> bytes:
        if len(self._list.slices) != 1 or self._list.slices[0].part_length != self.size:
            return b"".join(self._pieces(0, self.size))
        piece, sealed = self._list.slices[0], b"".join(self._stored.chunks())
        try:
            return bytes(parts.open_buffer(piece.part, piece.part_length, sealed))
        except ContentCorrupt as error:
            raise changed(self._content, 0, error) from error

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        near = near_parts.of_stream(self._kelp, self._content, stop - start)
        if near is not None:
            with self._kelp.holds.hold(self._content.id):
                for piece in near.pieces(self._list.wanted(start, stop)):
                    start += len(piece)
                    yield piece  # type: ignore[misc]  # a memoryview serves as bytes everywhere here
        if start < stop:
            yield from self._far(start, stop)

    def _far(self, start: int, stop: int) -> Iterator[bytes]:
        """What is not a file of this machine, or not as it should be."""
        if stop - start < _LONG:
            yield from self._opened(start, stop, None)
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="opening") as threads:
            yield from self._opened(start, stop, threads)

    def _opened(self, start: int, stop: int, threads: ThreadPoolExecutor | None) -> Iterator[bytes]:
        for run in _runs(list(self._list.wanted(start, stop))):
            stored = _Cut(self._stored.chunks(ByteRange(run[0].first, run[-1].last)))
            for each in run:
                taken = stored.take(each.last - each.first)
                part, length = each.slice.part, each.slice.part_length
                try:
                    opened = parts.open_range(part, length, each.start, each.stop, taken, threads)
                    yield from opened  # type: ignore[misc]  # a memoryview serves as bytes everywhere here
                except ContentCorrupt as error:
                    if stored.failed:
                        raise
                    raise changed(self._content, each.number, error) from error
            stored.end()


def changed(content: Content, number: int, error: ContentCorrupt) -> ContentCorrupt:
    """The bytes are those that the database says were stored, and do not open: it was changed, or what it says."""
    message = (
        f"content {content.id}, part {number}: {error}, though it is what the database says was stored: somebody has "
        "changed the database"
    )
    log.error("%s", message)
    return ContentCorrupt(message)


def _runs(wanted: list[Wanted]) -> Iterator[list[Wanted]]:
    """Those whose sealed bytes follow each other are read as one."""
    run = wanted[:1]
    for before, this in pairwise(wanted):
        if this.first == before.last:
            run.append(this)
        else:
            yield run
            run = [this]
    if run:
        yield run


class _Cut:
    """Pieces cut anew where parts end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.failed = False  # they ended with an error of their own

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes."""
        while size:
            if not self._rest:
                self._rest = memoryview(self._next())
            found, self._rest = self._rest[:size], self._rest[size:]
            size -= len(found)
            yield found

    def end(self) -> None:
        """After the last byte: what was read is noted by now, and what the cache lacked of it asked to come back."""
        more = next(self._pieces, None)
        assert more is None and not self._rest, "a reader gives no more than it was asked for"

    def _next(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration as error:
            raise AssertionError("a reader gives all that it was asked for, or raises") from error
        except BaseException:
            self.failed = True
            raise


# --- the list of its parts ---


def opened_list(kelp: Kelp, content: Content, seal: ContentSeal) -> OpenedList:
    """From memory when it was opened lately. Raises KeyMissing, and ContentCorrupt: it was changed, is another
    content's, or names other objects than the database does."""
    known = kelp.opened_lists.get(content.id)
    if known is None:
        try:
            known = _opened_list(kelp, content, seal)
        except ContentCorrupt as error:
            log.error("%s: somebody has changed the database", error)
            raise
        kelp.opened_lists.keep(content.id, known)
    return known


def _opened_list(kelp: Kelp, content: Content, seal: ContentSeal) -> OpenedList:
    vault = vaults_of.open_vault(kelp, seal.vault_id)
    content_id = part_id_of(content.id)
    wrapped = base64url.decode(seal.wrapped_key, f"key of content {content.id}")
    content_key = vault.key.unwrap_content_key(content_id, wrapped)
    opened = OpenedList(part_lists.open_parts(content_id, content_key, seal.part_list))
    _require_same(content, opened)
    return opened


def _require_same(content: Content, opened: OpenedList) -> None:
    """The database has the objects of that list, in its order. Raises ContentCorrupt."""
    if len(opened.slices) != len(content.parts):
        raise ContentCorrupt(f"content {content.id} has {len(content.parts)} parts, and its list {len(opened.slices)}")
    for number, (part, piece) in enumerate(zip(content.parts, opened.slices, strict=True)):
        if part.key != object_key(piece.part.id) or part.size != frames.sealed_length(piece.part_length):
            raise ContentCorrupt(f"content {content.id}, part {number}: its list names another object, or another size")
