"""A transaction of SQLite. It holds all locks from its begin, if it is a change, and is answered whenever it asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, cast

from vfs import turns
from vfs.errors import StoreUnavailable
from vfs.metadata import event_numbers
from vfs.metadata.name_claims import Name, NameClaims
from vfs.metadata.seals import SealMemory
from vfs.metadata.tx import Tx

_LOCKS_AND_LAST_EVENT = f"""SELECT EXISTS (SELECT 1 FROM dav_locks), EXISTS (SELECT 1 FROM grants),
                                   {event_numbers.LAST}"""


class Connection(sqlite3.Connection):
    """`is_hasty`: it waits for no lock; None: that is not known."""

    is_hasty: bool | None = False


class SqliteTx(Tx):
    def __init__(
        self, connection: sqlite3.Connection, seal_memory: SealMemory, claims: NameClaims | None = None
    ) -> None:
        """`claims`: of a change; who ends it gives back what it has `claimed`."""
        super().__init__(seal_memory)
        self._connection = connection
        self._claims = claims
        self.claimed: list[Name] = []
        self._cursors: list[sqlite3.Cursor] = []

    def all(self, sql: str, **values: object) -> list[Any]:
        turns.breathe()
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, **values: object) -> Any:
        turns.breathe()
        return self._connection.execute(sql, values).fetchone()

    def run(self, sql: str, **values: object) -> None:
        self._connection.execute(sql, values)

    def count(self, sql: str, **values: object) -> int:
        return self._connection.execute(sql, values).rowcount

    def any_locks_or_grants(self) -> tuple[bool, bool]:
        if self._locks_or_grants is None:  # every change asks for both: one statement less
            locks, grants, self.last_event_id = self.one(_LOCKS_AND_LAST_EVENT)
            self._locks_or_grants = bool(locks), bool(grants)
        return self._locks_or_grants

    def claim_name(self, folder_id: int, key: str) -> bool:
        if self._claims is None:
            return True
        name = folder_id, key
        try:
            is_granted = self._claims.share(name)
        except OSError as error:
            raise StoreUnavailable(f"no name can be claimed: {error.strerror}") from error
        if is_granted:
            self.claimed.append(name)
        return is_granted

    def insert(self, sql: str, **values: object) -> int:
        # RETURNING, as other engines need it, is a trigger here: with it an insert took half as long again.
        return cast("int", self._connection.execute(sql, values).lastrowid)

    def many(self, sql: str, rows: Iterable[dict[str, object]]) -> None:
        self._connection.executemany(sql, rows)

    def each(self, sql: str, **values: object) -> Iterator[Any]:
        cursor = self._connection.execute(sql, values)
        self._cursors.append(cursor)
        while rows := cursor.fetchmany(500):
            turns.breathe()
            yield from rows

    def close_cursors(self) -> None:
        """One that is half read would keep the old snapshot for whoever uses the connection next."""
        for cursor in self._cursors:
            cursor.close()
