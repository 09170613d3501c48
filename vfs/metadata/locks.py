"""SQL of DAV locks. Who conflicts with whom is decided in `vfs.locks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.metadata.lists import listed
from vfs.model import DavLock, Scope

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SELECT = """SELECT l.token, l.entry_id, l.infinite, l.scope, l.owner, l.user_id, u.name, l.expires_ns, l.timeout
             FROM dav_locks l JOIN users u ON u.id = l.user_id"""


class Locks:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def _lock(self, row: Sequence[Any]) -> DavLock:
        """A lock counts, whoever can open who its owner says that he is."""
        owner = self._tx.seals.shown_text(row[4])
        return DavLock(row[0], row[1], bool(row[2]), Scope(row[3]), owner, row[5], row[6], row[7], row[8])

    def any(self) -> bool:
        return self._tx.any_locks_or_grants()[0]

    def on(self, ids: Sequence[int], now_ns: int) -> list[DavLock]:
        """Live locks taken directly on these entries."""
        marks, values = listed(ids)
        sql = f"{_SELECT} WHERE l.entry_id IN ({marks}) AND l.expires_ns > :now ORDER BY l.token"
        return [self._lock(row) for row in self._tx.all(sql, now=now_ns, **values)]

    def below(self, folder_id: int, now_ns: int) -> list[DavLock]:
        """Live locks on anything reachable below a folder."""
        sql = f"""WITH RECURSIVE held(lock_entry, id) AS (
                      SELECT entry_id, entry_id FROM dav_locks
                      UNION
                      SELECT held.lock_entry, e.parent_id FROM entries e JOIN held ON e.id = held.id
                      WHERE e.state = 'ACTIVE' AND e.parent_id IS NOT NULL)
                  {_SELECT} WHERE l.expires_ns > :now AND l.entry_id <> :folder
                  AND l.entry_id IN (SELECT lock_entry FROM held WHERE id = :folder)"""
        return [self._lock(row) for row in self._tx.all(sql, folder=folder_id, now=now_ns)]

    def of_children(self, folder_id: int, now_ns: int) -> list[DavLock]:
        sql = f"""{_SELECT} JOIN entries e ON e.id = l.entry_id
                  WHERE e.parent_id = :folder AND e.state = 'ACTIVE' AND l.expires_ns > :now"""
        return [self._lock(row) for row in self._tx.all(sql, folder=folder_id, now=now_ns)]

    def by_token(self, token: str, now_ns: int) -> DavLock | None:
        row = self._tx.one(f"{_SELECT} WHERE l.token = :token AND l.expires_ns > :now", token=token, now=now_ns)
        return self._lock(row) if row else None

    def every(self, now_ns: int) -> list[DavLock]:
        return [self._lock(row) for row in self._tx.all(f"{_SELECT} WHERE l.expires_ns > :now", now=now_ns)]

    def count_of_user(self, user_id: int, now_ns: int) -> int:
        sql = "SELECT COUNT(*) FROM dav_locks WHERE user_id = :user AND expires_ns > :now"
        return int(self._tx.one(sql, user=user_id, now=now_ns)[0])

    def insert(self, lock: DavLock) -> None:
        self._tx.changes_locks_or_grants()
        self._tx.run(
            """INSERT INTO dav_locks (token, entry_id, infinite, scope, owner, user_id, timeout, expires_ns)
               VALUES (:token, :entry, :infinite, :scope, :owner, :user, :timeout, :expires)""",
            token=lock.token,
            entry=lock.entry_id,
            infinite=lock.infinite,
            scope=lock.scope,
            owner=self._tx.seals.text(self._tx.seals.of(lock.entry_id), "lock-owner", lock.owner),
            user=lock.user_id,
            timeout=lock.timeout,
            expires=lock.expires_ns,
        )

    def extend(self, token: str, timeout: int, expires_ns: int) -> bool:
        """False when the lock has just gone."""
        sql = "UPDATE dav_locks SET timeout = :timeout, expires_ns = :expires WHERE token = :token"
        return self._tx.count(sql, token=token, timeout=timeout, expires=expires_ns) == 1

    def delete(self, token: str) -> None:
        self._tx.changes_locks_or_grants()
        self._tx.run("DELETE FROM dav_locks WHERE token = :token", token=token)

    def delete_on(self, entry_id: int) -> None:
        self._tx.changes_locks_or_grants()
        self._tx.run("DELETE FROM dav_locks WHERE entry_id = :id", id=entry_id)

    def delete_expired(self, now_ns: int) -> None:
        self._tx.changes_locks_or_grants()
        self._tx.run("DELETE FROM dav_locks WHERE expires_ns <= :now", now=now_ns)
