"""SQL of the change log: which entries changed lately, for who remembers them (a mounted file system).

Every change of the tree writes the ids of what it changed, in its own transaction. A reader takes what was committed
since its last look, exactly: on SQLite one change follows the other, so rows are in the order of commits; on PostgreSQL
they are not, but each has the number of its transaction, and the server knows which of those a snapshot had seen.

On SQLite the history of entries tells most of it: a line that is written anyway, of the entry that changed. So nearly
every change writes a statement and a page less.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, NamedTuple

from vfs.model import State

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

ALL = 0  # in place of an entry's id: rights changed, or too much to tell one by one
MOST = 1000  # entries of one transaction that are told one by one
KEPT = 50_000  # rows, about 2 MiB
_PRUNED_AT_ONCE = 10_000


class Position(NamedTuple):
    """What a reader has seen: all up to `last`, and (PostgreSQL) what this snapshot of this server's run had seen, or
    (SQLite) the lines of history up to `line`."""

    last: int
    snapshot: str = ""
    server: str = ""
    line: int = 0


class Changed(NamedTuple):
    """An entry as it is now. `parent_id` None for the root, and for what is gone for good."""

    id: int
    parent_id: int | None
    name: str
    version: int
    content_id: str | None
    is_active: bool  # itself; whether it is reachable depends on what is above it


_COLUMNS = "c.id, c.entry_id, e.parent_id, e.name, e.version, e.content_id, e.state"
_IN_ORDER = f"""SELECT {_COLUMNS} FROM (
        SELECT id, entry_id FROM changes WHERE id > :last
        UNION ALL SELECT id, entry_id FROM file_events WHERE id > :line AND tells
    ) c LEFT JOIN entries e ON e.id = c.entry_id LIMIT :most"""
_BY_SNAPSHOT = f"""SELECT {_COLUMNS} FROM changes c LEFT JOIN entries e ON e.id = c.entry_id
    WHERE c.tx >= CAST(CAST(pg_snapshot_xmin(CAST(:snapshot AS pg_snapshot)) AS text) AS bigint)
    AND NOT pg_visible_in_snapshot(CAST(CAST(c.tx AS text) AS xid8), CAST(:snapshot AS pg_snapshot))
    ORDER BY c.id LIMIT :most"""


class ChangeLog:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def note(self, entry_ids: Set[int], but: Set[int] = frozenset()) -> None:
        """`but`: those that lines of history tell of."""
        told = sorted(entry_ids - but) if len(entry_ids) <= MOST and ALL not in entry_ids else [ALL]
        number = "NULL" if self._tx.commits_in_order else "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
        sql = f"INSERT INTO changes (tx, entry_id) VALUES ({number}, :id)"
        if len(told) == 1:  # nearly always; half as dear as `many`
            self._tx.run(sql, id=told[0])
        else:
            self._tx.many(sql, [{"id": id} for id in told])

    def position(self) -> Position:
        """Of a reader that knows everything as it is now."""
        last = self._tx.one("SELECT COALESCE(MAX(id), 0) FROM changes")[0]
        if self._tx.commits_in_order:
            return Position(last, line=self._tx.one("SELECT COALESCE(MAX(id), 0) FROM file_events")[0])
        snapshot, server = self._tx.one("SELECT pg_current_snapshot()::text, pg_postmaster_start_time()::text")
        return Position(last, snapshot, server)

    def since(self, before: Position, most: int) -> tuple[list[Changed] | None, Position]:
        """What changed, each once, and where to go on; None: it cannot be told one by one."""
        now = self.position()
        # After a failover numbers of transactions may come again. What was pruned unseen is not known either.
        if now.server != before.server or now.last < before.last or now.line < before.line or self._is_pruned(before):
            return None, now
        if self._tx.commits_in_order:
            rows = self._tx.all(_IN_ORDER, last=before.last, line=before.line, most=most + 1)
        else:
            rows = self._tx.all(_BY_SNAPSHOT, snapshot=before.snapshot, most=most + 1)
        if len(rows) > most or any(row[1] == ALL for row in rows):
            return None, now
        return list({row[1]: _changed(self._tx, *row[1:]) for row in rows}.values()), now

    def _is_pruned(self, before: Position) -> bool:
        """Perhaps also when numbers were left out where it begins now: nothing is lost by that."""
        if self._ends()[0] > before.last + 1:
            return True
        if not self._tx.commits_in_order:
            return False
        first = self._tx.one("SELECT MIN(id) FROM file_events")[0] or 0
        return bool(first > before.line + 1)

    def forgot_lines(self, upto: int) -> None:
        """Lines of history are gone, this one and others before it. Whoever has not heard of them sees that where the
        history begins now; not where some before them stay, nor when none is left and numbers begin anew."""
        if self._tx.commits_in_order:
            first = self._tx.one("SELECT MIN(id) FROM file_events")[0]
            if first is None or first < upto:
                self._tx.note_change()

    def prune(self, keep: int | None = None) -> int:
        """Forget the oldest, but `keep` (KEPT); how many they were. At least the last stays:
        by it readers see what is gone, and SQLite which number comes next."""
        first, last = self._ends()
        upto = min(last - max(1, KEPT if keep is None else keep), first + _PRUNED_AT_ONCE - 1)
        return self._tx.count("DELETE FROM changes WHERE id <= :upto", upto=upto)

    def is_long(self) -> bool:
        """So long that it is worth a change to make it shorter."""
        first, last = self._ends()
        return last - first > KEPT + _PRUNED_AT_ONCE

    def _ends(self) -> tuple[int, int]:
        first, last = self._tx.one("SELECT (SELECT MIN(id) FROM changes), (SELECT MAX(id) FROM changes)")
        return first or 0, last or 0


def _changed(
    tx: Tx,
    id: int,
    parent_id: int | None,
    name: str | None,
    version: int | None,
    content_id: str | None,
    state: str | None,
) -> Changed:
    """Who cannot open a name has not remembered it either."""
    return Changed(
        id, parent_id, tx.seals.shown_name(name or ""), version or 0, content_id, state == State.ACTIVE.value
    )
