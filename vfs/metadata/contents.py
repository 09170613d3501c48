"""SQL of contents, their parts and the cache's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.model import Content, Part

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# A content that someone can still reach: an entry whose row is not DELETED, or a version that is kept.
_REFERRED = """(
    EXISTS (SELECT 1 FROM entries e WHERE e.content_id = contents.id AND e.state <> 'DELETED')
 OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = contents.id AND v.state <> 'purged'))"""

_MOST_WITH_BLOCKS = 1024  # parts: 8 GiB, whose sums take a MiB


class Contents:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def insert(self, content: Content, now_ns: int) -> None:
        self._tx.run(
            """INSERT INTO contents (id, size, checksum, digests, parts, created_ns)
               VALUES (:id, :size, :checksum, :digests, :parts, :now)""",
            id=content.id,
            size=content.size,
            checksum=content.checksum,
            digests=content.digests,
            parts=len(content.parts),
            now=now_ns,
        )
        self._tx.many(
            """INSERT INTO objects (key, size, checksum, blocks, status, cached_ns)
               VALUES (:key, :size, :checksum, :blocks, 'AVAILABLE', :now)""",
            [
                {"key": part.key, "size": part.size, "checksum": part.checksum, "blocks": part.blocks, "now": now_ns}
                for part in content.parts
            ],
        )
        if len(content.parts) > 1:
            self._tx.many(
                "INSERT INTO file_parts (content_id, sequence, object_key) VALUES (:id, :n, :key)",
                [{"id": content.id, "n": n, "key": part.key} for n, part in enumerate(content.parts)],
            )

    def get(self, id: str) -> Content | None:
        """Of one with very many parts, the sums of their blocks are left out: see `blocks`."""
        rows = self._tx.all(
            f"""SELECT c.id, c.size, c.checksum, c.digests, o.key, o.size, o.checksum,
                      CASE WHEN c.parts <= {_MOST_WITH_BLOCKS} THEN o.blocks END
               FROM contents c
               LEFT JOIN file_parts p ON p.content_id = c.id AND c.parts > 1
               LEFT JOIN objects o ON o.key = COALESCE(p.object_key, c.id) AND c.parts > 0
               WHERE c.id = :id ORDER BY p.sequence""",
            id=id,
        )
        parts = tuple(Part(*row[4:]) for row in rows if row[4] is not None)
        if not rows:
            return None
        id, size, checksum, digests = rows[0][:4]
        return Content(id, size, checksum, digests, parts)

    def blocks(self, key: str) -> bytes | None:
        """The sums of one part's blocks, where they are known."""
        row = self._tx.one("SELECT blocks FROM objects WHERE key = :key", key=key)
        return bytes(row[0]) if row is not None and row[0] is not None else None

    def digests_of_children(self, folder_id: int) -> dict[int, str]:
        sql = """SELECT e.id, c.digests FROM entries e JOIN contents c ON c.id = e.content_id
                 WHERE e.parent_id = :id AND e.state = 'ACTIVE' AND c.digests IS NOT NULL"""
        return dict(self._tx.all(sql, id=folder_id))

    def in_use(self, id: str) -> bool:
        """False for a content that is unknown or being freed: a copy of it must start over."""
        row = self._tx.one("SELECT freeing_ns FROM contents WHERE id = :id", id=id)
        return row is not None and row[0] is None

    def cached(self, id: str) -> bool:
        """Every part is AVAILABLE in the cache."""
        sql = """SELECT COUNT(*) FROM contents c LEFT JOIN file_parts p ON p.content_id = c.id
                 JOIN objects o ON o.key = COALESCE(p.object_key, c.id)
                 WHERE c.id = :id AND o.status <> 'AVAILABLE'"""
        return bool(self._tx.one(sql, id=id)[0] == 0)

    def other_holders(self, id: str, entry_id: int) -> list[int]:
        """Entries but `entry_id` that refer to a content and are not recorded to have it on the NAS."""
        sql = """SELECT id FROM entries WHERE content_id = :id AND id <> :entry AND state <> 'DELETED'
                 AND nas_content_id IS DISTINCT FROM :id"""
        return [row[0] for row in self._tx.all(sql, id=id, entry=entry_id)]

    def unknown(self, keys: list[str]) -> list[str]:
        """Those object keys that no row names."""
        marks = ", ".join(f":k{n}" for n in range(len(keys)))
        values = {f"k{n}": key for n, key in enumerate(keys)}
        known = {row[0] for row in self._tx.all(f"SELECT key FROM objects WHERE key IN ({marks})", **values)}
        return [key for key in keys if key not in known]

    # --- freeing (design §3: mark, wait until no reader can hold it, look again, delete) ---

    def unreferred(self, older_than_ns: int, limit: int) -> list[str]:
        """Contents that nothing refers to. Looks at every content: for a read transaction."""
        sql = f"""SELECT id FROM contents WHERE freeing_ns IS NULL AND created_ns < :older AND NOT {_REFERRED}
                  LIMIT :limit"""
        return [row[0] for row in self._tx.all(sql, older=older_than_ns, limit=limit)]

    def mark(self, ids: list[str], now_ns: int) -> None:
        """To be freed, unless something refers to them by now."""
        self._tx.many(
            f"UPDATE contents SET freeing_ns = :now WHERE id = :id AND NOT {_REFERRED}",
            [{"id": id, "now": now_ns} for id in ids],
        )

    def freeable(self, marked_before_ns: int, limit: int) -> list[str]:
        """Contents marked long enough ago; those referred to again are taken back first."""
        self._tx.run(f"UPDATE contents SET freeing_ns = NULL WHERE freeing_ns IS NOT NULL AND {_REFERRED}")
        sql = "SELECT id FROM contents WHERE freeing_ns < :before LIMIT :limit"
        return [row[0] for row in self._tx.all(sql, before=marked_before_ns, limit=limit)]

    def forget(self, id: str) -> list[str]:
        """Drop a content's rows; its objects that no other content has become PENDING. Returns their keys.

        Only what _REFERRED does not count lets go of it: a copy that was committed since the last look keeps its
        content, and the database refuses this (Conflict).
        """
        content = self.get(id)
        keys = [part.key for part in content.parts] if content else []
        self._tx.run("UPDATE entries SET content_id = NULL WHERE content_id = :id AND state = 'DELETED'", id=id)
        self._tx.run("DELETE FROM versions WHERE content_id = :id AND state = 'purged'", id=id)
        self._tx.run("DELETE FROM file_parts WHERE content_id = :id", id=id)
        self._tx.run("DELETE FROM contents WHERE id = :id", id=id)
        for key in keys:
            self._tx.run(
                """UPDATE objects SET status = 'PENDING'
                   WHERE key = :key AND NOT EXISTS (SELECT 1 FROM file_parts WHERE object_key = :key)
                   AND NOT EXISTS (SELECT 1 FROM contents WHERE id = :key AND parts = 1)""",
                key=key,
            )
        return keys

    def pending_objects(self, limit: int) -> list[str]:
        sql = "SELECT key FROM objects WHERE status = 'PENDING' LIMIT :limit"
        return [row[0] for row in self._tx.all(sql, limit=limit)]

    def forget_object(self, key: str) -> None:
        self._tx.run("DELETE FROM objects WHERE key = :key AND status = 'PENDING'", key=key)
