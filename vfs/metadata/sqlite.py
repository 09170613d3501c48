"""SQLite: the database of an embedded drive, in one file beside its own write-ahead log.

One writer at a time (BEGIN IMMEDIATE, its commits shared: `group_commit`), so the tree lock and the row locks of
design §7 are held when a write begins. A commit is durable when it returns (synchronous=FULL).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import sqlalchemy as sa

from vfs import turns
from vfs.errors import ConfigurationError, NoSpace, StoreUnavailable
from vfs.metadata import migrating
from vfs.metadata.change_count import ChangeCount
from vfs.metadata.group_commit import GroupCommit
from vfs.metadata.name_claims import Claim, NameClaims
from vfs.metadata.node_memory import Effect, NodeMemory
from vfs.metadata.retrying import may_wait
from vfs.metadata.seals import SealMemory
from vfs.metadata.sqlite_tx import Connection, SqliteTx
from vfs.metadata.tx import Tx
from vfs.metadata.wal_file import WalFile
from vfs.metadata.wal_index import WalIndex
from vfs.metadata.way_memory import WayMemory, Ways

_PATIENT, _HASTY = "PRAGMA busy_timeout=30000", "PRAGMA busy_timeout=0"
# Pages of the log (16 MiB) before they are brought into the file, which costs two syncs and keeps one change waiting:
# a new file is 26 of them, so with SQLite's 1,000 it was every fortieth.
_LOG_PAGES = 4000
_HURRIED_PAGES = 64  # … and so many before, for no change is made at once: one that brings it there would wait for that
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk when it returns: "acknowledged is durable"
    "PRAGMA foreign_keys=ON",
    _PATIENT,
    "PRAGMA temp_store=MEMORY",
    f"PRAGMA wal_autocheckpoint={_LOG_PAGES}",
    # KiB of each connection, and there is one a thread: of 2,000 a process grew by 50 MiB in an hour, without being
    # faster for it. The system keeps the pages for all of them.
    "PRAGMA cache_size=-512",
    # What is deleted is overwritten: nothing plain stays of a file that went into a vault. 1,000 folders made and
    # removed wrote as many bytes with it as without, and took as long.
    "PRAGMA secure_delete=ON",
)
_BUSY_MS = 250  # that the emptying of the log waits for readers, and writers for it
_OLDEST = (3, 39, 0)  # IS DISTINCT FROM


T = TypeVar("T")


class SqliteEngine:
    version_is_free = True
    readers_are_few = False

    def __init__(self, url: sa.URL) -> None:
        """Raises ConfigurationError when the file cannot be opened or is newer than this program."""
        if sqlite3.sqlite_version_info < _OLDEST:
            raise ConfigurationError(f"SQLite 3.39 or newer is needed, Python has {sqlite3.sqlite_version}")
        if not url.database:
            raise ConfigurationError("the URL of a SQLite database names its file: sqlite:////path/kelp.db")
        self._file = Path(url.database).resolve()  # through links, as SQLite does: what stands beside it is shared
        self._spare: list[sa.PoolProxiedConnection] = []
        self._closed = False
        self.seal_memory = SealMemory()
        self._engine = sa.create_engine(
            url,
            pool_size=64,  # a thread that ends gives its connections back; opening one costs 1 ms
            max_overflow=-1,
            pool_reset_on_return=None,
            # A statement takes some 5 KB, in each thread's connection; with 512 of them a process grew for hours.
            connect_args={
                "check_same_thread": False,
                "isolation_level": None,
                "cached_statements": 128,
                "factory": Connection,
            },
        )
        self._log = WalIndex(self._file, _LOG_PAGES - _HURRIED_PAGES)
        sa.event.listen(self._engine, "connect", self._set_up)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # passwords are in it; what SQLite puts beside it takes its mode
                os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._migrate()
            self._changes = ChangeCount(self._file.with_suffix(".changes"), like=self._file)
            self._claims = NameClaims(self._file.with_suffix(".claims"), like=self._file)
        except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:
            raise ConfigurationError(f"cannot open the database {self._file}: {error}") from error
        self.nodes, self._ways = NodeMemory(self.version), WayMemory()
        self._log_file = WalFile(self._file)
        self._writing = GroupCommit(
            *(lambda: self._connection(), self._changes),
            connect_hastily=lambda: _Leased(self, hasty=True),
            takes_more=self._log.takes_more,
            write_anew=self._log_file.write_anew,
            follow=self._follow,
        )
        self._syncing = threading.Lock()

    def close(self) -> None:
        """What a thread is at just now is closed by that thread: SQLite crashes when it is taken away from under it."""
        with contextlib.suppress(StoreUnavailable, NoSpace):
            self.sync()
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._spare.pop().close()
        self._engine.dispose()
        with self._syncing:
            self._log_file.close()
        self._log.close()
        self._changes.close()
        self._claims.close()

    def version(self) -> int | None:
        return self._changes.value()

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        with turns.hold(), self._connection() as connection, _Reading(connection, self.seal_memory) as tx:
            yield tx

    def look(self, look: Callable[[Tx], T]) -> T:
        with turns.hold(), self._connection() as connection, _Reading(connection, self.seal_memory) as tx:
            return look(tx)

    @contextlib.contextmanager
    def scan(self) -> Iterator[Tx]:
        with self._connection() as connection, _Reading(connection, self.seal_memory) as tx:
            yield tx

    def write(self, quiet: bool = False, synced: bool = True) -> AbstractContextManager[Tx]:
        effects: list[Effect | None] = []
        if may_wait():
            return _Writing(self._writing.change(quiet, synced, effects), self.seal_memory, self._claims, effects)
        ways = None if quiet else self._known_ways
        change = self._writing.at_once(quiet, synced, effects)
        return _Writing(change, self.seal_memory, self._claims, effects, ways)

    def claim(self, folder_id: int, key: str) -> Claim | None:
        return self._claims.take((folder_id, key))

    def look_after_claims(self) -> None:
        self._claims.look_after()

    def _known_ways(self) -> Ways:
        return self._ways.at(self._changes.version_before(), self._log.commits)

    def _follow(self, version: int, effects: Collection[Effect | None]) -> None:
        self._ways.follow(version, effects)
        self.nodes.follow(version, effects)

    def sync(self) -> None:
        """The log holds whatever is not in the file itself; what a checkpoint brought there, it has synced."""
        with turns.waiting(), self._syncing:
            if not self._writing.unsynced:
                return
            self._writing.unsynced = False  # first: what is committed meanwhile may be too late for this sync
            try:
                if self._writing.is_doubted:
                    self._mend()
                self._log_file.sync()
            except BaseException as error:
                self._writing.unsynced = True
                self._writing.faults += 1
                if isinstance(error, OSError):
                    raise StoreUnavailable(f"the database could not be synced: {error.strerror}") from error
                raise

    def _mend(self) -> None:
        """Raises StoreUnavailable."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")  # nobody, of any process, writes to the log
            try:
                self._writing.mend()
            finally:
                connection.execute("ROLLBACK")

    def is_synced(self) -> bool:
        if not self._syncing.acquire(blocking=False):
            return False  # by a sync that is under way, perhaps, and perhaps it fails
        try:
            return not self._writing.unsynced
        finally:
            self._syncing.release()

    def empty_log(self) -> int:
        log = Path(f"{self._file}-wal")
        size = log.stat().st_size if log.exists() else 0
        if not size:
            return 0
        with self._connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # most of it, while others write
            # As in `group_commit`: not by `execute`, which does nothing the second time.
            connection.executescript(f"PRAGMA busy_timeout={_BUSY_MS}")
            try:
                (busy,) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[:1]
            finally:
                connection.executescript(_PATIENT)
        return 0 if busy else size

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        return _Leased(self)

    def lease(self) -> sa.PoolProxiedConnection:
        """A connection until `give_back`: getting one out of the pool for each look costs as much as the look.

        The one used last is taken first: few exist, and those have what was read lately in their caches.
        """
        try:
            return self._spare.pop()
        except IndexError:
            with _translated():
                return self._engine.raw_connection()

    def give_back(self, pooled: sa.PoolProxiedConnection) -> None:
        if self._closed:
            pooled.invalidate()
        else:
            self._spare.append(pooled)

    def _set_up(self, connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        self._log.doubt()

    def _migrate(self) -> None:
        with self._connection() as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
        if row and migrating.is_current(str(row[0])):
            return
        with self._file.with_suffix(".migrating").open("w") as guard, self._engine.connect() as connection:
            fcntl.flock(guard, fcntl.LOCK_EX)  # two processes may start on an empty folder at once
            # The driver is left in autocommit for our own BEGIN; here one transaction holds the whole upgrade.
            with connection.begin():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                migrating.upgrade(connection)


class _translated:  # noqa: N801  # read as a statement: `with _translated():`
    """Foreign errors become ours at this border."""

    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            _translate(error)


def _translate(error: BaseException) -> None:
    if isinstance(error, sqlite3.OperationalError):
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise NoSpace("the disk of the database is full") from error
        raise StoreUnavailable(f"the database did not answer: {error}") from error


# Every look goes through these: as generators, with `contextmanager`, they were a third of what it takes.


class _Leased:
    """A connection for a block. `hasty`: it waits for no lock, as in a change at once.

    It stays so until somebody wants it otherwise, since changes at once come in bursts. Not by `execute`: SQLite acts
    on this pragma when it compiles it, and Python keeps compiled statements, so the second time nothing would happen.
    """

    __slots__ = ("_engine", "_hasty", "_pooled")

    def __init__(self, engine: SqliteEngine, *, hasty: bool = False) -> None:
        self._engine, self._hasty = engine, hasty

    def __enter__(self) -> sqlite3.Connection:
        pooled = self._pooled = self._engine.lease()
        connection: Connection = pooled.driver_connection  # type: ignore[assignment]
        if connection.is_hasty != self._hasty:
            try:
                connection.is_hasty = None
                connection.executescript(_HASTY if self._hasty else _PATIENT)
                connection.is_hasty = self._hasty
            except BaseException:
                self._engine.give_back(pooled)
                raise
        return connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._engine.give_back(self._pooled)
        if error is not None:
            _translate(error)


class _Writing:
    """A write transaction for a block."""

    __slots__ = ("_change", "_claims", "_effects", "_hold", "_seal_memory", "_tx", "_ways")

    def __init__(
        self,
        change: AbstractContextManager[sqlite3.Connection],
        seal_memory: SealMemory,
        claims: NameClaims,
        effects: list[Effect | None],
        ways: Callable[[], Ways] | None = None,
    ) -> None:
        """`effects`: where `change` hears what was changed. `ways`: asked when it has begun."""
        self._change, self._seal_memory, self._effects, self._hold = change, seal_memory, effects, turns.hold()
        self._claims, self._ways = claims, ways

    def __enter__(self) -> Tx:
        self._hold.__enter__()
        try:
            with _translated():
                connection = self._change.__enter__()
            try:
                self._tx = SqliteTx(connection, self._seal_memory, self._claims)
                self._tx.seals.share_commit()
                if self._ways is not None:
                    self._tx.ways = self._ways()
            except BaseException as error:
                self._change.__exit__(type(error), error, error.__traceback__)
                raise
        except BaseException:
            self._hold.__exit__(None, None, None)
            raise
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with _translated():
                if error is None:
                    self._finish()
                self._give_back(kind, error, at)
            if error is not None:
                _translate(error)
        finally:
            self._hold.__exit__(None, None, None)
            if self._tx.claimed:
                self._claims.unshare(self._tx.claimed)
        if error is None:
            self._tx.committed()
        self._tx.end()

    def _finish(self) -> None:
        try:
            self._tx.finish()
            self._effects.append(self._tx.effect)
            self._tx.settle()
        except BaseException as error:
            self._give_back(type(error), error, error.__traceback__)
            raise

    def _give_back(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._tx.close_cursors()
        self._change.__exit__(kind, error, at)


class _Reading:
    """A read transaction for a block."""

    __slots__ = ("_connection", "_tx")

    def __init__(self, connection: sqlite3.Connection, seal_memory: SealMemory) -> None:
        self._connection = connection
        self._tx = SqliteTx(connection, seal_memory)

    def __enter__(self) -> Tx:
        self._connection.execute("BEGIN")
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tx.close_cursors()
        if self._connection.in_transaction:  # SQLite ends it itself by some faults, which are what is to be told
            self._connection.execute("ROLLBACK")
        self._tx.end()
