"""SQL of people, groups, their grants, and the installation's own values."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.model import Level, Role, User

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


def _user(row: Sequence[Any]) -> User:
    return User(row[0], row[1], Role(row[2]), row[3])


class Accounts:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def find(self, key: str) -> tuple[User, str] | None:
        """The user of that name key and the password hash."""
        sql = "SELECT id, name, role, created_ns, password_hash FROM users WHERE name_key = :key"
        row = self._tx.one(sql, key=key)
        return (_user(row), row[4]) if row else None

    def every(self) -> list[User]:
        return [_user(row) for row in self._tx.all("SELECT id, name, role, created_ns FROM users ORDER BY name_key")]

    def count_admins(self) -> int:
        return int(self._tx.one("SELECT COUNT(*) FROM users WHERE role = 'admin'")[0])

    def insert(self, name: str, key: str, password_hash: str, role: Role, now_ns: int) -> int:
        return self._tx.insert(
            """INSERT INTO users (uuid, name, name_key, password_hash, role, created_ns)
               VALUES (:uuid, :name, :key, :hash, :role, :now) RETURNING id""",
            uuid=str(uuid.uuid4()),
            name=name,
            key=key,
            hash=password_hash,
            role=role,
            now=now_ns,
        )

    def set_password(self, user_id: int, password_hash: str) -> None:
        self._tx.run("UPDATE users SET password_hash = :hash WHERE id = :id", id=user_id, hash=password_hash)

    def delete(self, user_id: int) -> None:
        self._tx.run("DELETE FROM users WHERE id = :id", id=user_id)

    # --- grants ---

    def any_grants(self) -> bool:
        return self._tx.any_locks_or_grants()[1]

    def grants_on(self, folder_ids: Sequence[int], user_id: int) -> list[tuple[int, bool, Level]]:
        """(folder id, is the user's own, level) of grants that concern the user, on these folders."""
        marks = ", ".join(f":i{n}" for n in range(len(folder_ids)))
        values = {f"i{n}": id for n, id in enumerate(folder_ids)}
        rows = self._tx.all(
            f"""SELECT folder_id, user_id IS NOT NULL, level FROM grants
                WHERE folder_id IN ({marks}) AND (user_id = :user
                   OR group_id IN (SELECT group_id FROM group_members WHERE user_id = :user))""",
            user=user_id,
            **values,
        )
        return [(row[0], bool(row[1]), Level(row[2])) for row in rows]

    def granted_folders_below(self, folder_id: int, user_id: int) -> list[int]:
        """Child folders of `folder_id` that carry a grant for the user."""
        sql = """SELECT DISTINCT g.folder_id FROM grants g JOIN entries e ON e.id = g.folder_id
                 WHERE e.parent_id = :folder AND (g.user_id = :user
                    OR g.group_id IN (SELECT group_id FROM group_members WHERE user_id = :user))"""
        return [row[0] for row in self._tx.all(sql, folder=folder_id, user=user_id)]

    def grant(self, folder_id: int, user_id: int | None, group_id: int | None, level: Level) -> None:
        self._tx.run(
            """INSERT INTO grants (uuid, folder_id, user_id, group_id, level)
               VALUES (:uuid, :folder, :user, :group, :level)""",
            uuid=str(uuid.uuid4()),
            folder=folder_id,
            user=user_id,
            group=group_id,
            level=int(level),
        )

    # --- installation ---

    def value(self, name: str) -> str | None:
        row = self._tx.one("SELECT value FROM installation WHERE name = :name", name=name)
        return str(row[0]) if row else None

    def swap(self, name: str, seen: str | None, value: str) -> bool:
        """Set a value that is still as it was seen (None: not there); False when it is not."""
        if seen is None:
            sql = "INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING"
            return self._tx.count(sql, name=name, value=value) == 1
        sql = "UPDATE installation SET value = :value WHERE name = :name AND value = :seen"
        return self._tx.count(sql, name=name, value=value, seen=seen) == 1

    def set_value(self, name: str, value: str) -> None:
        self._tx.run(
            """INSERT INTO installation (name, value) VALUES (:name, :value)
               ON CONFLICT (name) DO UPDATE SET value = :value""",
            name=name,
            value=value,
        )
