"""PostgreSQL: the database of several servers (psycopg 3 on SQLAlchemy's pool).

Changes run READ COMMITTED under the locks of design §7; what they check is read by statements after the locks, so it is
as it will be at their commit. What two of them do to each other nevertheless (a deadlock, the same new name twice)
raises Conflict, and `retried` begins again. Reads of several statements are one REPEATABLE READ snapshot. What a
transaction does with its round trips: `postgres_tx.py`.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections.abc import Callable, Iterator
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
from vfs.metadata.node_memory import NodeMemory
from vfs.metadata.postgres_tx import KELP, LOCK_TIMEOUT, LONGEST_STATEMENT, MIGRATING, PostgresTx, SecondStatement
from vfs.metadata.seals import SealMemory
from vfs.metadata.tx import Tx

log = logging.getLogger(__name__)

_OLDEST = 140000  # the oldest release that its makers still keep
_LONGEST_SCAN = 600.0

_BORDERS = 100  # names of vaults' folders that come with a version; with more of them paths are asked step by step
_VERSION = f"""SELECT pg_current_snapshot()::text || ' ' || pg_postmaster_start_time()::text,
    ARRAY(SELECT e.name_key FROM vaults v JOIN entries e ON e.id = v.entry_id LIMIT {_BORDERS + 1})"""

T = TypeVar("T")


class PostgresEngine:
    version_is_free = False
    readers_are_few = True

    def __init__(self, url: sa.URL, connections: int, timeout: float) -> None:
        """`connections`: of this process, at most; `timeout`: seconds that somebody waits for one.

        Raises ConfigurationError when the server refuses, is too old, or the database is newer than this program.
        """
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what follows from an error that it raises
        self._timeout = timeout
        self.seal_memory = SealMemory()
        self.nodes = NodeMemory()
        self._watchdog = Watchdog(self._answers)
        self._free = threading.BoundedSemaphore(connections)
        self._spare: list[sa.PoolProxiedConnection] = []
        self._syncing = threading.Lock()
        self._unsynced = False  # something was committed that may not be on the server's disk
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_reset_on_return=None,
            connect_args={
                "autocommit": True,  # BEGIN is ours
                "prepare_threshold": 0,
                "connect_timeout": max(1, int(timeout)),
                "target_session_attrs": "read-write",  # of several hosts the one that is no standby: it would be late
                "keepalives_idle": 10,
                "keepalives_interval": 3,
                "keepalives_count": 3,
                "tcp_user_timeout": int(LONGEST_STATEMENT * 1000),
                "options": f"-c lock_timeout={int(LOCK_TIMEOUT * 1000)} -c timezone=UTC -c synchronous_commit=on"
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
        current one, and no writer has to count anything. After a failover numbers may come again: so the server's start
        belongs to it. With it comes what a path may not be asked beyond (`Seals.plain_until`).
        """
        with self._connection() as connection, turns.waiting(), self._watchdog.over(connection, LONGEST_STATEMENT):
            row = connection.execute(_VERSION).fetchone()
        if row is None:
            return ""
        self.seal_memory.saw_borders(row[1], all_of_them=len(row[1]) <= _BORDERS)
        return str(row[0])

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        with turns.hold(), self._snapshot(LONGEST_STATEMENT) as tx:
            yield tx

    def look(self, look: Callable[[Tx], T]) -> T:
        """Most looks are one statement, which needs no transaction to be consistent; the others begin again in one."""
        with turns.hold(), contextlib.suppress(SecondStatement), self._connection() as connection:
            return look(PostgresTx(connection, "look", self._watchdog, LONGEST_STATEMENT, self.seal_memory))
        with self.read() as tx:
            return look(tx)

    @contextlib.contextmanager
    def scan(self) -> Iterator[Tx]:
        with self._snapshot(_LONGEST_SCAN) as tx:
            yield tx

    @contextlib.contextmanager
    def _snapshot(self, longest: float) -> Iterator[Tx]:
        with self._connection() as connection:
            tx = PostgresTx(connection, "read", self._watchdog, longest, self.seal_memory)
            try:
                yield tx
            finally:
                if tx.begun:
                    self._roll_back(connection)

    @contextlib.contextmanager
    def write(self, quiet: bool = False, synced: bool = True) -> Iterator[Tx]:
        """The server's snapshot tells of every change alike, so `quiet` means nothing."""
        with turns.hold():
            with self._connection() as connection:
                tx = PostgresTx(connection, "write", self._watchdog, LONGEST_STATEMENT, self.seal_memory)
                if not synced:
                    tx.run("SET LOCAL synchronous_commit = off")
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
            if not synced:
                self._unsynced = True
            tx.committed()

    def sync(self) -> None:
        """A commit that writes something is synced with all that was written to the server's log before it."""
        with turns.waiting(), self._syncing:
            if self._unsynced:
                self._unsynced = False  # first: what is committed meanwhile may be too late for this sync
                try:
                    with self.write() as tx:
                        tx.one("SELECT pg_logical_emit_message(true, 'kelp', '')")
                except BaseException:
                    self._unsynced = True
                    raise

    def is_synced(self) -> bool:
        if not self._syncing.acquire(blocking=False):
            return False
        try:
            return not self._unsynced
        finally:
            self._syncing.release()

    def empty_log(self) -> int:
        return 0  # the server's

    def claim(self, folder_id: int, key: str) -> None:
        return None  # its users are on many machines

    def look_after_claims(self) -> None:
        return

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.closed or connection.info.transaction_status == pq.TransactionStatus.IDLE:
            return
        with turns.waiting(), self._watchdog.over(connection, LONGEST_STATEMENT), contextlib.suppress(psycopg.Error):
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
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({KELP}, {MIGRATING})")
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


_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,  # also: a transaction that rested for too long, and a server that only reads (a standby)
    psycopg.NotSupportedError,  # also: a statement that was prepared before a migration changed its table
    sa.exc.DBAPIError,
    sa.exc.TimeoutError,
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
    except _AWAY as error:
        raise StoreUnavailable(f"the database did not answer: {_line(error)}", retry_after=2) from error


def _line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
