"""What a database says of itself: for `kelp doctor`."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vfs.errors import ConfigurationError, StoreUnavailable
from vfs.metadata import database_url, migrating
from vfs.metadata.revision import REVISION

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

NEWEST = REVISION
_STATEMENT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Look:
    """`where`: the file, or host and database, without the password. `revision`: None when there is no drive yet."""

    kind: str  # "SQLite" or "PostgreSQL"
    version: str
    where: str
    revision: str | None

    @property
    def is_current(self) -> bool:
        return self.revision is not None and migrating.is_current(self.revision)


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    journal_mode: str  # "wal"
    synchronous: int  # 2: FULL


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """As our own sessions see them. `clock_ahead`: seconds that the server's clock is ahead of ours, `within` so many.

    `connections`: all that are open now, of `connections_max` that people may have.
    """

    isolation: str
    synchronous_commit: str
    fsync: str
    full_page_writes: str
    encoding: str
    collation: str
    connections: int
    connections_max: int
    clock_ahead: float
    clock_within: float


def look(url: str, timeout: float) -> Look:
    """Open the database, and change nothing: it is neither made nor brought up to date.

    Raises ConfigurationError when it refuses or cannot be opened, StoreUnavailable when it does not answer.
    """
    parsed = database_url.parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _look_sqlite(parsed.database or "", timeout)
    if parsed.get_backend_name() == "postgresql":
        return _look_postgres(parsed, timeout)
    raise ConfigurationError(f"the database is SQLite or PostgreSQL, not {parsed.drivername}")


def _look_sqlite(file: str, timeout: float) -> Look:
    # "rw": never made. Not "ro": the last who read would leave the write-ahead log as it is, and needs its index.
    try:
        opened = sqlite3.connect(f"file:{_quoted(file)}?mode=rw", uri=True, timeout=timeout)
        with contextlib.closing(opened) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"cannot open {file}: {error}") from error
    return Look("SQLite", sqlite3.sqlite_version, file, str(row[0]) if row else None)


def _quoted(path: str) -> str:
    """For a URI: SQLite decodes %XX, and ends the name at ? and #."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _look_postgres(url: sa.URL, timeout: float) -> Look:
    import psycopg

    where = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = f"-c statement_timeout={int(_STATEMENT * 1000)} -c default_transaction_read_only=on"
    try:
        with psycopg.connect(
            address, autocommit=True, connect_timeout=max(2, int(timeout)), options=options, application_name="kelp"
        ) as connection:
            version = _first(connection, "SHOW server_version")
            known = _first(connection, "SELECT to_regclass('alembic_version') IS NOT NULL")
            revision = _first(connection, "SELECT version_num FROM alembic_version") if known else None
    except psycopg.errors.QueryCanceled as error:
        raise StoreUnavailable(f"{where} does not answer statements") from error
    except psycopg.Error as error:
        raise ConfigurationError(f"{where}: {' '.join(str(error).split())}") from error
    return Look("PostgreSQL", str(version).split()[0], where, None if revision is None else str(revision))


def _first(connection: Any, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def sqlite(tx: Tx) -> SqliteFacts:
    return SqliteFacts(str(tx.one("PRAGMA journal_mode")[0]), int(tx.one("PRAGMA synchronous")[0]))


def postgres(tx: Tx) -> PostgresFacts:
    """In a write transaction, whose isolation it tells."""
    row = tx.one(
        """SELECT current_setting('transaction_isolation'), current_setting('synchronous_commit'),
                  current_setting('fsync'), current_setting('full_page_writes'),
                  pg_encoding_to_char(encoding), datcollate,
                  (SELECT SUM(numbackends) FROM pg_stat_database),
                  CAST(current_setting('max_connections') AS integer)
                      - CAST(current_setting('superuser_reserved_connections') AS integer)
           FROM pg_database WHERE datname = current_database()"""
    )
    begun = time.time()
    server = float(tx.one("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)")[0])
    took = time.time() - begun
    return PostgresFacts(
        isolation=str(row[0]),
        synchronous_commit=str(row[1]),
        fsync=str(row[2]),
        full_page_writes=str(row[3]),
        encoding=str(row[4]),
        collation=str(row[5]),
        connections=int(row[6]),
        connections_max=int(row[7]),
        clock_ahead=server - begun - took / 2,
        clock_within=took / 2,
    )
