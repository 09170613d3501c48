"""SQL of what shall stay in the cache, and of all files below a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# What is reachable from :id, itself first.
_BELOW = """WITH RECURSIVE below(id) AS (
    SELECT id FROM entries WHERE id = :id
    UNION ALL SELECT e.id FROM entries e JOIN below ON e.parent_id = below.id WHERE e.state = 'ACTIVE')"""


class Stored(NamedTuple):
    """A file and its content."""

    entry_id: int
    content_id: str
    size: int


class Pins:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def add(self, entry_id: int, user_id: int | None, now_ns: int) -> bool:
        """False when it was pinned before."""
        sql = """INSERT INTO cache_pins (entry_id, user_id, created_ns) VALUES (:id, :user, :now)
                 ON CONFLICT (entry_id) DO NOTHING"""
        return self._tx.count(sql, id=entry_id, user=user_id, now=now_ns) == 1

    def remove(self, entry_id: int) -> bool:
        return self._tx.count("DELETE FROM cache_pins WHERE entry_id = :id", id=entry_id) == 1

    def every(self) -> list[tuple[int, int, str]]:
        """(entry id, when it was pinned, by whom), oldest first; what is deleted since is left out."""
        return self._tx.all(
            """SELECT k.entry_id, k.created_ns, COALESCE(u.name, '') FROM cache_pins k
               JOIN entries e ON e.id = k.entry_id LEFT JOIN users u ON u.id = k.user_id
               WHERE e.state <> 'DELETED' ORDER BY k.created_ns, k.entry_id"""
        )

    def count_below(self, id: int) -> tuple[int, int]:
        """Files, and their bytes, of an entry: itself, or all below it. For a scan."""
        sql = f"""{_BELOW} SELECT COUNT(*), COALESCE(SUM(e.size), 0) FROM below JOIN entries e ON e.id = below.id
                  WHERE e.kind = 'file'"""
        row = self._tx.one(sql, id=id)
        return int(row[0]), int(row[1])

    def folders_below(self, id: int) -> list[int]:
        """A folder and all below it; of a file nothing. For a scan."""
        sql = f"{_BELOW} SELECT e.id FROM below JOIN entries e ON e.id = below.id WHERE e.kind = 'folder'"
        return [row[0] for row in self._tx.all(sql, id=id)]

    def file(self, id: int) -> Stored | None:
        sql = "SELECT id, content_id, size FROM entries WHERE id = :id AND kind = 'file' AND content_id IS NOT NULL"
        row = self._tx.one(sql, id=id)
        return Stored(*row) if row else None

    def files_in(self, folder_id: int, after: int, limit: int) -> list[Stored]:
        """Files directly in a folder, by id."""
        sql = """SELECT id, content_id, size FROM entries WHERE parent_id = :folder AND state = 'ACTIVE'
                 AND kind = 'file' AND content_id IS NOT NULL AND id > :after ORDER BY id LIMIT :limit"""
        return [Stored(*row) for row in self._tx.all(sql, folder=folder_id, after=after, limit=limit)]

    def missing(self, limit: int) -> list[str]:
        """Contents of pinned files that the cache lacks, at least in part. For a scan."""
        return [
            row[0]
            for row in self._tx.all(
                """WITH RECURSIVE below(id) AS (
                       SELECT e.id FROM cache_pins k JOIN entries e ON e.id = k.entry_id WHERE e.state = 'ACTIVE'
                       UNION SELECT e.id FROM entries e JOIN below ON e.parent_id = below.id WHERE e.state = 'ACTIVE')
                   SELECT DISTINCT e.content_id FROM below JOIN entries e ON e.id = below.id
                   WHERE e.content_id IS NOT NULL AND (
                       EXISTS (SELECT 1 FROM objects o WHERE o.key = e.content_id AND o.status = 'MISSING')
                       OR EXISTS (SELECT 1 FROM file_parts p JOIN objects o ON o.key = p.object_key
                                  WHERE p.content_id = e.content_id AND o.status = 'MISSING'))
                   LIMIT :limit""",
                limit=limit,
            )
        ]

    def any(self) -> bool:
        return self._tx.one("SELECT 1 FROM cache_pins LIMIT 1") is not None
