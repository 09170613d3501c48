"""SQL of objects that come back to the cache: each step a compare-and-set on the status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import portions
from vfs.model import StoreStatus

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_UNSETTLED = "status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"  # as the index has it


class Restoring:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def statuses(self, keys: Sequence[str]) -> dict[str, StoreStatus]:
        """Keys that no row has are left out."""
        found: dict[str, StoreStatus] = {}
        for marks, values in portions(keys):
            rows = self._tx.all(f"SELECT key, status FROM objects WHERE key IN ({marks})", **values)
            found.update((key, StoreStatus(status)) for key, status in rows)
        return found

    def switch(self, key: str, old: StoreStatus, new: StoreStatus, now_ns: int, since_ns: int | None = None) -> bool:
        """From one status to another, unless it is another by now, or (`since_ns`) has been left and entered again."""
        return self._tx.count(
            """UPDATE objects SET status = :new, status_ns = :now,
                      cached_ns = CASE WHEN :new = 'AVAILABLE' THEN :now ELSE cached_ns END
               WHERE key = :key AND status = :old
               AND (CAST(:since AS BIGINT) IS NULL OR status_ns = CAST(:since AS BIGINT))""",
            key=key, old=old, new=new, now=now_ns, since=since_ns,
        ) == 1  # fmt: skip

    def is_since(self, key: str, status: StoreStatus, since_ns: int) -> bool:
        """It has this status since then."""
        sql = "SELECT 1 FROM objects WHERE key = :key AND status = :status AND status_ns = :since"
        return self._tx.one(sql, key=key, status=status, since=since_ns) is not None

    def stale(self, status: StoreStatus, before_ns: int, absurd_ns: int, limit: int) -> list[tuple[str, int]]:
        """(key, since when) of objects that have a status for so long, or since a time that is yet to come."""
        sql = f"""SELECT key, status_ns FROM objects WHERE {_UNSETTLED} AND status = :status
                  AND (status_ns < :before OR status_ns > :absurd) ORDER BY status_ns, key LIMIT :n"""
        rows = self._tx.all(sql, status=status, before=before_ns, absurd=absurd_ns, n=limit)
        return [(row[0], row[1]) for row in rows]

    def none_in_error(self, content_id: str) -> bool:
        sql = """SELECT 1 FROM contents c LEFT JOIN file_parts p ON p.content_id = c.id
                 JOIN objects o ON o.key = COALESCE(p.object_key, c.id)
                 WHERE c.id = :id AND o.status = 'ERROR' LIMIT 1"""
        return self._tx.one(sql, id=content_id) is None

    def learn_blocks(self, key: str, checksum: str, blocks: bytes) -> None:
        """Of a part from before they were kept, that was read whole and found right."""
        sql = "UPDATE objects SET blocks = :blocks WHERE key = :key AND checksum = :checksum AND blocks IS NULL"
        self._tx.run(sql, key=key, checksum=checksum, blocks=blocks)
