"""SQL of contents that share objects with the one before: what a file becomes that was changed in places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.model import Content, Part

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_AT_ONCE = 400  # values in one statement


class Drafts:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def available(self, keys: Sequence[str]) -> set[str]:
        """Those objects that are in the cache."""
        found: set[str] = set()
        for at in range(0, len(keys), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            marks = ", ".join(f":k{n}" for n in range(len(some)))
            values: dict[str, object] = {f"k{n}": key for n, key in enumerate(some)}
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
        for at in range(0, len(keys), _AT_ONCE):
            some = sorted(set(keys[at : at + _AT_ONCE]))
            marks = ", ".join(f":k{n}" for n in range(len(some)))
            values: dict[str, object] = {f"k{n}": key for n, key in enumerate(some)}
            sql = f"UPDATE objects SET status = status WHERE key IN ({marks}) AND status = 'AVAILABLE'"
            if self._tx.count(sql, **values) != len(some):
                return False
        return True

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

    def insert(self, content: Content, fresh: Sequence[Part], now_ns: int) -> None:
        """A content of which only the `fresh` objects have no row yet. An object may be in it several times."""
        self._tx.run(
            """INSERT INTO contents (id, size, checksum, digests, parts, created_ns)
               VALUES (:id, :size, :checksum, NULL, :parts, :now)""",
            id=content.id,
            size=content.size,
            checksum=content.checksum,
            parts=len(content.parts),
            now=now_ns,
        )
        self._tx.many(
            """INSERT INTO objects (key, size, checksum, blocks, status, cached_ns)
               VALUES (:key, :size, :checksum, :blocks, 'AVAILABLE', :now)""",
            [
                {"key": part.key, "size": part.size, "checksum": part.checksum, "blocks": part.blocks, "now": now_ns}
                for part in fresh
            ],
        )
        if len(content.parts) > 1:
            self._tx.many(
                "INSERT INTO file_parts (content_id, sequence, object_key) VALUES (:id, :n, :key)",
                [{"id": content.id, "n": n, "key": part.key} for n, part in enumerate(content.parts)],
            )
