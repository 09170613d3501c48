"""SQL of who had a name last and which time it showed: for R8 of the clients, and for an editor's safe save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import portions

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_MOST = 1000  # names that a transaction keeps in mind


class NameMemory:
    """Keys of names are as in `entries.name_key`."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._recalled: dict[tuple[int, str], tuple[int, int, int] | None] = {}  # until this transaction changes any

    def remember(self, folder_id: int, key: str, entry_id: int, shown_mtime: int, now_ns: int, since_ns: int) -> None:
        """`entry_id` had the name until now. The latest time that it showed since `since_ns` stays remembered."""
        self._recalled.clear()
        self._tx.run(
            """INSERT INTO name_memory (parent_id, name_key, entry_id, shown_mtime, left_ns)
               VALUES (:folder, :key, :entry, :shown, :now)
               ON CONFLICT (parent_id, name_key) DO UPDATE
               SET entry_id = excluded.entry_id, left_ns = excluded.left_ns, shown_mtime = CASE
                   WHEN name_memory.left_ns > :since AND name_memory.shown_mtime > excluded.shown_mtime
                   THEN name_memory.shown_mtime ELSE excluded.shown_mtime END""",
            folder=folder_id,
            key=key,
            entry=entry_id,
            shown=shown_mtime,
            now=now_ns,
            since=since_ns,
        )

    def recall(self, folder_id: int, key: str) -> tuple[int, int, int] | None:
        """(entry id, shown_mtime, left_ns) of who had the name last."""
        if (folder_id, key) not in self._recalled:
            if len(self._recalled) >= _MOST:  # a copy of a whole tree asks for each of its files
                self._recalled.clear()
            sql = "SELECT entry_id, shown_mtime, left_ns FROM name_memory WHERE parent_id = :folder AND name_key = :key"
            self._recalled[folder_id, key] = self._tx.one(sql, folder=folder_id, key=key)
        return self._recalled[folder_id, key]

    def settle(self, folder_id: int, key: str) -> None:
        """Whoever had the name has no claim on it any more; the time it showed stays remembered."""
        self._recalled.clear()
        sql = "UPDATE name_memory SET entry_id = 0 WHERE parent_id = :folder AND name_key = :key"
        self._tx.run(sql, folder=folder_id, key=key)

    def settle_of(self, id: int) -> None:
        """The entry has no claim on names it left in the folder that it was in."""
        self._recalled.clear()
        sql = """UPDATE name_memory SET entry_id = 0 WHERE entry_id = :id
                 AND parent_id = (SELECT parent_id FROM entries WHERE id = :id)"""
        self._tx.run(sql, id=id)

    def settle_all(self, ids: Sequence[int]) -> None:
        """The same of these entries, in whichever folder."""
        self._recalled.clear()
        for marks, values in portions(ids):
            self._tx.run(f"UPDATE name_memory SET entry_id = 0 WHERE entry_id IN ({marks})", **values)
