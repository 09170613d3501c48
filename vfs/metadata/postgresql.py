"""PostgreSQL: the database of several servers (psycopg 3 on SQLAlchemy's pool).

Changes run READ COMMITTED under the locks of design §7; what they check is read by statements after the locks, so it is
as it will be at their commit. What two of them do to each other nevertheless (a deadlock, the same new name twice)
raises Conflict, and `retried` begins again. Reads of several statements are one REPEATABLE READ snapshot.

A round trip is 35 µs on one machine and some 200 in a rack, and a change looks at a dozen things. So a statement whose
outcome nobody waits for travels with the next one that somebody does wait for, in a pipeline, and so does what is
foreseen: begin, locks and all looks of a PUT are one round trip, its changes and the commit another.
"""

from __future__ import annotations

import contextlib
import logging
import re
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import pq
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from vfs import turns
from vfs.errors import ConfigurationError, Conflict, InvalidRequest, NoSpace, StoreUnavailable
from vfs.metadata import migrating
from vfs.metadata.hung import Watchdog
from vfs.metadata.placeholders import numbered
from vfs.metadata.retrying import NeedsWholeTree, wants_whole_tree
from vfs.metadata.tx import Tx

log = logging.getLogger(__name__)

_OLDEST = 140000  # the oldest release that its makers still keep
_PIECE = 500  # rows fetched at once by `each`
_FEW, _MOST_KNOWN = 200, 1000  # rows of an answer that is worth remembering, and answers to one question
_LOCK_TIMEOUT = 8.0  # seconds; then the answer is 503 and the client comes again
_LONGEST_STATEMENT = 9.0  # seconds without an answer: the server hangs, the connection is cut
_DOUBT = 5.0  # seconds after which a scan asks whether the server still answers others
_LONGEST_SCAN = 600.0
# Keys of the advisory locks, below one number for Kelp: others may use the same database.
_KELP = 0x6B656C70
_TREE, _MIRROR, _MIGRATING = 1, 2, 3
_BEGIN = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
}

_ROWS = "SELECT id FROM entries WHERE"  # how a statement that locks rows begins
_CHANGED = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")

T = TypeVar("T")
Statement = tuple[str, list[object]]


class _Noted(Exception):
    """Ends a look that is only foreseen."""


class _SecondStatement(Exception):
    """A look is more than one statement."""


class PostgresTx(Tx):
    def __init__(self, connection: psycopg.Connection[Any], kind: str, watchdog: Watchdog, longest: float) -> None:
        super().__init__()
        self._connection = connection
        self._watchdog = watchdog
        self._longest, self._doubt = longest, _DOUBT if longest > _LONGEST_STATEMENT else longest
        self._cursors = 0
        self._queue: list[Statement] = [] if kind == "look" else [(_BEGIN[kind], [])]
        self._kind = kind
        self._whole_tree = False
        self._noting = False
        self._wanted: list[Statement] = []  # looks that are foreseen
        self._known: dict[str, dict[tuple[object, ...], list[Any]]] = {}  # answers, also for who asks once more
        self._numbers: dict[str, list[int]] = {}  # for new rows, by table
        self._locked: set[int] = set()  # entries
        self.begun = False  # something reached the server

    def all(self, sql: str, **values: object) -> list[Any]:
        return list(self._rows(sql, values))

    def one(self, sql: str, **values: object) -> Any:
        rows = self._rows(sql, values)
        return rows[0] if rows else None

    def _rows(self, sql: str, values: Mapping[str, object]) -> list[Any]:
        statement = numbered(sql, values)
        rows = self._recall(statement)
        if rows is None:
            self._changes(sql)
            rows = self._ask(statement).fetchall()
            if _table_changed(sql) is None:
                self._remember(statement, rows)
        return rows

    def run(self, sql: str, **values: object) -> None:
        self._changes(sql)
        self._queue.append(numbered(sql, values))

    def count(self, sql: str, **values: object) -> int:
        self._changes(sql)
        return self._ask(numbered(sql, values)).rowcount

    def foresee(self, *looks: Callable[[], object]) -> None:
        self._noting = True
        try:
            for look in looks:
                with contextlib.suppress(_Noted):
                    look()
        finally:
            self._noting = False

    def foresee_ids(self, table: str, count: int = 1) -> None:
        self._wanted.append((_numbers_of(table), [count]))

    def new_id(self, table: str) -> int | None:
        for rows in self._known.pop(_numbers_of(table), {}).values():
            self._numbers.setdefault(table, []).extend(row[0] for row in rows)
        numbers = self._numbers.get(table)
        return numbers.pop(0) if numbers else None

    def _recall(self, statement: Statement) -> list[Any] | None:
        """An answer that is there already, as long as this transaction changed nothing in what it was read from.

        What others change meanwhile is kept out by the locks, or does not matter: then a moment earlier is as good.
        """
        if self._noting:
            self._wanted.append(statement)
            raise _Noted
        known = self._known.get(statement[0])
        return known.get(_key(statement)) if known else None

    def _remember(self, statement: Statement, rows: list[Any]) -> None:
        if len(rows) <= _FEW:
            known = self._known.setdefault(statement[0], {})
            if len(known) >= _MOST_KNOWN:  # a copy of a whole tree asks for each of its files
                known.clear()
            known[_key(statement)] = rows

    def _changes(self, sql: str) -> None:
        """Forget what was read from the table that a statement changes."""
        table = _table_changed(sql) if self._known else None
        if table is not None:
            for text in [text for text in self._known if table in text]:
                del self._known[text]

    def many(self, sql: str, rows: Iterable[dict[str, object]]) -> None:
        self._changes(sql)
        for row in rows:
            self._queue.append(numbered(sql, row))
            if len(self._queue) >= _PIECE:
                self.flush()

    def each(self, sql: str, **values: object) -> Iterator[Any]:
        self._cursors += 1
        fetch = f"FETCH FORWARD {_PIECE} FROM rows{self._cursors}"
        text, arguments = numbered(sql, values)
        self._queue.append((f"DECLARE rows{self._cursors} NO SCROLL CURSOR FOR {text}", arguments))
        while rows := self._ask((fetch, [])).fetchall():
            yield from rows
            if len(rows) < _PIECE:
                return

    def lock_tree(self, exclusive: bool = False) -> None:
        self._whole_tree = exclusive or wants_whole_tree()
        self._lock(_TREE, "" if self._whole_tree else "_shared")

    def require_tree(self) -> None:
        if not self._whole_tree:
            raise NeedsWholeTree

    def lock_mirror(self) -> None:
        self._lock(_MIRROR, "")

    def _lock(self, key: int, kind: str) -> None:
        self._queue.append((f"SELECT pg_advisory_xact_lock{kind}({_KELP}, {key})", []))

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
        self.settle()

    def _ask(self, statement: Statement) -> psycopg.Cursor[Any]:
        if self._kind == "look" and self.begun:
            raise _SecondStatement
        waiting, self._queue = self._queue, []
        wanted, self._wanted = self._wanted, []
        self.begun = True
        cursor = psycopg.RawCursor(self._connection)
        with turns.waiting(), self._watchdog.over(self._connection, self._doubt, self._longest):
            if not waiting and not wanted:
                return cursor.execute(*statement)
            with self._connection.pipeline():
                done = [psycopg.RawCursor(self._connection).execute(*each) for each in waiting]
                answers = [psycopg.RawCursor(self._connection).execute(*each) for each in wanted]
                cursor.execute(*statement)
        for (text, _), rows in zip(waiting, done, strict=True):
            if text.startswith(_ROWS):
                self._locked.update(id for (id,) in rows)
        for looked, answer in zip(wanted, answers, strict=True):
            self._remember(looked, answer.fetchall())
        return cursor


def _key(statement: Statement) -> tuple[object, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in statement[1])


@lru_cache
def _numbers_of(table: str) -> str:
    return f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) FROM generate_series(1, $1)"


@lru_cache(maxsize=1024)
def _table_changed(sql: str) -> str | None:
    found = _CHANGED.match(sql)
    return found[1] if found else None


def _row_lock(strong: bool) -> str:
    return "FOR UPDATE" if strong else "FOR NO KEY UPDATE"


class PostgresEngine:
    version_is_free = False

    def __init__(self, url: sa.URL, connections: int, timeout: float) -> None:
        """`connections`: of this process, at most; `timeout`: seconds that somebody waits for one.

        Raises ConfigurationError when the server refuses, is too old, or the database is newer than this program.
        """
        self._timeout = timeout
        self._watchdog = Watchdog(self._answers)
        self._free = threading.BoundedSemaphore(connections)
        self._spare: list[sa.PoolProxiedConnection] = []
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_reset_on_return=None,
            connect_args={
                "autocommit": True,  # BEGIN is ours
                "prepare_threshold": 0,
                "connect_timeout": max(1, int(timeout)),
                "keepalives_idle": 10,
                "keepalives_interval": 3,
                "keepalives_count": 3,
                "tcp_user_timeout": int(_LONGEST_STATEMENT * 1000),
                "options": f"-c lock_timeout={int(_LOCK_TIMEOUT * 1000)} -c timezone=UTC -c synchronous_commit=on"
                " -c idle_in_transaction_session_timeout=60000",
                "application_name": "kelp",
            },
        )
        sa.event.listen(self._engine, "connect", _set_up)
        try:
            self._migrate()
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            self.close()
            raise ConfigurationError(
                f"cannot open the database at {url.host or 'localhost'}: {_line(error)}"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        while self._spare:
            self._spare.pop().close()
        self._engine.dispose()
        self._watchdog.close()

    def version(self) -> str:
        """The server's snapshot as text: two that are the same see the same data, whoever changes it.

        A transaction that changes anything has a number; with its commit it leaves the list of those under way, or the
        end of the list moves past it. So what was read under a snapshot is true as long as that snapshot is the
        current one, and no writer has to count anything.
        """
        with self._connection() as connection, turns.waiting(), self._watchdog.over(connection, _LONGEST_STATEMENT):
            row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        return str(row[0]) if row else ""

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        with turns.hold(), self._snapshot(_LONGEST_STATEMENT) as tx:
            yield tx

    def look(self, look: Callable[[Tx], T]) -> T:
        """Most looks are one statement, which needs no transaction to be consistent; the others begin again in one."""
        with turns.hold(), contextlib.suppress(_SecondStatement), self._connection() as connection:
            return look(PostgresTx(connection, "look", self._watchdog, _LONGEST_STATEMENT))
        with self.read() as tx:
            return look(tx)

    @contextlib.contextmanager
    def scan(self) -> Iterator[Tx]:
        with self._snapshot(_LONGEST_SCAN) as tx:
            yield tx

    @contextlib.contextmanager
    def _snapshot(self, longest: float) -> Iterator[Tx]:
        with self._connection() as connection:
            tx = PostgresTx(connection, "read", self._watchdog, longest)
            try:
                yield tx
            finally:
                if tx.begun:
                    self._roll_back(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        with turns.hold():
            with self._connection() as connection:
                tx = PostgresTx(connection, "write", self._watchdog, _LONGEST_STATEMENT)
                try:
                    yield tx
                    tx.finish()
                except BaseException:
                    if tx.begun:
                        self._roll_back(connection)
                    raise
                try:
                    tx.commit()
                except BaseException:
                    self._roll_back(connection)
                    raise
            tx.committed()

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.closed or connection.info.transaction_status == pq.TransactionStatus.IDLE:
            return
        with turns.waiting(), self._watchdog.over(connection, _LONGEST_STATEMENT), contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for a block, the one used last first. A broken one, or one left in a transaction, is dropped."""
        if not self._free.acquire(blocking=False):
            with turns.waiting():
                if not self._free.acquire(timeout=self._timeout):
                    raise StoreUnavailable("all connections to the database are busy", retry_after=1)
        try:
            with _translated():
                pooled = self._take()
                connection: psycopg.Connection[Any] = pooled.driver_connection  # type: ignore[assignment]
                try:
                    yield connection
                finally:
                    if connection.closed or connection.info.transaction_status != pq.TransactionStatus.IDLE:
                        pooled.invalidate()
                        pooled.close()
                    else:
                        self._spare.append(pooled)
        finally:
            self._free.release()

    def _answers(self) -> bool:
        arguments, named = self._engine.dialect.create_connect_args(self._engine.url)
        try:
            psycopg.connect(*arguments, **{**named, "connect_timeout": 2}).close()
            return True
        except psycopg.Error:
            return False

    def _take(self) -> sa.PoolProxiedConnection:
        if self._watchdog.distrusts:
            raise StoreUnavailable("the database does not answer", retry_after=2)
        while True:
            try:
                pooled = self._spare.pop()
            except IndexError:
                with turns.waiting():
                    return self._connect()
            if _is_quiet(pooled.driver_connection):  # type: ignore[arg-type]
                return pooled
            pooled.invalidate()
            pooled.close()

    def _connect(self) -> sa.PoolProxiedConnection:
        try:
            return self._engine.raw_connection()
        except psycopg.errors.ConnectionTimeout:
            self._watchdog.hung()
            raise

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            number = connection.exec_driver_sql("SHOW server_version_num").scalar()
            if int(number or 0) < _OLDEST:
                raise ConfigurationError("PostgreSQL 14 or newer is needed")
            known = connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NOT NULL").scalar()
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if known else None
            if found is not None and migrating.is_current(str(found)):
                return
            connection.exec_driver_sql("BEGIN")
            try:
                # Several servers may start on an empty database at once; who is first may need hours.
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_KELP}, {_MIGRATING})")
                migrating.upgrade(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise


def _set_up(connection: psycopg.Connection[Any], _record: object) -> None:
    """One type for each kind of value: else a statement would be prepared anew for each size of number."""
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(str, StrDumper)
    connection.prepared_max = 1000


def _is_quiet(connection: psycopg.Connection[Any]) -> bool:
    """A server that went away has closed its end: seen without asking it. An idle connection has nothing to read."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,  # two made the same name at once; who comes second sees it when it looks again
    psycopg.errors.ForeignKeyViolation,  # … or refers to what another has just removed
)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors become ours at this border.

    A Conflict says that nothing was committed. The loss of a connection does not: a commit that was sent and not
    answered may have happened, so nobody tries that again.
    """
    try:
        yield
    except _AGAIN as error:
        raise Conflict(f"another change came in between: {_line(error)}") from error
    except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory) as error:
        raise NoSpace(f"the database is full: {_line(error)}") from error
    except psycopg.errors.LockNotAvailable as error:
        raise StoreUnavailable("a long change is under way", retry_after=2) from error
    except psycopg.DataError as error:  # such as a NUL, which no text column takes
        raise InvalidRequest(f"the database cannot hold this: {_line(error)}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        raise StoreUnavailable(f"the database did not answer: {_line(error)}", retry_after=2) from error


def _line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
