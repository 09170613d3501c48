"""One transaction on PostgreSQL: statements that wait for each other's round trip, looks that are foreseen, locks.

A round trip is 35 µs on one machine and some 200 in a rack, and a change looks at a dozen things. So a statement whose
outcome nobody waits for travels with the next one that somebody does wait for, in a pipeline, and so does what is
foreseen: begin, locks and all looks of a PUT are one round trip, its changes and the commit another.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from vfs import turns
from vfs.errors import Conflict
from vfs.metadata.hung import Watchdog
from vfs.metadata.placeholders import numbered
from vfs.metadata.postgres_answers import Answers, Noted, Statement
from vfs.metadata.retrying import NeedsWholeTree, wants_whole_tree
from vfs.metadata.seals import SealMemory
from vfs.metadata.tx import Tx

LOCK_TIMEOUT = 8.0  # seconds; then the answer is 503 and the client comes again
LONGEST_STATEMENT = 9.0  # seconds without an answer: the server hangs, the connection is cut
_DOUBT = 5.0  # seconds after which a scan asks whether the server still answers others
_PIECE = 500  # rows fetched at once by `each`
_MOST_PREPARED = 32  # values of a statement that the server keeps
# Keys of the advisory locks, below one number for Kelp: others may use the same database.
KELP, MIGRATING = 0x6B656C70, 3
_TREE, _MIRROR, _GRANTS, _KEYS = 1, 2, 4, 5
_BEGIN = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
}
_ROWS = "SELECT id FROM entries WHERE"  # how a statement that locks rows begins


class SecondStatement(Exception):
    """A look is more than one statement."""


class PostgresTx(Tx):
    is_overheard = True
    holds_all = False
    commits_in_order = False

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        kind: str,
        watchdog: Watchdog,
        longest: float,
        seal_memory: SealMemory,
    ) -> None:
        super().__init__(seal_memory)
        self._connection = connection
        self._watchdog = watchdog
        self._longest, self._doubt = longest, _DOUBT if longest > LONGEST_STATEMENT else longest
        self._cursors: set[int] = set()  # open ones
        self._queue: list[Statement] = [] if kind == "look" else [(_BEGIN[kind], [])]
        self._kind = kind
        self._whole_tree = False
        self._answers = Answers()
        self._locked: set[int] = set()  # entries
        self.begun = False  # something reached the server

    def all(self, sql: str, **values: object) -> list[Any]:
        return list(self._rows(sql, values))

    def one(self, sql: str, **values: object) -> Any:
        rows = self._rows(sql, values)
        return rows[0] if rows else None

    def _rows(self, sql: str, values: Mapping[str, object]) -> list[Any]:
        statement = numbered(sql, values)
        rows = self._answers.recall(statement)
        if rows is None:
            self._answers.forget(sql)
            rows = self._ask(statement).fetchall()
            self._answers.remember(statement, rows)
        return rows

    def run(self, sql: str, **values: object) -> None:
        self._answers.forget(sql)
        self._queue.append(numbered(sql, values))

    def count(self, sql: str, **values: object) -> int:
        self._answers.forget(sql)
        return self._ask(numbered(sql, values)).rowcount

    def foresee(self, *looks: Callable[[], object]) -> None:
        self._answers.noting = True
        try:
            for look in looks:
                with contextlib.suppress(Noted):
                    look()
        finally:
            self._answers.noting = False

    def foresee_ids(self, table: str, count: int = 1) -> None:
        self._answers.want_numbers(table, count)

    def new_id(self, table: str) -> int | None:
        return self._answers.number(table)

    def many(self, sql: str, rows: Iterable[dict[str, object]]) -> None:
        self._answers.forget(sql)
        for row in rows:
            self._queue.append(numbered(sql, row))
            if len(self._queue) >= _PIECE:
                self.flush()

    def each(self, sql: str, **values: object) -> Iterator[Any]:
        # A number that is free again: a copy lists each of its folders, and the server keeps what is open, and prepares
        # each text of a statement.
        number = next(number for number in itertools.count() if number not in self._cursors)
        self._cursors.add(number)
        fetch = f"FETCH FORWARD {_PIECE} FROM rows{number}"
        text, arguments = numbered(sql, values)
        self._queue.append((f"DECLARE rows{number} NO SCROLL CURSOR FOR {text}", arguments))
        try:
            while rows := self._ask((fetch, [])).fetchall():
                yield from rows
                if len(rows) < _PIECE:
                    return
        finally:
            self._queue.append((f"CLOSE rows{number}", []))
            self._cursors.discard(number)

    def lock_tree(self, exclusive: bool = False) -> None:
        """Who wants the whole tree waits a moment only, and comes again: behind him everybody would wait for the long
        change (a copy of a large folder) that he waits for."""
        self._whole_tree = exclusive or wants_whole_tree()
        if not self._whole_tree:
            self._lock(_TREE, "_shared")
            return
        self._queue.append(("SET LOCAL lock_timeout = '1s'", []))
        self._lock(_TREE, "")
        self._queue.append((f"SET LOCAL lock_timeout = '{int(LOCK_TIMEOUT * 1000)}ms'", []))

    def require_tree(self) -> None:
        if not self._whole_tree:
            raise NeedsWholeTree

    def lock_mirror(self) -> None:
        self._lock(_MIRROR, "")

    def look_again(self, table: str) -> None:
        self._answers.forget(f"UPDATE {table}")

    def is_being_shared(self, content_id: str) -> bool:
        """A row that refers to it (a foreign key) locks it, from when it is written to its commit."""
        found = self.one(
            """WITH free AS (SELECT id FROM contents WHERE id = :id FOR UPDATE SKIP LOCKED)
               SELECT EXISTS (SELECT 1 FROM contents WHERE id = :id) AND NOT EXISTS (SELECT 1 FROM free)""",
            id=content_id,
        )
        return bool(found[0])

    def lock_grants(self) -> None:
        self._lock(_GRANTS, "")

    def lock_keys(self) -> None:
        self._lock(_KEYS, "")

    def _lock(self, key: int, kind: str) -> None:
        self._queue.append((f"SELECT pg_advisory_xact_lock{kind}({KELP}, {key})", []))

    def lock_names(self, places: Sequence[tuple[int, str]], strong: bool = False) -> None:
        """A folder's row against its going away (FOR KEY SHARE): who makes names in it does not wait for another who
        does. The rows that have the names by ascending id."""
        self._queue.append(
            numbered(
                f"{_ROWS} id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR KEY SHARE",
                {"ids": sorted({folder_id for folder_id, _ in places})},
            )
        )
        values = {f"f{n}": folder for n, (folder, _) in enumerate(places)} | {
            f"k{n}": key for n, (_, key) in enumerate(places)
        }
        wanted = ", ".join(f"(:f{n}, :k{n})" for n in range(len(places)))
        sql = f"{_ROWS} (parent_id, name_key) IN ({wanted}) AND state = 'ACTIVE' ORDER BY id"
        self._queue.append(numbered(f"{sql} {_row_lock(strong)}", values))

    def lock_rows(self, ids: Sequence[int], strong: bool = False) -> None:
        sql = f"{_ROWS} id = ANY(CAST(:ids AS bigint[])) ORDER BY id {_row_lock(strong)}"
        self._queue.append(numbered(sql, {"ids": list(ids)}))

    def require_locked(self, id: int) -> None:
        if self._kind == "write" and not self._whole_tree and id not in self._locked:
            raise Conflict("another entry has just got the name")

    def flush(self) -> None:
        """Send what waits, and hear how it went."""
        if self._queue:
            self._ask(self._queue.pop())

    def commit(self) -> None:
        """The changes, the last looks, and the commit; nothing is sent for a change that did nothing."""
        if not self.begun and len(self._queue) == 1 and not self._last:
            return
        self.foresee(*(later.settle for later in self._last))
        self._ask(("COMMIT", []))
        self._kind = "done"
        self.settle()

    def _ask(self, statement: Statement) -> psycopg.Cursor[Any]:
        if self._kind == "look" and self.begun:
            raise SecondStatement
        if self._kind == "done":
            raise AssertionError(f"asked after the commit: {statement[0]}")
        try:
            return self._asked(statement)
        except psycopg.errors.LockNotAvailable as error:
            if self._whole_tree:
                raise Conflict("a long change is under way") from error
            raise

    def _asked(self, statement: Statement) -> psycopg.Cursor[Any]:
        waiting, self._queue = self._queue, []
        wanted = self._answers.take_wanted()
        self.begun = True
        with turns.waiting(), self._watchdog.over(self._connection, self._doubt, self._longest):
            if not waiting and not wanted:
                return self._execute(*statement)
            with self._connection.pipeline():
                done = [self._execute(*each) for each in waiting]
                answers = [self._execute(*each) for each in wanted]
                cursor = self._execute(*statement)
        for (text, _), rows in zip(waiting, done, strict=True):
            if text.startswith(_ROWS):
                self._locked.update(id for (id,) in rows)
        for looked, answer in zip(wanted, answers, strict=True):
            self._answers.remember(looked, answer.fetchall())
        return cursor

    def _execute(self, text: str, arguments: list[object]) -> psycopg.Cursor[Any]:
        """Prepared, unless the text is one of hundreds that differ in how many values they have: the server keeps
        some 70 KiB for each, in each connection."""
        prepare = None if len(arguments) <= _MOST_PREPARED else False
        return psycopg.RawCursor(self._connection).execute(text, arguments, prepare=prepare)


def _row_lock(strong: bool) -> str:
    return "FOR UPDATE" if strong else "FOR NO KEY UPDATE"
