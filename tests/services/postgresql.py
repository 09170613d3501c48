"""A real PostgreSQL for tests: one for the whole run (`shared`), or one of its own for a test that kills it.

    server = shared()                  # KELP_TEST_POSTGRESQL_URL, else our own, started at the first call
server.create("mine", template="migrated")
Settings.load(database_url=server.url("mine"), …)

with postgresql_server() as server: server.kill(); server.start()
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.services.child import Child, bound_to_parent, children, free_port, scratch_folder

VARIABLE = "KELP_TEST_POSTGRESQL_URL"
_ACCOUNT = "postgres"  # who runs it when we are root: PostgreSQL refuses to be root
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "autovacuum": "off",  # small databases of a few seconds: it would only disturb CREATE DATABASE
    "jit": "off",
    "timezone": "Asia/Seoul",  # whoever relies on UTC must ask for it
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "log_min_error_statement": "panic",  # statements that are meant to fail would fill the log
}
_FAST = {"fsync": "off", "full_page_writes": "off"}  # synchronous_commit stays on: what a commit waits for is the same
_HAS_STRATEGIES = 150000
_Connection = psycopg.Connection[tuple[object, ...]]
Mode = Literal["smart", "fast", "immediate"]
_SIGNALS: dict[str, signal.Signals] = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest; None when PostgreSQL is not installed."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = sorted(found, key=lambda file: int(file.parts[-3]) if file.parts[-3].isdigit() else 0)
    elsewhere = shutil.which("postgres")
    return newest[-1].parent if newest else Path(elsewhere).parent if elsewhere else None


def missing() -> str | None:
    """Why there can be no PostgreSQL here; None when there can."""
    if os.environ.get(VARIABLE) or programs():
        return None
    return f"no PostgreSQL here (Debian package postgresql, or {VARIABLE})"


class PostgreSQL:
    """A running server whose databases we may make and drop. `address` is the URL of any of its databases."""

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)

    def url(self, name: str) -> str:
        return self._address._replace(path=f"/{name}").geturl()

    def create(self, name: str, template: str | None = None) -> None:
        """Make a database, as a copy of `template` (to which nobody may be connected)."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with self._connected() as connection:
            if connection.info.server_version >= _HAS_STRATEGIES:
                statement += sql.SQL(" STRATEGY file_copy")  # 11 ms here without fsync; wal_log 26
            connection.execute(statement)

    def drop(self, name: str) -> None:
        """Whoever is connected; absent is fine."""
        with self._connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def exists(self, name: str) -> bool:
        with self._connected() as connection:
            return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None

    def _connected(self) -> contextlib.AbstractContextManager[_Connection]:
        # "IF EXISTS" speaks up when there is none; nobody asked.
        options = "-c client_min_messages=error"
        return psycopg.connect(self._address.geturl(), autocommit=True, connect_timeout=10, options=options)


class SharedPostgreSQL(PostgreSQL):
    """One whose databases come and go with each test: one connection does all that, a new one costs as much."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._kept: _Connection | None = None
        self._turn = threading.Lock()
        atexit.register(self._let_go)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[_Connection]:
        with self._turn:
            if self._kept is None or not _answers(self._kept):
                self._let_go()
                self._kept = super()._connected().__enter__()
            yield self._kept

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _answers(connection: _Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:  # a test ended all connections
        return False
    return True


class OwnPostgreSQL(PostgreSQL):
    """A server in `folder` that a test may end and start again; its port stays."""

    def __init__(self, folder: Path, *, durable: bool = False, **settings: str) -> None:
        """`settings` are PostgreSQL's own. `durable`: with fsync, for tests that look at that."""
        self.folder, self.port = folder / "data", free_port()
        self._user = _ACCOUNT if os.geteuid() == 0 else None
        super().__init__(f"postgresql://{_ACCOUNT}@127.0.0.1:{self.port}/postgres")
        found = programs()
        assert found, missing()
        self._initialize(found / "initdb", folder)
        wanted = {**_SETTINGS, **({} if durable else _FAST), **settings, "port": str(self.port)}
        options = [word for name, value in wanted.items() for word in ("-c", f"{name}={value}")]
        # Immediate shutdown as the last signal: unlike SIGKILL it leaves no shared memory behind.
        command = bound_to_parent([found / "postgres", "-D", self.folder, *options], signal.SIGQUIT, self._user)
        self._child = Child(command, folder / "server.log", self._answers, cwd=folder)
        self.log = self._child.log

    def _initialize(self, initdb: Path, folder: Path) -> None:
        if self._user:
            folder.chmod(0o711)
            self.folder.mkdir(mode=0o700)
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        command = [initdb, "-D", self.folder, "-U", _ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            bound_to_parent([*command, "--no-instructions"], signal.SIGKILL, self._user),
            capture_output=True,
            text=True,
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def _answers(self) -> bool:
        try:
            with self._connected():
                return True
        except psycopg.OperationalError:
            return False

    @property
    def running(self) -> bool:
        return self._child.running

    def start(self) -> None:
        """Until it takes connections; after `kill` that includes its recovery."""
        self._child.start()

    def stop(self, mode: Mode = "fast") -> None:
        """As `pg_ctl stop -m`: fast rolls back what is open, immediate leaves it to recovery."""
        self._child.end(_SIGNALS[mode])

    def restart(self, mode: Mode = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL: the server's processes follow within moments, `start` waits for them."""
        self._child.end(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and does not answer, nor does any of its processes (each connection has one)."""
        stopped: list[int] = []
        try:
            for pid in (self._child.pid, *children(self._child.pid)):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def postgresql_server(*, durable: bool = False, **settings: str) -> Iterator[OwnPostgreSQL]:
    """A started server of one's own, with an empty folder."""
    with scratch_folder("kelp-postgresql-") as folder:
        server = OwnPostgreSQL(folder, durable=durable, **settings)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")


@functools.cache
def shared() -> SharedPostgreSQL:
    """The server of this run: started at the first call, ended with this process.

    The environment names it from then on, for the processes that tests start.
    """
    address = os.environ.get(VARIABLE)
    if address:
        return SharedPostgreSQL(address)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(postgresql_server())
    os.environ[VARIABLE] = server.url("postgres")
    return SharedPostgreSQL(os.environ[VARIABLE])
