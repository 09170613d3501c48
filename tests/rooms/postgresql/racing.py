"""Two who do something at once, with the moments chosen: one is held inside its transaction, the other waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg

from tests.rooms.core.drive import Clock, Drive
from tests.services.postgresql import OwnPostgreSQL
from vfs.bootstrap import build
from vfs.model import Caller, Entry, Role
from vfs.operations import checking
from vfs.settings import Settings

T = TypeVar("T")
_QUERY, _SYNC = b"Q", b"S\0\0\0\4"
_PEOPLE = (("admin", Role.ADMIN), ("editor", Role.EDITOR), ("other", Role.EDITOR), ("viewer", Role.VIEWER))
PATIENCE = 60.0  # seconds after which a test that waits has failed


def settings_of(url: str, folder: Path, **more: object) -> Settings:
    overrides = {f"database_{name}": value for name, value in more.items()}
    return Settings.load(None, {}, data=folder / "data", database_url=url, **overrides)


def people(url: str, folder: Path) -> None:
    """Make the schema and the people; nobody logs in, so nobody's password is hashed."""
    kelp = build(settings_of(url, folder))
    with kelp.database.write() as tx:
        for name, role in _PEOPLE:
            tx.accounts.insert(name, name, "!", role, Clock().now_ns())
    kelp.close()


def open_drive(url: str, folder: Path, clock: Clock, **more: object) -> Drive:
    """Another server of the drive whose cache and NAS are in `folder`. `more`: settings of the database."""
    kelp = build(settings_of(url, folder, **more), clock=clock)
    with kelp.database.read() as tx:
        known = [tx.accounts.find(name) for name, _ in _PEOPLE]
    callers = [
        Caller(found[0].id, name, role, "dav", f"test-{name}")
        for found, (name, role) in zip(known, _PEOPLE, strict=True)
        if found
    ]
    return Drive(kelp, clock, folder / "data" / "nas", *callers)


@dataclass
class Nodes:
    """Two servers of one drive, `a` and `b`."""

    url: str
    a: Drive
    b: Drive

    def finish(self) -> None:
        assert left_open(self.url) == []
        if self.a.damaged:
            return
        found = checking.check(self.a.kelp).problems
        assert found == [], found
        self.a.mirror()
        found = checking.check(self.b.kelp, mirrored=True).problems
        assert found == [], found

    def close(self) -> None:
        self.a.kelp.close()
        self.b.kelp.close()


@dataclass
class Own:
    server: OwnPostgreSQL
    url: str
    drive: Drive

    @property
    def pid(self) -> int:
        """Of the process whose children serve the connections."""
        return int((self.server.folder / "postmaster.pid").read_text().split()[0])


def raw(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection beside Kelp's."""
    return psycopg.connect(url, autocommit=True, application_name="beside")


def activity(url: str, condition: str) -> list[tuple[Any, ...]]:
    """(pid, state, wait_event_type, query) of Kelp's connections to the database for which `condition` holds."""
    sql = f"""SELECT pid, state, wait_event_type, query FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'kelp' AND {condition}"""
    with raw(url) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]  # made of our own words


def left_open(url: str) -> list[tuple[Any, ...]]:
    """Connections that are in a transaction; none may be once everything has returned."""
    until = time.monotonic() + PATIENCE
    while (found := activity(url, "state <> 'idle'")) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def eventually(look: Callable[[], T]) -> T:
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)
    return found


class Held:
    """A condition (of a request) that waits where it is asked for the `at`th time, until `release`."""

    def __init__(self, at: int = 1) -> None:
        self._left = at
        self._reached, self._go = threading.Event(), threading.Event()

    def __call__(self, entry: Entry | None, tokens: frozenset[str]) -> None:
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            assert self._go.wait(PATIENCE)

    def wait(self) -> None:
        assert self._reached.wait(PATIENCE), "it never got there"

    def release(self) -> None:
        self._go.set()


INSIDE = 2  # a PUT asks its condition before the body is read, and again inside its transaction


class Race:
    """Threads that end with the block, and what each came to."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(32)

    def start(self, deed: Callable[..., T], *args: Any, **named: Any) -> Future[T]:
        return self._pool.submit(deed, *args, **named)

    def start_waiting(self, deed: Callable[..., T], *args: Any, **named: Any) -> Future[T]:
        """Started, and waiting for a lock in the database."""
        before = len(self.waiting())
        started = self.start(deed, *args, **named)
        eventually(lambda: len(self.waiting()) > before or started.done())
        assert not started.done(), f"it did not wait: {outcome(started)!r}"
        return started

    def all_at_once(self, deeds: Sequence[Callable[[], T]]) -> list[T | BaseException]:
        barrier = threading.Barrier(len(deeds))

        def run(deed: Callable[[], T]) -> T:
            barrier.wait(PATIENCE)
            return deed()

        return [outcome(one) for one in [self.start(run, deed) for deed in deeds]]

    def waiting(self) -> list[tuple[Any, ...]]:
        return activity(self._url, "wait_event_type = 'Lock'")

    def close(self) -> None:
        self._pool.shutdown()


@contextlib.contextmanager
def race(url: str) -> Iterator[Race]:
    found = Race(url)
    try:
        yield found
    finally:
        found.close()


def outcome(started: Future[T]) -> T | BaseException:
    """What it returned or raised."""
    error = started.exception(PATIENCE)
    return started.result() if error is None else error


class Forwarder:
    """A wire to the server's port that can lose things. `url`: the database, over it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()
        self._swallow, self._cut, self._after = b"", b"", b""
        self._ends: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow_answer_to(self, words: bytes, after: bytes) -> None:
        """The next message with these words arrives, and the connection is gone before its answer. `after`: on a
        connection that said this since it said them last; there are others that change something."""
        self._swallow, self._after = words, after

    def cut_before(self, words: bytes, after: bytes) -> None:
        """The connection is gone before the next message with these words arrives."""
        self._cut, self._after = words, after

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._ends += [client, server]
                threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        said = False
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                said = said or self._after in data
                if asking and said and self._cut and self._cut in data:
                    self._cut = b""
                    break
                if asking and said and self._swallow and self._swallow in data:
                    words, self._swallow = self._swallow, b""
                    target.sendall(_whole(source, data, words))
                    source.shutdown(socket.SHUT_RDWR)
                    return  # the server's end stays until the wire goes: it is not told
                said = said and (self._cut or self._swallow) not in data
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _whole(source: socket.socket, found: bytes, words: bytes) -> bytes:
    """What it has sent, up to where the server begins with the message that has these words, and what else comes now:
    a simple query is carried out at once, what was parsed before it only with a Sync (PostgreSQL, 55.7)."""
    source.settimeout(PATIENCE)
    at = found.index(words)
    while found[at - 5 : at - 4] != _QUERY and _SYNC not in found[at:]:
        if not (data := source.recv(65536)):
            raise ConnectionResetError("the client ended in the middle")
        found += data
    source.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while data := source.recv(65536):
            found += data
    return found


@contextlib.contextmanager
def forwarder(url: str) -> Iterator[Forwarder]:
    wire = Forwarder(url)
    try:
        yield wire
    finally:
        wire.close()
