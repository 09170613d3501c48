"""SQL of the trash, and of what decides whether something goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vfs.metadata.entries import COLUMNS, entry_of
from vfs.model import Entry

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_LIFE = """SELECT nas_stamp, born_litter, registered_ns,
    EXISTS (SELECT 1 FROM versions v WHERE v.entry_id = e.id AND v.state = 'kept'),
    EXISTS (SELECT 1 FROM sync_events s WHERE s.aggregate_id = e.id AND s.status = 'PENDING' AND s.litter)
    FROM entries e WHERE id = :id"""


class Life(NamedTuple):
    """What decides whether somebody who removes an entry gives up anything. `waits_as_litter`: a change of it does."""

    nas_stamp: str | None
    born_litter: bool
    registered_ns: int
    has_versions: bool  # kept ones
    waits_as_litter: bool


class Trash:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def life(self, id: int) -> Life:
        stamp, born_litter, registered_ns, has_versions, waits = self._tx.one(_LIFE, id=id)
        return Life(stamp, bool(born_litter), registered_ns, bool(has_versions), bool(waits))

    def put(self, id: int, path: str, now_ns: int, expires_ns: int, user_id: int) -> None:
        self._tx.run(
            """INSERT INTO trash_metadata (entry_id, original_path, trashed_ns, expires_ns, user_id)
               VALUES (:id, :path, :now, :expires, :user)""",
            id=id,
            path=path,
            now=now_ns,
            expires=expires_ns,
            user=user_id,
        )

    def record(self, id: int) -> tuple[str, int] | None:
        """(original path, trashed_ns) of an entry in the trash."""
        sql = "SELECT original_path, trashed_ns FROM trash_metadata WHERE entry_id = :id"
        row: tuple[str, int] | None = self._tx.one(sql, id=id)
        return row

    def take(self, id: int) -> None:
        self._tx.run("DELETE FROM trash_metadata WHERE entry_id = :id", id=id)

    def every(self) -> list[tuple[Entry, str, int, int, str]]:
        """Trash items, newest first: entry, original path, trashed_ns, expires_ns, user name."""
        sql = f"""SELECT {COLUMNS}, t.original_path, t.trashed_ns, t.expires_ns, COALESCE(u.name, '')
                  FROM trash_metadata t JOIN entries e ON e.id = t.entry_id LEFT JOIN users u ON u.id = t.user_id
                  WHERE e.state = 'TRASHED' ORDER BY t.trashed_ns DESC, e.id DESC"""
        return [(entry_of(row, self._tx.seals, shown=True), *row[-4:]) for row in self._tx.all(sql)]
