"""Store a body as a content, and open one: cache first, NAS second.

Storing is the first half of a put: the objects exist before any row names them (design §4). Whoever stores a
content registers `discard` on the next line.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable, Iterator

from blake3 import blake3

from vfs import turns
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, KelpError, NasFault, ObjectMissing, StoreUnavailable, UploadIncomplete
from vfs.metadata.database import Tx
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Content, Expected, Part
from vfs.storage.nas_store import NasFile
from vfs.storage.small_contents import SMALL

log = logging.getLogger(__name__)


class _Body:
    """The incoming pieces: counted, hashed, and cut into parts without copying."""

    def __init__(self, chunks: Iterable[bytes], expected: Expected) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._expected = expected
        self._whole = blake3()
        # Who announces one of them (rclone: SHA-1) asks for the other when it compares: both, or none.
        announced = expected.sha1 or expected.md5
        self._sha1 = hashlib.sha1(usedforsecurity=False) if announced else None
        self._md5 = hashlib.md5(usedforsecurity=False) if announced else None
        self.size = 0

    def more(self) -> bool:
        """Look whether a byte is left, reading the next piece when needed."""
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
        self._whole.update(piece)
        for digest in (self._sha1, self._md5):
            if digest is not None:
                digest.update(piece)
        self._rest = piece

    def part(self) -> Iterator[bytes]:
        """The pieces of one part, at most PART_SIZE bytes together."""
        left = PART_SIZE
        while left and self.more():
            piece, self._rest = self._rest[:left], self._rest[left:]
            left -= len(piece)
            yield piece  # type: ignore[misc]  # a memoryview serves as bytes everywhere here

    def verify(self) -> tuple[str, str | None]:
        """Compare with what was announced; (BLAKE3, the digests when one was announced). Raises UploadIncomplete."""
        expected = self._expected
        if expected.length is not None and self.size != expected.length:
            raise UploadIncomplete(f"{self.size} bytes came instead of {expected.length}")
        if self._sha1 is None or self._md5 is None:
            return self._whole.hexdigest(), None
        sha1, md5 = self._sha1.hexdigest(), self._md5.hexdigest()
        if expected.sha1 not in (None, sha1):
            raise UploadIncomplete("the body does not have the announced SHA-1")
        if expected.md5 not in (None, md5):
            raise UploadIncomplete("the body does not have the announced MD5")
        return self._whole.hexdigest(), f"SHA1:{sha1} MD5:{md5}"


def store(kelp: Kelp, chunks: Iterable[bytes], expected: Expected) -> Content:
    """Put a body into the cache, durably. Nothing is left when it fails.

    Raises UploadIncomplete, NoSpace, StoreUnavailable, and what `chunks` raises.
    """
    id = str(uuid.uuid4())
    body = _Body(chunks, expected)
    parts: list[Part] = []
    try:
        while body.more():
            key = f"{id}.{len(parts):06d}" if parts else id
            parts.append(Part(key, 0, ""))  # registered before the put, so that a half-done one is removed too
            with turns.waiting():  # for the client, and for the disk
                stored = kelp.cache.put(key, body.part())
            parts[-1] = Part(key, stored.size, stored.checksum)
        checksum, digests = body.verify()
    except BaseException:
        _delete(kelp, parts)
        raise
    return Content(id, body.size, checksum, digests, tuple(parts))


def discard(kelp: Kelp, content: Content, *, in_doubt: bool = False) -> None:
    """Undo `store` after a failed transaction; a content that the database knows after all stays.

    `in_doubt`: the commit itself failed. When its fsync did, the change is in SQLite's log though nobody sees it, and
    a crash would bring it back without its objects (tried: EIO, then SIGKILL). So they go only after another commit,
    which writes over it.
    """
    try:
        with kelp.database.write() if in_doubt else kelp.database.read() as tx:
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
    for part in content.parts:
        try:
            kelp.cache.stat(part.key)
        except ObjectMissing as error:
            raise StoreUnavailable("the upload rested for too long: what had come was cleared away") from error


def _delete(kelp: Kelp, parts: Iterable[Part]) -> None:
    for part in parts:
        try:
            kelp.cache.delete(part.key)
        except KelpError as error:
            log.warning("object %s is left to the orphan batch: %s", part.key, error)


_CACHE_FAULTS = (ObjectMissing, ContentCorrupt, StoreUnavailable)


class Reader:
    """One content opened for reading: cache first, from the NAS what the cache cannot give.

    The first part is opened at the call, so what is missing shows before a byte went out.
    """

    def __init__(self, kelp: Kelp, content: Content) -> None:
        self._kelp = kelp
        self._content = content
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

    def _rest(self, first: Iterator[bytes], wanted: list[tuple[Part, ByteRange, int]]) -> Iterator[bytes]:
        yield from first
        for piece in wanted:
            yield from self._open(*piece)

    def _open(self, part: Part, wanted: ByteRange, offset: int) -> Iterator[bytes]:
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
