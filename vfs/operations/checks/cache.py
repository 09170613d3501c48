"""The cache against its rows: both in the order of their keys, a page of rows at a time.

Everything else may be at work meanwhile: what looks wrong is damage only when its row, looked at again afterwards, is
the one from which that was concluded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from blake3 import blake3

from vfs.core import Kelp
from vfs.errors import ContentCorrupt, ObjectMissing, StoreUnavailable
from vfs.metadata.verifying import Found
from vfs.operations import orphans, repairing
from vfs.operations.checks.findings import Look
from vfs.storage.object_store import ObjectInfo

_PAGE = 500  # rows, and orphans looked at together
_MISSING = "object missing in the cache"
_YOUNG_NS = 3600 * 1_000_000_000  # an object younger than an hour may belong to an upload under way (design §3)


def look(look: Look) -> int:
    """The number of objects that the cache holds."""
    try:
        return _look(look)
    except StoreUnavailable as error:
        look.found("cache is away", "cache", error)
        return 0


def _look(look: Look) -> int:
    there = _Listing(look.kelp.cache.list())
    unknown = _Unknown(look)
    after, more = "", True
    while more:
        with look.kelp.database.read() as tx:
            rows = tx.verifying.objects_after(after, _PAGE)
        for row in rows:
            unknown.add(there.before(row.key))
            _judge(look, row, there.take(row.key))
        after, more = (rows[-1].key, True) if rows else (after, False)
        look.progress("cache", there.count)
    unknown.add(there.before(None))
    unknown.settle()
    return there.count


class _Listing:
    """The listing of a store, taken piece by piece."""

    def __init__(self, infos: Iterator[ObjectInfo]) -> None:
        self._infos = infos
        self._next = next(infos, None)
        self.count = 0

    def before(self, key: str | None) -> Iterator[ObjectInfo]:
        """Those that come before a key (None: all that are left)."""
        while self._next is not None and (key is None or self._next.key < key):
            yield self._pop(self._next)

    def take(self, key: str) -> ObjectInfo | None:
        return self._pop(self._next) if self._next is not None and self._next.key == key else None

    def _pop(self, info: ObjectInfo) -> ObjectInfo:
        self.count += 1
        self._next = next(self._infos, None)
        return info


def _judge(look: Look, row: Found, info: ObjectInfo | None) -> None:
    now = look.kelp.clock.now_ns()
    if row.status == "ERROR":
        repair = partial(repairing.replace_object, look.kelp, row.key)
        look.found("object bad in the cache and on the NAS", row.key, f"{row.size} bytes", repair)
    elif row.status == "MISSING":
        if info is not None and max(row.since_ns, info.modified_ns) < now - _YOUNG_NS and _is_still(look.kelp, row):
            repair = partial(repairing.replace_object, look.kelp, row.key)
            look.found("object present though its row says MISSING", row.key, f"{info.size} bytes", repair)
    elif row.status == "AVAILABLE":
        wrong = _wrong(look, row, info)
        if wrong is not None and _is_still(look.kelp, row):
            fault = ObjectMissing(wrong[0]) if wrong[0] == _MISSING else ContentCorrupt(wrong[0])
            look.found(*wrong, repair=partial(repairing.replace_object, look.kelp, row.key, fault))


def _wrong(look: Look, row: Found, info: ObjectInfo | None) -> tuple[str, str, str] | None:
    try:
        size = row.size
        if info is None or info.size != row.size:  # it has come since, or was listed empty, made ahead
            size = look.kelp.cache.stat(row.key)
    except ObjectMissing:
        return _MISSING, row.key, f"{row.size} bytes"
    if size != row.size:
        return "object of another size", row.key, f"{size} instead of {row.size} bytes"
    if look.deep and row.checksum and _checksum(look.kelp, row.key) != row.checksum:
        return "object corrupt", row.key, f"{row.size} bytes"
    return None


def _is_still(kelp: Kelp, row: Found) -> bool:
    with kelp.database.read() as tx:
        return tx.verifying.object(row.key) == row


def _checksum(kelp: Kelp, key: str) -> str | None:
    digest = blake3()
    try:
        for piece in kelp.cache.get(key):
            digest.update(piece)
    except (ObjectMissing, ContentCorrupt):
        return None
    return digest.hexdigest()


class _Unknown:
    """Objects that no row names."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._waiting: list[ObjectInfo] = []
        self._sought = False

    def add(self, infos: Iterator[ObjectInfo]) -> None:
        for info in infos:
            # An empty one was made ahead, by a process that died, and holds nothing: the orphan batch takes it.
            if info.size and self._look.kelp.clock.now_ns() - info.modified_ns > _YOUNG_NS:
                self._waiting.append(info)
            if len(self._waiting) >= _PAGE:
                self.settle()

    def settle(self) -> None:
        """A row may have come since the page was read."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        now = self._look.kelp.clock.now_ns()
        with self._look.kelp.database.read() as tx:
            unknown = set(tx.contents.unknown([info.key for info in waiting], now))
        if unknown and self._look.repairs and not self._sought:
            self._sought = True
            orphans.seek_orphans(self._look.kelp)
        for info in waiting:
            if info.key in unknown:
                repair = partial(repairing.is_gone, self._look.kelp, info.key)
                self._look.found("orphan in the cache", info.key, f"{info.size} bytes", repair)
