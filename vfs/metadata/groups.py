"""SQL of groups and who is in them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.model import Role, User
from vfs.people import Group

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SELECT = """SELECT g.id, g.uuid, g.name, g.created_ns,
                    (SELECT COUNT(*) FROM group_members m WHERE m.group_id = g.id) FROM groups g"""


def _group(row: Sequence[Any]) -> Group:
    return Group(*row)


class Groups:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def every(self) -> list[Group]:
        return [_group(row) for row in self._tx.all(f"{_SELECT} ORDER BY g.name_key")]

    def of_user(self, user_id: int) -> list[Group]:
        sql = f"{_SELECT} WHERE g.id IN (SELECT group_id FROM group_members WHERE user_id = :user) ORDER BY g.name_key"
        return [_group(row) for row in self._tx.all(sql, user=user_id)]

    def find(self, key: str) -> Group | None:
        """By name key."""
        row = self._tx.one(f"{_SELECT} WHERE g.name_key = :key", key=key)
        return _group(row) if row else None

    def by_uuid(self, uuid: str) -> Group | None:
        if not uuid.isprintable():  # PostgreSQL takes no NUL
            return None
        row = self._tx.one(f"{_SELECT} WHERE g.uuid = :uuid", uuid=uuid)
        return _group(row) if row else None

    def insert(self, name: str, key: str, now_ns: int) -> Group:
        public_id = str(uuid.uuid4())
        id = self._tx.insert(
            "INSERT INTO groups (uuid, name, name_key, created_ns) VALUES (:uuid, :name, :key, :now)",
            uuid=public_id,
            name=name,
            key=key,
            now=now_ns,
        )
        return Group(id, public_id, name, now_ns)

    def rename(self, group_id: int, name: str, key: str) -> None:
        self._tx.run("UPDATE groups SET name = :name, name_key = :key WHERE id = :id", id=group_id, name=name, key=key)

    def delete(self, group_id: int) -> None:
        """With what was granted to it."""
        self._tx.note_change()
        self._tx.run("DELETE FROM groups WHERE id = :id", id=group_id)

    def members(self, group_id: int) -> list[User]:
        rows = self._tx.all(
            """SELECT u.id, u.name, u.role, u.created_ns, u.uuid FROM users u
               JOIN group_members m ON m.user_id = u.id WHERE m.group_id = :group ORDER BY u.name_key""",
            group=group_id,
        )
        return [User(row[0], row[1], Role(row[2]), row[3], row[4]) for row in rows]

    def add(self, group_id: int, user_id: int) -> None:
        """Once is enough."""
        self._tx.note_change()
        self._tx.run(
            """INSERT INTO group_members (group_id, user_id) VALUES (:group, :user)
               ON CONFLICT (group_id, user_id) DO NOTHING""",
            group=group_id,
            user=user_id,
        )

    def remove(self, group_id: int, user_id: int) -> bool:
        self._tx.note_change()
        sql = "DELETE FROM group_members WHERE group_id = :group AND user_id = :user"
        return self._tx.count(sql, group=group_id, user=user_id) == 1
