"""SQL of the bytes of objects whose files are synced later than the commit that shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class RedoRow(NamedTuple):
    """Ids are used again, so the key goes with it."""

    id: int
    key: str


class RedoObjects:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def insert(self, key: str, data: bytes) -> RedoRow:
        sql = "INSERT INTO redo_objects (key, data) VALUES (:key, :data)"
        return RedoRow(self._tx.insert(sql, key=key, data=data), key)

    def forget(self, rows: Iterable[RedoRow]) -> None:
        """Their files are synced, or nobody wants them."""
        sql = "DELETE FROM redo_objects WHERE id = :id AND key = :key"
        self._tx.many(sql, [{"id": row.id, "key": row.key} for row in rows])

    def all(self) -> set[RedoRow]:
        return {RedoRow(*row) for row in self._tx.all("SELECT id, key FROM redo_objects")}

    def last(self) -> int:
        """The highest id; 0: there is no row."""
        return int(self._tx.one("SELECT COALESCE(MAX(id), 0) FROM redo_objects")[0])

    def page(self, after: int, limit: int) -> list[tuple[RedoRow, bytes, bool]]:
        """Rows by id, their bytes, and whether the drive may want them: the object is known, and not to be deleted."""
        sql = """SELECT r.id, r.key, r.data, o.status IS NOT NULL AND o.status <> 'PENDING' AND o.size = LENGTH(r.data)
                 FROM redo_objects r LEFT JOIN objects o ON o.key = r.key
                 WHERE r.id > :after ORDER BY r.id LIMIT :limit"""
        found = self._tx.all(sql, after=after, limit=limit)
        return [(RedoRow(id, key), bytes(data), bool(wanted)) for id, key, data, wanted in found]
