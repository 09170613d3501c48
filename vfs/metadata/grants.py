"""SQL of grants: what users and groups may do in a folder and below it (spec §10)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.metadata.lists import listed
from vfs.model import Level
from vfs.people import Grant

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


def of_user(table: str = "grants") -> str:
    """Grants that concern :user …"""
    members = "SELECT m.group_id FROM group_members m WHERE m.user_id = :user"
    return f"({table}.user_id = :user OR {table}.group_id IN ({members}))"


def level_of(table: str = "grants") -> str:
    """… and what they come to, of one folder: his own wins, among those of groups the highest."""
    return f"COALESCE(MAX(CASE WHEN {table}.user_id IS NOT NULL THEN {table}.level END), MAX({table}.level))"


_HIS, _LEVEL = of_user(), level_of()

_SELECT = """SELECT g.uuid, g.folder_id, COALESCE(u.name, q.name), COALESCE(u.uuid, q.uuid),
                    g.group_id IS NOT NULL, g.level, g.created_ns
             FROM grants g LEFT JOIN users u ON u.id = g.user_id LEFT JOIN groups q ON q.id = g.group_id"""


def _grant(row: Sequence[Any]) -> Grant:
    return Grant(row[0], row[1], row[2], row[3], bool(row[4]), Level(row[5]), row[6])


class Grants:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def any(self) -> bool:
        return self._tx.any_locks_or_grants()[1]

    def levels(self, folder_ids: Sequence[int], user_id: int) -> dict[int, Level]:
        """What grants on these very folders give the user; nothing for a folder without one that concerns him."""
        if not folder_ids:
            return {}
        marks, values = listed(folder_ids)
        sql = f"SELECT folder_id, {_LEVEL} FROM grants WHERE folder_id IN ({marks}) AND {_HIS} GROUP BY folder_id"
        return {row[0]: Level(row[1]) for row in self._tx.all(sql, user=user_id, **values)}

    def levels_in(self, folder_id: int, user_id: int) -> dict[int, Level]:
        """The same for the folders in a folder."""
        sql = f"""SELECT folder_id, {_LEVEL} FROM grants
                  WHERE folder_id IN (SELECT id FROM entries WHERE parent_id = :folder) AND {_HIS} GROUP BY folder_id"""
        return {row[0]: Level(row[1]) for row in self._tx.all(sql, folder=folder_id, user=user_id)}

    def any_lower_below(self, folder_id: int, user_id: int, level: Level) -> bool:
        """Somewhere below a folder a grant gives the user less than `level`."""
        return self._any_below(folder_id, user_id, f"{_LEVEL} < :level", level)

    def any_as_high_below(self, folder_id: int, user_id: int, level: Level) -> bool:
        """… or `level` and more."""
        return self._any_below(folder_id, user_id, f"{_LEVEL} >= :level", level)

    def _any_below(self, folder_id: int, user_id: int, having: str, level: Level) -> bool:
        """Looked for upwards from the grants: they are few, and what is below a folder may be a million."""
        row = self._tx.one(
            f"""WITH RECURSIVE such(id) AS (
                    SELECT folder_id FROM grants WHERE {_HIS} GROUP BY folder_id HAVING {having}
                ), up(id, parent_id) AS (
                    SELECT e.id, e.parent_id FROM entries e JOIN such ON e.id = such.id WHERE e.state = 'ACTIVE'
                    UNION
                    SELECT e.id, e.parent_id FROM entries e JOIN up ON e.id = up.parent_id WHERE e.state = 'ACTIVE'
                )
                SELECT 1 FROM up WHERE parent_id = :folder LIMIT 1""",
            folder=folder_id,
            user=user_id,
            level=int(level),
        )
        return row is not None

    def on(self, folder_id: int) -> list[Grant]:
        """All on one folder: users before groups."""
        sql = f"{_SELECT} WHERE g.folder_id = :folder ORDER BY g.group_id IS NOT NULL, COALESCE(u.name, q.name)"
        return [_grant(row) for row in self._tx.all(sql, folder=folder_id)]

    def by_uuid(self, uuid: str) -> Grant | None:
        if not uuid.isprintable():  # PostgreSQL takes no NUL
            return None
        row = self._tx.one(f"{_SELECT} WHERE g.uuid = :uuid", uuid=uuid)
        return _grant(row) if row else None

    def every(self) -> list[Grant]:
        """Of the whole drive, but for what lies in the trash's past: folder by folder."""
        sql = f"""{_SELECT} JOIN entries e ON e.id = g.folder_id WHERE e.state <> 'DELETED'
                  ORDER BY g.folder_id, g.group_id IS NOT NULL, COALESCE(u.name, q.name)"""
        return [_grant(row) for row in self._tx.all(sql)]

    def put(self, folder_id: int, user_id: int | None, group_id: int | None, level: Level, now_ns: int) -> str:
        """Grant, or change what was granted; the public id."""
        self._tx.note_change()
        self._tx.changes_locks_or_grants()
        whose = "user_id" if group_id is None else "group_id"
        row = self._tx.one(
            f"""INSERT INTO grants (uuid, folder_id, user_id, group_id, level, created_ns)
                VALUES (:uuid, :folder, :user, :group, :level, :now)
                ON CONFLICT (folder_id, {whose}) DO UPDATE SET level = excluded.level RETURNING uuid""",
            uuid=str(uuid.uuid4()),
            folder=folder_id,
            user=user_id,
            group=group_id,
            level=int(level),
            now=now_ns,
        )
        return str(row[0])

    def delete(self, uuid: str) -> bool:
        self._tx.note_change()
        self._tx.changes_locks_or_grants()
        return self._tx.count("DELETE FROM grants WHERE uuid = :uuid", uuid=uuid) == 1
