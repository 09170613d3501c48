"""SQL of dead properties (RFC 4918 §4). Values are whole XML elements, names are in Clark notation.

Of an entry in a vault both are sealed: equal names look equal there, values do not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vfs.errors import KeyMissing

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_NAME, _VALUE = "property-name", "property-value"


class Properties:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def of(self, entry_id: int) -> dict[str, str]:
        """By name. Raises KeyMissing."""
        rows = self._tx.all("SELECT name, value FROM dav_properties WHERE entry_id = :id ORDER BY name", id=entry_id)
        return self._opened(rows)

    def shown(self, entry_id: int) -> dict[str, str]:
        """As `of`; none without the key: a closed vault is listed where it lies, by clients that want all."""
        try:
            return self.of(entry_id)
        except KeyMissing:
            return {}

    def of_children(self, folder_id: int) -> dict[int, dict[str, str]]:
        """As `shown`, of each that has some."""
        rows = self._tx.all(
            """SELECT p.entry_id, p.name, p.value FROM dav_properties p JOIN entries e ON e.id = p.entry_id
               WHERE e.parent_id = :folder AND e.state = 'ACTIVE' ORDER BY p.entry_id, p.name""",
            folder=folder_id,
        )
        found: dict[int, list[tuple[str, str]]] = {}
        for entry_id, name, value in rows:
            found.setdefault(entry_id, []).append((name, value))
        shown: dict[int, dict[str, str]] = {}
        for entry_id, own in found.items():
            with contextlib.suppress(KeyMissing):
                shown[entry_id] = self._opened(own)
        return shown

    def _opened(self, rows: Iterable[tuple[str, str]]) -> dict[str, str]:
        open_text = self._tx.seals.open_text
        return dict(sorted((open_text(name), open_text(value)) for name, value in rows))

    def put(self, entry_id: int, name: str, value: str) -> None:
        seals = self._tx.seals
        seal = seals.of(entry_id)
        self._tx.run(
            """INSERT INTO dav_properties (entry_id, name, value) VALUES (:id, :name, :value)
               ON CONFLICT (entry_id, name) DO UPDATE SET value = :value""",
            id=entry_id,
            name=seals.text(seal, _NAME, name),
            value=seals.text(seal, _VALUE, value),
        )

    def remove(self, entry_id: int, name: str) -> None:
        sealed = self._tx.seals.text(self._tx.seals.of(entry_id), _NAME, name)
        self._tx.run("DELETE FROM dav_properties WHERE entry_id = :id AND name = :name", id=entry_id, name=sealed)

    def total_bytes(self, entry_id: int) -> int:
        if self._tx.seals.of(entry_id) is not None:
            return sum(len(name) + len(value) for name, value in self.of(entry_id).items())
        sql = "SELECT COALESCE(SUM(LENGTH(name) + LENGTH(value)), 0) FROM dav_properties WHERE entry_id = :id"
        return int(self._tx.one(sql, id=entry_id)[0])

    def copy(self, source_id: int, target_id: int) -> None:
        """The target has the source's properties afterwards, and no other."""
        self._tx.run("DELETE FROM dav_properties WHERE entry_id = :id", id=target_id)
        if self._tx.seals.of(target_id) is not None or self._tx.seals.of(source_id) is not None:
            for name, value in self.of(source_id).items():
                self.put(target_id, name, value)
            return
        self._tx.run(
            """INSERT INTO dav_properties (entry_id, name, value)
               SELECT :target, name, value FROM dav_properties WHERE entry_id = :source""",
            source=source_id,
            target=target_id,
        )
