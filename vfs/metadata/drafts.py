"""SQL of contents that share objects with the one before: what a file becomes that was changed in places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import portions

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class Drafts:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def reserve_ids(self, count: int) -> range:
        """Ids for entries that are to come, which nobody else gets; on SQLite."""
        sql = "UPDATE sqlite_sequence SET seq = seq + :count WHERE name = 'entries' RETURNING seq"
        last = int(self._tx.one(sql, count=count)[0])
        return range(last - count + 1, last + 1)

    def available(self, keys: Sequence[str]) -> set[str]:
        """Those objects that are in the cache."""
        found: set[str] = set()
        for marks, values in portions(keys):
            rows = self._tx.all(f"SELECT key FROM objects WHERE key IN ({marks}) AND status = 'AVAILABLE'", **values)
            found.update(row[0] for row in rows)
        return found

    def hold(self, content_id: str, keys: Sequence[str]) -> bool:
        """Until this transaction ends the content is not freed, nor are these objects of it evicted; so that they may
        be in another content too. False when something of it is going, or gone.

        Both rows are written: who frees the content deletes its row first, and who evicts an object changes its status.
        """
        sql = "UPDATE contents SET freeing_ns = NULL WHERE id = :id AND freeing_ns IS NULL"
        if self._tx.count(sql, id=content_id) != 1:
            return False
        distinct, held = sorted(set(keys)), 0
        for marks, values in portions(distinct):
            sql = f"UPDATE objects SET status = status WHERE key IN ({marks}) AND status = 'AVAILABLE'"
            held += self._tx.count(sql, **values)
        return held == len(distinct)

    def sharing(self, key: str, content_id: str) -> list[tuple[str, int]]:
        """(content, where in it) of other contents that have the object and a file on the NAS."""
        rows = self._tx.all(
            """SELECT h.id, (SELECT COALESCE(SUM(o.size), 0) FROM file_parts q JOIN objects o ON o.key = q.object_key
                             WHERE q.content_id = h.id AND q.sequence < h.sequence)
               FROM (SELECT content_id AS id, sequence FROM file_parts WHERE object_key = :key
                     UNION ALL SELECT id, 0 FROM contents WHERE id = :key AND parts = 1) h
               WHERE h.id <> :id
               AND (EXISTS (SELECT 1 FROM entries e WHERE e.nas_content_id = h.id AND e.nas_name IS NOT NULL)
                    OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = h.id AND v.nas_path IS NOT NULL))
               ORDER BY h.id, h.sequence LIMIT 8""",
            key=key,
            id=content_id,
        )
        return [(row[0], int(row[1])) for row in rows]
