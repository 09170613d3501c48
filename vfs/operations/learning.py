"""Learn what an adopted file holds: Kelp took it over as it was, so nobody has read it yet.

Until then size and time of its file on the NAS are all that tells whether it is still the one that was adopted.
Afterwards it is a content as any other: its checksum, and sums of its blocks, verify every byte.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from blake3 import blake3

from vfs import links
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.retrying import retried
from vfs.metadata.verifying import NasCopy
from vfs.model import Content, Part
from vfs.operations import alerts
from vfs.operations.alerts import AlertKind
from vfs.storage.block_sums import BlockSums

log = logging.getLogger(__name__)

Pace = Callable[[int], None]  # called with the number of bytes that came; it may wait

_PATIENCE = 5.0  # seconds for the mirror to finish a move of the file
_AGAIN = 0.1  # … and between two looks


class Learned(NamedTuple):
    """What a file on the NAS was found to hold. `is_link`: a symbolic link, as others write them to a NAS too."""

    content: Content
    copy: NasCopy
    is_link: bool


class NasFileChanged(ContentCorrupt):
    """The file on the NAS is not the one that was recorded: somebody else changed, replaced or removed it."""


def learn(kelp: Kelp, content_id: str) -> Content:
    """The content with the checksums of all its parts; when they are not known yet, its file on the NAS is read once.

    Raises NasFileChanged (and raises the alert) when that is not the file that was adopted any more, ObjectMissing for
    an unknown content, StoreUnavailable while the NAS is down or the file is on its way for too long.
    """
    content = _get(kelp, content_id)
    if content.checksum or content.is_verifiable:
        return content
    try:
        learned = read_once(kelp, content, patience=_PATIENCE)
    except NasFileChanged as error:
        tell_changed(kelp, str(error))
        raise
    record(kelp, [learned])
    return _get(kelp, content_id)


def read_once(kelp: Kelp, content: Content, pace: Pace = lambda size: None, patience: float = 0.0) -> Learned:
    """The content as its file on the NAS has it, and which file that was; nothing is recorded.

    Raises NasFileChanged, StoreUnavailable (also when the mirror still moves the file after `patience` seconds).
    """
    until = time.monotonic() + patience
    while True:
        copies = _copies(kelp, content.id)
        changed: list[str] = []
        for copy in copies:
            try:
                return _read(kelp, content, copy, pace)
            except (ContentCorrupt, ObjectMissing, NasFault) as error:
                changed.append(str(error))
        later = _copies(kelp, content.id)
        if later == copies and not any(copy.moving for copy in copies):
            raise NasFileChanged(changed[0] if changed else f"no file on the NAS is recorded to have {content.id}")
        if time.monotonic() > until:
            raise StoreUnavailable(f"the file of content {content.id} is on its way on the NAS")
        time.sleep(_AGAIN)


@retried
def record_whole(kelp: Kelp, content: Content) -> None:
    """The checksum of a content whose parts were known one by one; they need not be given."""
    with kelp.database.write() as tx:
        tx.verifying.learn([content])


@retried
def record(kelp: Kelp, learned: Sequence[Learned]) -> None:
    """One transaction for all of them. What another process recorded meanwhile stays. A link is one from now on,
    wherever its content is shown: nobody could see it before it was read."""
    found = [each.content.id for each in learned if each.is_link]
    with kelp.database.write() as tx:
        if found:
            tx.lock_tree(exclusive=True)  # nobody makes a copy just now that would not be known for one
        shown = tx.verifying.showing(found, but=links.TYPE)
        tx.lock_rows(sorted({each.copy.entry_id for each in learned}.union(shown)))
        tx.verifying.learn([each.content for each in learned])
        tx.verifying.seen_on_nas([(each.copy, each.content.id) for each in learned], kelp.clock.now_ns())
        for entry_id in shown:
            tx.entries.update(entry_id, mime_type=links.TYPE)


def tell_changed(kelp: Kelp, message: str) -> None:
    """One alert for all such files: `kelp nas scan` lists them and takes them in."""
    alerts.open_(kelp, AlertKind.NAS_FILE_CHANGED, f"{message}; `kelp nas scan` shows what else was")


def _get(kelp: Kelp, content_id: str) -> Content:
    with kelp.database.read() as tx:
        content = tx.contents.get(content_id)
    if content is None:
        raise ObjectMissing(f"content {content_id} is unknown")
    return content


def _copies(kelp: Kelp, content_id: str) -> list[NasCopy]:
    with kelp.database.read() as tx:
        return tx.verifying.copies(content_id)


def _read(kelp: Kelp, content: Content, copy: NasCopy, pace: Pace) -> Learned:
    """Read the file from end to end; before and after it must be the one that is recorded."""
    inode = _require_same(kelp, content, copy, None)
    whole = blake3()
    pieces = _Cut(kelp.nas.read(copy.path), pace)
    parts, perhaps_link = [], bytearray()
    for part in content.parts:
        digest, sums = blake3(), BlockSums()
        for piece in pieces.take(part.size):
            digest.update(piece)
            whole.update(piece)
            sums.update(piece)
            if content.size == links.SIZE:
                perhaps_link += piece
        parts.append(Part(part.key, part.size, digest.hexdigest(), sums.finish()))
    _require_same(kelp, content, copy, inode)
    known = replace(content, checksum=whole.hexdigest(), parts=tuple(parts))
    return Learned(known, copy, links.target_of(bytes(perhaps_link)) is not None)


def _require_same(kelp: Kelp, content: Content, copy: NasCopy, inode: int | None) -> int:
    """Its inode. That one is compared only within one reading: some NAS number anew at each mount."""
    info = kelp.nas.stat(copy.path)
    if info is None:
        raise NasFileChanged(f"{copy.path} on the NAS is gone")
    same = info.kind == "file" and info.size == content.size and info.mtime_ns == copy.mtime_ns
    if not same or inode not in (None, info.inode):
        raise NasFileChanged(f"{copy.path} on the NAS was changed by somebody else")
    return info.inode


class _Cut:
    """Pieces of a file, cut anew where its parts end."""

    def __init__(self, pieces: Iterator[bytes], pace: Pace) -> None:
        self._pieces = pieces
        self._pace = pace
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes. Raises NasFileChanged when the file ends before."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    raise NasFileChanged("the file on the NAS was cut while it was read")
                self._pace(len(self._rest))
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece
