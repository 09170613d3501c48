"""SQL of dead properties (RFC 4918 §4). Values are whole XML elements, names are in Clark notation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class Properties:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def of(self, entry_id: int) -> dict[str, str]:
        return dict(
            self._tx.all("SELECT name, value FROM dav_properties WHERE entry_id = :id ORDER BY name", id=entry_id)
        )

    def of_children(self, folder_id: int) -> dict[int, dict[str, str]]:
        rows = self._tx.all(
            """SELECT p.entry_id, p.name, p.value FROM dav_properties p JOIN entries e ON e.id = p.entry_id
               WHERE e.parent_id = :folder AND e.state = 'ACTIVE' ORDER BY p.entry_id, p.name""",
            folder=folder_id,
        )
        found: dict[int, dict[str, str]] = {}
        for entry_id, name, value in rows:
            found.setdefault(entry_id, {})[name] = value
        return found

    def put(self, entry_id: int, name: str, value: str) -> None:
        self._tx.run(
            """INSERT INTO dav_properties (entry_id, name, value) VALUES (:id, :name, :value)
               ON CONFLICT (entry_id, name) DO UPDATE SET value = :value""",
            id=entry_id,
            name=name,
            value=value,
        )

    def remove(self, entry_id: int, name: str) -> None:
        self._tx.run("DELETE FROM dav_properties WHERE entry_id = :id AND name = :name", id=entry_id, name=name)

    def total_bytes(self, entry_id: int) -> int:
        sql = "SELECT COALESCE(SUM(LENGTH(name) + LENGTH(value)), 0) FROM dav_properties WHERE entry_id = :id"
        return int(self._tx.one(sql, id=entry_id)[0])

    def copy(self, source_id: int, target_id: int) -> None:
        """The target has the source's properties afterwards, and no other."""
        self._tx.run("DELETE FROM dav_properties WHERE entry_id = :id", id=target_id)
        self._tx.run(
            """INSERT INTO dav_properties (entry_id, name, value)
               SELECT :target, name, value FROM dav_properties WHERE entry_id = :source""",
            source=source_id,
            target=target_id,
        )
