"""Store a body as a content, and carry one to the NAS. To read one is `opening`.

Storing is the first half of a put: the objects exist before any row names them (design §4). Whoever stores a
content registers `discard` on the next line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from blake3 import blake3

from vfs import turns
from vfs.core import Kelp
from vfs.crypto.opened_lists import OpenedList
from vfs.crypto.part_lists import PartList
from vfs.errors import KelpError, ObjectMissing, StoreUnavailable
from vfs.metadata.database import Tx
from vfs.model import PIECE_SIZE, Content, Expected, Part
from vfs.operations import learning, part_uploads, sealed_contents
from vfs.operations.incoming import Body, Incoming
from vfs.operations.opening import Reader
from vfs.operations.sealed_contents import SealedBody, SealedParts, Vault
from vfs.operations.unfinished import Unfinished
from vfs.storage.nas_store import NasFile
from vfs.storage.object_store import new_key

__all__ = [
    "Reader",
    "discard",
    "get",
    "pieces",
    "remove",
    "require_stored",
    "sizes",
    "store",
    "store_parts",
    "write_to_nas",
]

log = logging.getLogger(__name__)

_DOUBTFUL_NS = 10 * 60 * 1_000_000_000  # the age from which the orphan batch might err; it takes what rests for an hour
_UNDOING = 1.0  # seconds for removing what a failed upload has stored, when that fails too


@dataclass(frozen=True, slots=True)
class _Fresh(Content):
    """A content that `store` has just made."""

    begun_ns: int = 0


def store(
    kelp: Kelp,
    chunks: Iterable[bytes],
    expected: Expected,
    id: str | None = None,
    vault: Vault | None = None,
    unfinished: Unfinished | None = None,
) -> Content:
    """Put a body into the cache, durably. Nothing is left when it fails. `id`: how the keys of its objects begin.
    `vault`: it is sealed for that one, and its keys begin in no common way; `unfinished` as in `store_parts`.

    Raises UploadIncomplete, NoSpace, StoreUnavailable, and what `chunks` raises.
    """
    begun_ns = kelp.clock.now_ns()
    if vault is None:
        made = _store_plain(kelp, chunks, expected, id or "")
    else:
        made = _store_sealed(kelp, chunks, expected, id, vault, unfinished)
    return _Fresh(made.id, made.size, made.checksum, made.digests, made.parts, made.seal, begun_ns)


def _store_plain(kelp: Kelp, chunks: Iterable[bytes], expected: Expected, id: str) -> Content:
    body = Body(chunks, expected, id, partial(new_key, kelp.cache))
    with _undone(kelp) as parts:
        _put(kelp, body, parts)
        return body.content(parts)


def _store_sealed(
    kelp: Kelp, chunks: Iterable[bytes], expected: Expected, id: str | None, vault: Vault, unfinished: Unfinished | None
) -> Content:
    sealed = store_parts(kelp, chunks, expected, unfinished)
    try:
        content = sealed_contents.content_of(vault, sealed, id)
        kelp.opened_lists.keep(content.id, OpenedList(PartList(sealed.slices)))  # somebody may read it at once
        return content
    except BaseException as error:
        log.info("a body could not be sealed as a content, and is removed: %s", error)
        remove(kelp, (part.key for part in sealed.parts))
        raise


def store_parts(
    kelp: Kelp, chunks: Iterable[bytes], expected: Expected, unfinished: Unfinished | None = None
) -> SealedParts:
    """The first half of `store` for a vault: the sealed objects, and what opens them. Raises as `store`.

    `unfinished`: of an upload that has stored others before.
    """
    with closing(SealedBody(chunks, expected)) as body, _undone(kelp) as parts:
        _put(kelp, (unfinished or Unfinished(kelp)).watched(body, parts), parts)
        return body.sealed(parts)


@contextmanager
def _undone(kelp: Kelp) -> Iterator[list[Part]]:
    """Parts that are removed again when the block fails."""
    parts: list[Part] = []
    try:
        yield parts
    except BaseException as error:
        log.info("an upload failed, and what was stored of it is removed (%d objects): %s", len(parts), error)
        remove(kelp, (part.key for part in parts))
        raise


def _put(kelp: Kelp, body: Incoming, parts: list[Part]) -> None:
    if kelp.cache.at_once > 1:
        part_uploads.put_several(kelp.cache, body, parts)
    else:
        part_uploads.put_in_turn(kelp.cache, body, parts)


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
    log.info("content %s is not shown after all, and removed", content.id)
    remove(kelp, (part.key for part in content.parts))


def require_stored(kelp: Kelp, content: Content) -> None:
    """Inside the transaction that shows the content: its objects are still there, and stay from here on.

    The orphan batch may have taken them for those of a killed upload. Raises StoreUnavailable.
    """
    lost = StoreUnavailable("the upload rested for too long: what had come was cleared away")
    if kelp.cache.at_once > 1:  # a look is a round trip, and the transaction holds locks
        age_ns = kelp.clock.now_ns() - content.begun_ns if isinstance(content, _Fresh) else _DOUBTFUL_NS
        if not 0 <= age_ns < _DOUBTFUL_NS:
            keys = {part.key for part in content.parts}
            if not keys <= set(sizes(kelp, keys, "" if content.seal else content.id)):
                raise lost
        return
    for part in content.parts:
        try:
            kelp.cache.stat(part.key)
        except ObjectMissing as error:
            raise lost from error


def sizes(kelp: Kelp, keys: Collection[str], prefix: str) -> dict[str, int]:
    """Of those objects that the cache has, and perhaps of others. `prefix`: how all of them begin; "": each has a name
    of its own, and is asked for. Raises StoreUnavailable."""
    if prefix:
        return {info.key: info.size for info in kelp.cache.list(prefix)} if keys else {}

    def size(key: str) -> int | None:
        try:
            return kelp.cache.stat(key)
        except ObjectMissing:
            return None

    if kelp.cache.at_once == 1 or len(keys) < kelp.cache.at_once:
        found = zip(keys, map(size, keys), strict=True)
        return {key: known for key, known in found if known is not None}
    with ThreadPoolExecutor(kelp.cache.at_once, thread_name_prefix="sizes") as threads:
        found = zip(keys, threads.map(size, keys), strict=True)
        return {key: known for key, known in found if known is not None}


def remove(kelp: Kelp, keys: Iterable[str]) -> None:
    """Objects that no row names. Best effort: a store that is away is not asked for each of a thousand, since a client
    waits for the answer.
    """
    begun = time.monotonic()
    for key in keys:
        try:
            with turns.waiting():
                kelp.cache.delete(key)
        except KelpError as error:
            log.warning("object %s is left to the orphan batch: %s", key, error)
            if time.monotonic() - begun > _UNDOING:
                log.warning("so is what came after it")
                return


def write_to_nas(kelp: Kelp, content: Content, path: str, mtime_ns: int) -> NasFile:
    """Copy a content to a new file on the NAS, verified and fsynced there. Raises as `Reader.chunks`."""
    if not content.checksum:
        content = learning.learn(kelp, content.id)
    chunks = Reader(kelp, content, counted=False).chunks()
    if content.seal is not None:  # its checksum is not that of its bytes in a row; each part of them is verified
        return kelp.nas.write(path, chunks, content.size, None, mtime_ns=mtime_ns, parents=True)
    if content.checksum:
        return kelp.nas.write(path, chunks, content.size, content.checksum, mtime_ns=mtime_ns, parents=True)
    whole = blake3()
    written = kelp.nas.write(path, _through(whole, chunks), content.size, None, mtime_ns=mtime_ns, parents=True)
    learning.record_whole(kelp, replace(content, checksum=whole.hexdigest(), parts=()))
    return written


def _through(digest: blake3, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


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
