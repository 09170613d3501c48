"""The database: read and write transactions, and what differs between the engines.

`write()` is one writer at a time on SQLite (BEGIN IMMEDIATE, its commits shared: `group_commit`), so the tree lock and
the row locks of design §7 are already held when its block starts; on other engines `Tx.lock_tree` and `lock_rows` will
take them. A transaction commits at the end of its block and is durable then (synchronous=FULL); errors roll it back.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from vfs import turns
from vfs.errors import ConfigurationError, NoSpace, StoreUnavailable
from vfs.metadata import schema
from vfs.metadata.accounts import Accounts
from vfs.metadata.change_count import ChangeCount
from vfs.metadata.contents import Contents
from vfs.metadata.entries import Entries
from vfs.metadata.events import Events
from vfs.metadata.group_commit import GroupCommit
from vfs.metadata.leases import Leases
from vfs.metadata.locks import Locks
from vfs.metadata.memory import Memory
from vfs.metadata.mirror import Mirror
from vfs.metadata.properties import Properties
from vfs.metadata.versions import Versions

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk when it returns: "acknowledged is durable"
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-2000",  # KiB of each connection, and there is one a thread; the disk's cache is shared
)


T = TypeVar("T")
_OLDEST_SQLITE = (3, 39, 0)  # IS DISTINCT FROM


class Tx:
    """One transaction; the query modules hang on it. Functions that expect one take it as `tx`, first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._after_commit: list[Callable[[], None]] = []
        self._cursors: list[sqlite3.Cursor] = []
        self.changed_folders: set[Any] = set()  # ids of folders whose listing changed; None is the root's parent

    def all(self, sql: str, **values: object) -> list[Any]:
        turns.breathe()
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, **values: object) -> Any:
        """The first row, or None."""
        turns.breathe()
        return self._connection.execute(sql, values).fetchone()

    def run(self, sql: str, **values: object) -> int:
        """Execute; the number of rows touched."""
        return self._connection.execute(sql, values).rowcount

    def insert(self, sql: str, **values: object) -> int:
        """Execute an INSERT … RETURNING id; the new id."""
        return int(self._connection.execute(sql, values).fetchone()[0])

    def many(self, sql: str, rows: Iterable[dict[str, object]]) -> None:
        self._connection.executemany(sql, rows)

    def each(self, sql: str, **values: object) -> Iterator[Any]:
        """Rows one by one from a cursor, fetched in pieces."""
        cursor = self._connection.execute(sql, values)
        self._cursors.append(cursor)
        while rows := cursor.fetchmany(500):
            turns.breathe()
            yield from rows

    def lock_tree(self, exclusive: bool = False) -> None:
        """First in every change. SQLite: held already, one writer at a time."""

    def lock_rows(self, ids: Sequence[int]) -> None:
        """Second in every change: rows by ascending id. SQLite: held already."""

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once the transaction is durable; never when it is rolled back."""
        self._after_commit.append(action)

    def _finish(self) -> None:
        folder_ids = self.changed_folders - {None}
        if folder_ids:
            self.entries.bump_listings(folder_ids)

    def _committed(self) -> None:
        for action in self._after_commit:
            action()

    @cached_property
    def entries(self) -> Entries:
        return Entries(self)

    @cached_property
    def contents(self) -> Contents:
        return Contents(self)

    @cached_property
    def versions(self) -> Versions:
        return Versions(self)

    @cached_property
    def events(self) -> Events:
        return Events(self)

    @cached_property
    def mirror(self) -> Mirror:
        return Mirror(self)

    @cached_property
    def leases(self) -> Leases:
        return Leases(self)

    @cached_property
    def locks(self) -> Locks:
        return Locks(self)

    @cached_property
    def properties(self) -> Properties:
        return Properties(self)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self)


class Database:
    """Opened once by `bootstrap.build`; brings the schema up to date. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError when the database cannot be opened or is newer than this program."""
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise ConfigurationError(f"not a database URL: {url!r}") from error
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise ConfigurationError(f"this version keeps its database in SQLite only, not {parsed.drivername}")
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(f"SQLite 3.39 or newer is needed, Python has {sqlite3.sqlite_version}")
        self._file = Path(parsed.database).resolve()  # through links, as SQLite does: what stands beside it is shared
        self._spare: list[sa.PoolProxiedConnection] = []
        self._leased: weakref.WeakSet[sa.PoolProxiedConnection] = weakref.WeakSet()
        self._engine = sa.create_engine(
            url,
            pool_size=64,  # a thread that ends gives its connections back; opening one costs 1 ms
            max_overflow=-1,
            pool_reset_on_return=None,
            connect_args={"check_same_thread": False, "isolation_level": None, "cached_statements": 512},
        )
        sa.event.listen(self._engine, "connect", _set_pragmas)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._migrate()
            self._changes = ChangeCount(self._file.with_suffix(".changes"), like=self._file)
        except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:
            raise ConfigurationError(f"cannot open the database {self._file}: {error}") from error
        self._writing = GroupCommit(lambda: self._connection(), self._changes)
        self._memory = Memory(self._changes)

    def close(self) -> None:
        for pooled in list(self._leased):
            pooled.close()
        self._spare = []
        self._engine.dispose()
        self._changes.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent snapshot for a short look; takes no lock in the database.

        Nothing may wait inside; what reads many rows, or yields them, is a `scan`.
        """
        with turns.hold(), self.scan() as tx:
            yield tx

    def recall(self, key: Hashable, look: Callable[[Tx], T]) -> T:
        """What `look` finds in a read transaction, from memory while no process has changed the database since.

        The value must be immutable, and depend on the database and `key` alone, not on the time.
        """

        def read() -> T:
            with self.read() as tx:
                return look(tx)

        return self._memory.recall(key, read)

    def version(self) -> int | None:
        """A number that changes with every commit of any process; None while a change is under way."""
        return self._changes.value()

    @contextlib.contextmanager
    def scan(self) -> Iterator[Tx]:
        """A consistent snapshot for a long look, beside all others."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            tx = Tx(connection)
            try:
                yield tx
            finally:
                for cursor in tx._cursors:  # one that is half read would keep the old snapshot for whoever comes next
                    cursor.close()
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """One change, all or nothing, durable when the block has ended.

        Raises NoSpace when the disk of the database is full, StoreUnavailable when it cannot be had in time.
        """
        with turns.hold(), _translated(), self._writing.change() as connection:
            tx = Tx(connection)
            yield tx
            tx._finish()
        tx._committed()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for a block: getting one out of the pool for each look costs as much as the look.

        The one used last is taken first: few exist, and those have what was read lately in their caches.
        """
        spare = self._spare
        try:
            pooled = spare.pop()
        except IndexError:
            pooled = self._lease()
        try:
            with _translated():
                yield pooled.driver_connection  # type: ignore[misc]
        finally:
            spare.append(pooled)

    def _lease(self) -> sa.PoolProxiedConnection:
        with _translated():
            pooled = self._engine.raw_connection()
        self._leased.add(pooled)
        return pooled

    def _migrate(self) -> None:
        if self._revision() == schema.REVISION:
            return
        with self._file.with_suffix(".migrating").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)  # two processes may start on an empty folder at once
            found = self._revision()
            if found == schema.REVISION:
                return
            _upgrade(self._engine, found)

    def _revision(self) -> str | None:
        with self._connection() as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
            return str(row[0]) if row else None


def _upgrade(engine: sa.Engine, found: str | None) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each plugin as it is imported
    # Alembic costs 0.2 s to import: only a database that needs it pays.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        # The driver is left in autocommit for our own BEGIN; here one transaction holds the whole upgrade.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(f"the database is of revision {found}, which this Kelp does not know") from error


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors become ours at this border."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise NoSpace("the disk of the database is full") from error
        raise StoreUnavailable(f"the database did not answer: {error}") from error
