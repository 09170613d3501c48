"""The database: read and write transactions on whichever engine the URL names, and what was read from it lately."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Protocol, TypeVar

from vfs import trace
from vfs.errors import ConfigurationError, StoreUnavailable
from vfs.metadata import database_url, retrying
from vfs.metadata.memory import Memory
from vfs.metadata.name_claims import Claim
from vfs.metadata.node_memory import NodeMemory
from vfs.metadata.seals import Cipher, SealMemory
from vfs.metadata.tx import Tx
from vfs.model import Content

__all__ = ["Database", "Tx"]

T = TypeVar("T")
_MOST_BYTES = 16 * 1024 * 1024  # that contents kept in memory take, all together …
_LARGEST = 2 * 1024 * 1024  # … and each
_OF_A_CONTENT, _OF_A_PART = 600, 250  # bytes, beside the sums of its blocks (measured: 560, 240)


class Engine(Protocol):
    """What `Database` documents, for one kind of database."""

    def read(self) -> AbstractContextManager[Tx]: ...

    def scan(self) -> AbstractContextManager[Tx]: ...

    def write(self, quiet: bool = False, synced: bool = True) -> AbstractContextManager[Tx]: ...

    def sync(self) -> None: ...

    def is_synced(self) -> bool: ...

    def empty_log(self) -> int: ...

    seal_memory: SealMemory
    nodes: NodeMemory
    version_is_free: bool  # asking for it costs nothing worth mentioning
    readers_are_few: bool  # who reads for long may keep others from it

    def version(self) -> int | str | None: ...

    def look(self, look: Callable[[Tx], T]) -> T:
        """What `look` finds in a read transaction. It may be called twice."""
        ...

    def claim(self, folder_id: int, key: str) -> Claim | None: ...

    def look_after_claims(self) -> None: ...

    def close(self) -> None: ...


class _Moment(threading.local):
    open = False
    version: int | str | None = None
    deferring = False


class _Deferring:
    """The thread's changes of a block are deferred, or not."""

    __slots__ = ("_before", "_moment", "_wanted")

    def __init__(self, moment: _Moment, wanted: bool) -> None:
        self._moment, self._wanted = moment, wanted

    def __enter__(self) -> None:
        self._before, self._moment.deferring = self._moment.deferring, self._wanted

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._moment.deferring = self._before


class Database:
    """Opened once by `bootstrap.build`; brings the schema up to date. Safe to use from many threads."""

    def __init__(self, url: str, *, connections: int = 20, timeout: float = 5.0) -> None:
        """`connections` (of this process, at most) and `timeout` (seconds to wait for one) are for PostgreSQL.

        Raises ConfigurationError when the database cannot be opened or is newer than this program.
        """
        self._engine = _open(url, connections, timeout)
        self._moment = _Moment()
        self._seals = self._engine.seal_memory
        self._memory = Memory(self.version)
        self._fixed = Memory(lambda: 0, _weight, _MOST_BYTES)

    def close(self) -> None:
        self._engine.close()

    @property
    def nodes(self) -> NodeMemory:
        """What a mounted file system has looked at. Where looking is not worth remembering it remembers nothing."""
        return self._engine.nodes

    @property
    def readers_are_few(self) -> bool:
        """A transaction that waits for a client has something that others need: one of a few connections."""
        return self._engine.readers_are_few

    @property
    def is_near(self) -> bool:
        """A short look never waits: it asks no other process, and no connection is missing."""
        return self._engine.version_is_free

    def knows_as_plain(self, folder_id: int) -> bool:
        """The folder is in no vault, as far as this process remembers; that never changes."""
        return self._seals.knows_as_plain(folder_id)

    @property
    def has_vaults(self) -> bool:
        """The drive has some, as far as this process has seen; without a statement."""
        return self._seals.any_vaults

    def open_vaults(self, cipher: Cipher) -> None:
        """What is sealed is opened by it from now on, for those who show names to people or take them."""
        self._seals.cipher = cipher
        with self.read() as tx:
            self._seals.any_vaults = tx.vaults.any()

    def read(self) -> AbstractContextManager[Tx]:
        """A consistent snapshot for a short look; takes no lock in the database.

        Nothing may wait inside; what reads many rows, or yields them, is a `scan`.
        """
        return self._engine.read()

    def scan(self) -> AbstractContextManager[Tx]:
        """A consistent snapshot for a long look, beside all others."""
        return self._engine.scan()

    def write(self, quiet: bool = False) -> AbstractContextManager[Tx]:
        """One change, all or nothing, durable when the block has ended.

        Raises NoSpace when the disk of the database is full, StoreUnavailable when it cannot be had in time, Conflict
        when another change got in its way: see `retried`.

        `quiet`: it changes nothing that `recall` may keep, anywhere; so nobody need forget what was read.
        """
        if not quiet:
            self._moment.version = None
        return trace.around("db.transaction", self._engine.write(quiet, not self._moment.deferring))

    def deferring(self, *, makes: bool = False) -> AbstractContextManager[None]:
        """Inside, this thread's changes need not be durable by themselves: everybody sees them, in their order, and the
        end of Kelp's processes does them no harm; but only the next change made outside, or `sync`, brings them to the
        disk.

        It saves each of them a sync of the disk, which is most of what a small change takes.

        `makes`: they make rows. A database that is a server of its own can die without those who use it, and would
        forget rows that programs have open, and give their ids again: there each of them is durable all the same.
        """
        return _Deferring(self._moment, self.is_near or not makes)

    def at_once(self, change: Callable[[], T]) -> tuple[T] | None:
        """What `change` answers, where nothing has to be waited for: no other change, no disk. None: something has to
        be, or the database is away; then nothing has happened, and `change` has to be called where it may wait.

        `change` is one write transaction, and before or after it nothing that can be refused or waits; `deferring` is
        meant for it. Raises what it raises.
        """
        if not self.is_near:
            return None
        try:
            with retrying.at_once(), self.deferring():
                return (change(),)
        except (retrying.Busy, StoreUnavailable):
            return None

    def claim(self, folder_id: int, key: str) -> Claim | None:
        """Have a name to oneself before a row has it: from then on nobody makes it who promises to be the only one
        (`Tx.claim_name`). Then it has to be looked whether it is free; who does not ask for that may still take it.
        It is this process's until it is given back. It waits for nothing.

        `key`: as rows have it, but never sealed. None: somebody else has it, or this database knows no claims.
        """
        return self._engine.claim(folder_id, key)

    def look_after_claims(self) -> None:
        """Now and then, by who has some."""
        self._engine.look_after_claims()

    def sync(self) -> None:
        """What this process has committed is durable when it returns; it costs nothing when it is already.

        Raises StoreUnavailable.
        """
        self._engine.sync()

    @property
    def is_synced(self) -> bool:
        """What this process has committed is durable: a `sync` would do nothing. It waits for nothing; False while one
        is under way."""
        return self._engine.is_synced()

    def empty_log(self) -> int:
        """What was deleted is not in the log of SQLite any more, either; PostgreSQL keeps its own (docs/operations.md).

        How many bytes that was; 0: none, or somebody reads yet. Raises StoreUnavailable.
        """
        return self._engine.empty_log()

    def recall(self, key: Hashable, look: Callable[[Tx], T]) -> T:
        """What `look` finds in a read transaction, from memory while no process has changed the database since.

        The value must be immutable, and depend on the database and `key` alone, not on the time.
        """

        return self._memory.recall(key, lambda: self._engine.look(look))

    def fresh(self, key: Hashable, look: Callable[[Tx], T]) -> T:
        """As `recall`, for what is hardly ever asked twice: where the version is no cheaper than the look, it looks."""
        return self.recall(key, look) if self._engine.version_is_free else self._engine.look(look)

    def ahead(self, key: Hashable, look: Callable[[Tx, list[tuple[Hashable, T]]], T]) -> T:
        """As `fresh`; `look` may add to its list what will be asked for next (key, value), which is kept too."""
        more: list[tuple[Hashable, T]] = []
        if not self._engine.version_is_free:
            return self._engine.look(lambda tx: look(tx, more))
        return self._memory.recall(key, lambda: self._engine.look(lambda tx: look(tx, more)), more)

    def look(self, look: Callable[[Tx], T]) -> T:
        """What `look` finds in a read transaction. It may be called twice."""
        return self._engine.look(look)

    def keep(self, key: Hashable, look: Callable[[Tx], Content | None]) -> Content | None:
        """The content that `look` finds, for good: it never changes once it is there and its checksum is known."""
        return self._fixed.recall(key, lambda: self._engine.look(look))

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Inside, this thread asks for the version once: where that is a round trip, a request needs only one.

        What `recall` gives is then as it was at that moment, or newer; the thread's own changes begin another.
        """
        self._moment.open, self._moment.version = True, None
        try:
            yield
        finally:
            self._moment.open, self._moment.version = False, None

    def version(self) -> int | str | None:
        """Another with every commit of any process; None while that cannot be told."""
        if not self._moment.open:
            return self._engine.version()
        if self._moment.version is None:
            self._moment.version = self._engine.version()
        return self._moment.version


def _weight(found: object) -> int | None:
    """A content of terabytes has a hundred thousand parts; one that was adopted will be known better."""
    if not isinstance(found, Content) or not found.checksum:
        return None
    sealed = len(found.seal.part_list) if found.seal else 0
    weight = _OF_A_CONTENT + sealed + sum(_OF_A_PART + len(part.blocks or b"") for part in found.parts)
    return weight if weight <= _LARGEST else None


def _open(url: str, connections: int, timeout: float) -> Engine:
    parsed = database_url.parse(url)
    # Each brings in a driver: only the one that is used is loaded.
    if parsed.get_backend_name() == "sqlite":
        from vfs.metadata.sqlite import SqliteEngine

        return SqliteEngine(parsed)
    if parsed.get_backend_name() == "postgresql":
        from vfs.metadata.postgresql import PostgresEngine

        return PostgresEngine(parsed, connections, timeout)
    raise ConfigurationError(f"the database is SQLite or PostgreSQL, not {parsed.drivername}")
