"""What one transaction was told already, and what it is about to ask: round trips are what PostgreSQL costs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

Statement = tuple[str, list[object]]

_FEW, _MOST = 200, 1000  # rows of an answer that is worth remembering, and answers to one question
_CHANGED = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")


class Noted(Exception):
    """Ends a look that is only foreseen."""


class Answers:
    """Of one transaction. An answer stays good until the transaction itself changes a table that it was read from.

    What others change meanwhile is kept out by the locks, or does not matter: then a moment earlier is as good.
    """

    def __init__(self) -> None:
        self.noting = False  # looks are foreseen, not carried out
        self._wanted: list[Statement] = []
        self._known: dict[str, dict[tuple[object, ...], list[Any]]] = {}
        self._numbers: dict[str, list[int]] = {}  # for new rows, by table

    def recall(self, statement: Statement) -> list[Any] | None:
        """The rows, when they are known. Raises Noted while looks are only foreseen."""
        if self.noting:
            self._wanted.append(statement)
            raise Noted
        known = self._known.get(statement[0])
        return known.get(_key(statement)) if known else None

    def remember(self, statement: Statement, rows: list[Any]) -> None:
        if len(rows) <= _FEW and table_changed(statement[0]) is None:
            known = self._known.setdefault(statement[0], {})
            if len(known) >= _MOST:  # a copy of a whole tree asks for each of its files
                known.clear()
            known[_key(statement)] = rows

    def forget(self, sql: str) -> None:
        """Forget what was read from the table that a statement changes, if it changes one."""
        table = table_changed(sql) if self._known else None
        if table is not None:
            for text in [text for text in self._known if table in text]:
                del self._known[text]

    def want_numbers(self, table: str, count: int) -> None:
        self._wanted.append((_numbers_of(table), [count]))

    def number(self, table: str) -> int | None:
        for rows in self._known.pop(_numbers_of(table), {}).values():
            self._numbers.setdefault(table, []).extend(row[0] for row in rows)
        numbers = self._numbers.get(table)
        return numbers.pop(0) if numbers else None

    def take_wanted(self) -> list[Statement]:
        """What was foreseen since the last time."""
        wanted, self._wanted = self._wanted, []
        return wanted


def _key(statement: Statement) -> tuple[object, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in statement[1])


@lru_cache
def _numbers_of(table: str) -> str:
    return f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) FROM generate_series(1, $1)"


@lru_cache(maxsize=1024)
def table_changed(sql: str) -> str | None:
    found = _CHANGED.match(sql)
    return found[1] if found else None
