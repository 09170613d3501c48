"""Store a body as a content, and open one: cache first, NAS second.

Storing is the first half of a put: the objects exist before any row names them (design §4). Whoever stores a
content registers `discard` on the next line.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from blake3 import blake3

from vfs import turns
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, KelpError, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.database import Tx
from vfs.model import PIECE_SIZE, ByteRange, Content, Expected, Part
from vfs.operations import part_uploads
from vfs.operations.incoming import Body
from vfs.storage.nas_store import NasFile
from vfs.storage.small_contents import SMALL

log = logging.getLogger(__name__)

_DOUBTFUL_NS = 10 * 60 * 1_000_000_000  # the age from which the orphan batch might err; it takes what rests for an hour
_UNDOING = 1.0  # seconds for removing what a failed upload has stored, when that fails too


@dataclass(frozen=True, slots=True)
class _Fresh(Content):
    """A content that `store` has just made."""

    begun_ns: int


def store(kelp: Kelp, chunks: Iterable[bytes], expected: Expected) -> Content:
    """Put a body into the cache, durably. Nothing is left when it fails.

    Raises UploadIncomplete, NoSpace, StoreUnavailable, and what `chunks` raises.
    """
    id = str(uuid.uuid4())
    begun_ns = kelp.clock.now_ns()
    body = Body(chunks, expected)
    parts: list[Part] = []
    try:
        if kelp.cache.at_once > 1:
            part_uploads.put_several(kelp.cache, id, body, parts)
        else:
            part_uploads.put_in_turn(kelp.cache, id, body, parts)
        checksum, digests = body.verify()
    except BaseException:
        _delete(kelp, parts)
        raise
    return _Fresh(id, body.size, checksum, digests, tuple(parts), begun_ns)


def discard(kelp: Kelp, content: Content, *, in_doubt: bool = False) -> None:
    """Undo `store` after a failed transaction; a content that the database knows after all stays.

    `in_doubt`: the commit itself failed. When its fsync did, the change is in SQLite's log though nobody sees it, and
    a crash would bring it back without its objects (tried: EIO, then SIGKILL). So they go only after another commit,
    which writes over it. PostgreSQL may still be at work on a commit whose connection was lost: its locks tell.
    """
    try:
        with kelp.database.write() if in_doubt else kelp.database.read() as tx:
            if in_doubt:
                tx.lock_tree(exclusive=True)
            if tx.contents.get(content.id) is not None:
                return
            if in_doubt:
                tx.accounts.set_value("discarded", content.id)  # any change: a commit of nothing writes nothing
    except KelpError as error:
        log.warning("content %s is left to the orphan batch: %s", content.id, error)
        return
    _delete(kelp, content.parts)


def require_stored(kelp: Kelp, content: Content) -> None:
    """Inside the transaction that shows the content: its objects are still there, and stay from here on.

    The orphan batch may have taken them for those of a killed upload. Raises StoreUnavailable.
    """
    lost = StoreUnavailable("the upload rested for too long: what had come was cleared away")
    if kelp.cache.at_once > 1:  # a look is a round trip, and the transaction holds locks
        age_ns = kelp.clock.now_ns() - content.begun_ns if isinstance(content, _Fresh) else _DOUBTFUL_NS
        if not 0 <= age_ns < _DOUBTFUL_NS:
            there = {info.key for info in kelp.cache.list(content.id)}
            if not there.issuperset(part.key for part in content.parts):
                raise lost
        return
    for part in content.parts:
        try:
            kelp.cache.stat(part.key)
        except ObjectMissing as error:
            raise lost from error


def _delete(kelp: Kelp, parts: Iterable[Part]) -> None:
    """Best effort. A store that is away is not asked for each of a thousand parts: a client waits for the answer."""
    begun = time.monotonic()
    for part in parts:
        try:
            with turns.waiting():
                kelp.cache.delete(part.key)
        except KelpError as error:
            log.warning("object %s is left to the orphan batch: %s", part.key, error)
            if time.monotonic() - begun > _UNDOING:
                log.warning("so is what came after it")
                return


_CACHE_FAULTS = (ObjectMissing, ContentCorrupt, StoreUnavailable)


class Reader:
    """One content opened for reading: cache first, from the NAS what the cache cannot give.

    The first part is opened at the call, so what is missing shows before a byte went out. From a store that gains by
    it, the next part is on its way while one is sent: asked for, it fills the buffers of its connection.
    """

    def __init__(self, kelp: Kelp, content: Content) -> None:
        self._kelp = kelp
        self._content = content
        self._away: StoreUnavailable | None = None  # what the cache said when it was away: then the NAS is asked first
        self.size = content.size

    def chunks(self, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        """Pieces of at most PIECE_SIZE bytes. Raises StoreUnavailable when neither cache nor NAS can give them."""
        start, stop = byte_range or ByteRange(0, self.size)
        if self.size <= SMALL:
            return iter((self._small()[start:stop],))
        return _unhurried(self._pieces(start, stop))

    def _small(self) -> bytes:
        """All of a small content, from memory when it was read lately."""
        whole = self._kelp.small.get(self._content.id)
        if whole is None:
            whole = b"".join(_unhurried(self._pieces(0, self.size)))
            if blake3(whole).hexdigest() == self._content.checksum:  # a disk or somebody on the NAS may err
                self._kelp.small.keep(self._content.id, whole)
        return whole

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        wanted = []
        offset = 0
        for part in self._content.parts:
            if offset >= stop:
                break
            if offset + part.size > start:
                wanted.append((part, ByteRange(max(start - offset, 0), min(stop - offset, part.size)), offset))
            offset += part.size
        with turns.waiting():
            first = self._open(*wanted[0]) if wanted else iter(())
        return self._rest(first, wanted[1:])

    def _rest(self, stream: Iterator[bytes], wanted: list[tuple[Part, ByteRange, int]]) -> Iterator[bytes]:
        early = self._kelp.cache.at_once > 1
        for part in wanted:
            ahead = None
            for number, piece in enumerate(stream):
                yield piece
                if early and not number:
                    ahead = self._ahead(*part)
            stream = ahead or self._open(*part)
        yield from stream

    def _ahead(self, part: Part, wanted: ByteRange, offset: int) -> Iterator[bytes] | None:
        """The stream of a later part, when it can be had now; if not, it is asked for again in its turn."""
        try:
            return self._continued(self._kelp.cache.get(part.key, wanted), offset + wanted.start, offset + wanted.stop)
        except _CACHE_FAULTS:
            return None

    def _open(self, part: Part, wanted: ByteRange, offset: int) -> Iterator[bytes]:
        if self._away is not None:
            with suppress(StoreUnavailable):
                return self._from_nas(self._away, offset + wanted.start, offset + wanted.stop)
        try:
            stream = self._kelp.cache.get(part.key, wanted)
        except _CACHE_FAULTS as error:
            return self._from_nas(error, offset + wanted.start, offset + wanted.stop)
        return self._continued(stream, offset + wanted.start, offset + wanted.stop)

    def _continued(self, stream: Iterator[bytes], at: int, stop: int) -> Iterator[bytes]:
        """When the cache fails in the middle, the NAS goes on at the same offset."""
        try:
            for piece in stream:
                at += len(piece)
                yield piece
        except _CACHE_FAULTS as error:
            yield from self._from_nas(error, at, stop)

    def _from_nas(self, error: KelpError, start: int, stop: int) -> Iterator[bytes]:
        """The same bytes from a file on the NAS that is recorded to have this content."""
        log.warning("%s: reading from the NAS", error)
        if isinstance(error, StoreUnavailable):
            self._away = error
        with self._kelp.database.read() as tx:
            paths = tx.mirror.paths_of_content(self._content.id)
        for path in paths:
            try:
                info = self._kelp.nas.stat(path)
                if info is not None and info.size == self.size:
                    return self._kelp.nas.read(path, ByteRange(start, stop))
            except (ObjectMissing, NasFault) as fault:
                log.warning("%s", fault)
        raise StoreUnavailable("the content is in neither the cache nor the NAS") from error


def _unhurried(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces; others may run while a store looks for the next."""
    try:
        while True:
            with turns.waiting():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def write_to_nas(kelp: Kelp, content: Content, path: str, mtime_ns: int) -> NasFile:
    """Copy a content to a new file on the NAS, verified and fsynced there."""
    chunks = Reader(kelp, content).chunks()
    return kelp.nas.write(path, chunks, content.size, content.checksum, mtime_ns=mtime_ns, parents=True)


def get(tx: Tx, content_id: str) -> Content:
    """Raises ObjectMissing when the database does not know it."""
    content = tx.contents.get(content_id)
    if content is None:
        raise ObjectMissing(f"content {content_id} is unknown")
    return content


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in pieces, for callers that have a whole small body."""
    for at in range(0, len(data), PIECE_SIZE):
        yield data[at : at + PIECE_SIZE]
