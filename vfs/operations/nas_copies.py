"""Bytes of a content from the files on the NAS that are recorded to have it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

from vfs import metrics
from vfs.core import Kelp
from vfs.crypto.parts import part_name
from vfs.errors import ContentCorrupt, KelpError, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.verifying import NasCopy
from vfs.model import ByteRange, Content
from vfs.operations.learning import NasFileChanged
from vfs.operations.verified import Verifier

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for the mirror to finish a move of the file
_AGAIN = 0.1  # … and between two looks
_BYTES = metrics.CACHE_READ_BYTES.labels("nas")
_READS = metrics.CACHE_READS.labels("nas")
_CORRUPT = metrics.CORRUPT.labels("nas")


def part_file(key: str) -> str:
    """What the file of an object of the cache is called in a bundle (docs/vault-format.md)."""
    return part_name(uuid.UUID(key).bytes)


def part_path(path: str, key: str) -> str:
    """Of the bundle at `path`."""
    return f"{path}/{part_file(key)}"


def read(kelp: Kelp, content: Content, verifier: Verifier, wanted: ByteRange, offset: int) -> Iterator[bytes]:
    """`wanted` of a part that begins at `offset` in the content; every byte verified.

    A copy that fails is followed by the next, at the same byte; where no file has the content, one of another content
    that has the same part. Raises ObjectMissing (there is none), ContentCorrupt (the best of what is there is not what
    was stored), NasFault, NasDown, and StoreUnavailable when the mirror moves it for longer than some seconds.
    """
    at = wanted.start
    places = [(content, offset)]
    fault: ObjectMissing | None = None
    while places:
        source, start = places.pop(0)
        try:
            for piece in _from_any(kelp, source, verifier, ByteRange(at, wanted.stop), start):
                at += len(piece)
                yield piece
            return
        except ObjectMissing as error:
            if fault is None and verifier.is_known:
                places = _sharing(kelp, content, verifier.part.key)
            fault = fault or error.with_traceback(None)
    raise fault or ObjectMissing("no file on the NAS is recorded to have it")


def _sharing(kelp: Kelp, content: Content, key: str) -> list[tuple[Content, int]]:
    """Other contents on the NAS that have a part, and where: a draft shares what it did not touch."""
    with kelp.database.read() as tx:
        return [(replace(content, id=id), offset) for id, offset in tx.drafts.sharing(key, content.id)]


def _from_any(kelp: Kelp, content: Content, verifier: Verifier, wanted: ByteRange, offset: int) -> Iterator[bytes]:
    until = time.monotonic() + _PATIENCE
    at = wanted.start
    while True:
        copies = _copies(kelp, content.id)
        fault: KelpError = ObjectMissing("no file on the NAS is recorded to have it")
        for copy in copies:
            try:
                for piece in _read(kelp, content, copy, verifier, ByteRange(at, wanted.stop), offset):
                    at += len(piece)
                    _BYTES.inc(len(piece))
                    yield piece
                _READS.inc()
                return
            except (ObjectMissing, ContentCorrupt, NasFault) as error:
                fault = error.with_traceback(None)  # this frame keeps it: it must not keep the frame
                if isinstance(error, ContentCorrupt) and not copy.moving:  # else another file may be there by now
                    _CORRUPT.inc()
        if _copies(kelp, content.id) == copies and not any(copy.moving for copy in copies):
            raise fault
        if time.monotonic() > until:
            raise StoreUnavailable("the file is on its way on the NAS", retry_after=2) from fault
        time.sleep(_AGAIN)


def _copies(kelp: Kelp, content_id: str) -> list[NasCopy]:
    with kelp.database.read() as tx:
        return tx.verifying.copies(content_id, planned=True)


def _read(
    kelp: Kelp, content: Content, copy: NasCopy, verifier: Verifier, wanted: ByteRange, offset: int
) -> Iterator[bytes]:
    span = verifier.span(wanted)
    if verifier.is_known:
        path = copy.path
        if copy.sealed:
            path, offset = part_path(path, verifier.part.key), 0
        stream = kelp.nas.read(path, ByteRange(offset + span.start, offset + span.stop))
        yield from verifier.pieces(stream, wanted, f"NAS: {path}")
        return
    # An adopted file: the last piece goes out when it is still the same file after that was read.
    _require_same(kelp, content, copy)
    last = b""
    stream = kelp.nas.read(copy.path, ByteRange(offset + span.start, offset + span.stop))
    for piece in verifier.pieces(stream, wanted, f"NAS: {copy.path}"):
        if last:
            yield last
        last = piece
    _require_same(kelp, content, copy)
    yield last


def _require_same(kelp: Kelp, content: Content, copy: NasCopy) -> None:
    info = kelp.nas.stat(copy.path)
    if info is None:
        raise ObjectMissing(f"{copy.path} on the NAS is gone")
    if (info.kind, info.size, info.mtime_ns) != ("file", content.size, copy.mtime_ns):
        raise NasFileChanged(f"{copy.path} on the NAS was changed by somebody else")
