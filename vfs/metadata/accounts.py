"""SQL of people, groups, their grants, and the installation's own values."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.model import Role, User

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


def _user(row: Sequence[Any]) -> User:
    return User(row[0], row[1], Role(row[2]), row[3], row[4])


_USER = "id, name, role, created_ns, uuid"


class Accounts:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def find(self, key: str) -> tuple[User, str] | None:
        """The user of that name key and the password hash."""
        row = self._tx.one(f"SELECT {_USER}, password_hash FROM users WHERE name_key = :key", key=key)
        return (_user(row), row[5]) if row else None

    def by_uuid(self, uuid: str) -> tuple[User, str] | None:
        """The user of that public id, and the name key."""
        if not uuid.isprintable():  # PostgreSQL takes no NUL
            return None
        row = self._tx.one(f"SELECT {_USER}, name_key FROM users WHERE uuid = :uuid", uuid=uuid)
        return (_user(row), row[5]) if row else None

    def every(self) -> list[User]:
        return [_user(row) for row in self._tx.all(f"SELECT {_USER} FROM users ORDER BY name_key")]

    def count_admins(self) -> int:
        return int(self._tx.one("SELECT COUNT(*) FROM users WHERE role = 'admin'")[0])

    def insert(
        self, name: str, key: str, password_hash: str, role: Role, now_ns: int, public_id: str | None = None
    ) -> int:
        return self._tx.insert(
            """INSERT INTO users (uuid, name, name_key, password_hash, role, created_ns)
               VALUES (:uuid, :name, :key, :hash, :role, :now)""",
            uuid=public_id or str(uuid.uuid4()),
            name=name,
            key=key,
            hash=password_hash,
            role=role,
            now=now_ns,
        )

    def set_password(self, user_id: int, password_hash: str) -> None:
        self._tx.run("UPDATE users SET password_hash = :hash WHERE id = :id", id=user_id, hash=password_hash)

    def rename(self, user_id: int, name: str, key: str) -> None:
        self._tx.run("UPDATE users SET name = :name, name_key = :key WHERE id = :id", id=user_id, name=name, key=key)

    def set_role(self, user_id: int, role: Role) -> None:
        self._tx.note_change()
        self._tx.run("UPDATE users SET role = :role WHERE id = :id", id=user_id, role=role.value)

    def delete(self, user_id: int) -> None:
        self._tx.run("DELETE FROM users WHERE id = :id", id=user_id)

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
