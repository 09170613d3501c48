"""Group commit: changes that come together share one fsync.

SQLite has one writer at a time and syncs once per commit. A change that finds others waiting leaves the
transaction open for the next and returns when the last of the group has committed: still durable before anybody is
answered, still all or nothing each (a savepoint), and in one order.

A change that need not be durable by itself waits for no sync: its commit is in the log before every later one, so
whichever of those is synced brings it to the disk. Nobody's change that must be synced is ever in such a commit.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from vfs import turns
from vfs.metadata.change_count import ChangeCount
from vfs.metadata.node_memory import Effect
from vfs.metadata.retrying import Busy

_LARGEST = 64  # changes in one commit: bounds what an answer waits for others


class _Group:
    """Changes in one open transaction. `failure` is what the commit raised, for every member."""

    def __init__(self, lent: AbstractContextManager[sqlite3.Connection], *, synced: bool) -> None:
        self._lent = lent
        self.synced = synced
        self.connection = lent.__enter__()
        self.size = 0
        self.entered = False  # no other process writes
        self.number: int | None = None  # of the change count, once something is changed that others may remember
        self.done = threading.Event()
        self.failure: BaseException | None = None
        self.effects: list[Effect | None] = []

    def close(self) -> None:
        self._lent.__exit__(None, None, None)
        self.done.set()


class GroupCommit:
    """The one writing transaction of a process, passed from change to change."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[sqlite3.Connection]],
        changes: ChangeCount,
        *,
        connect_hastily: Callable[[], AbstractContextManager[sqlite3.Connection]] | None = None,
        takes_more: Callable[[], bool] = lambda: False,
        write_anew: Callable[[], None] = lambda: None,
        follow: Callable[[int, list[Effect | None]], None] = lambda version, effects: None,
    ) -> None:
        """For `at_once`: `connect_hastily`: a connection that waits for no lock; `takes_more` as `WalIndex.takes_more`.
        `write_anew`: as that of a WalFile. `follow`: is told what the changes of a commit were, once it is made and
        before it is counted, with the version that it will make."""
        self._connect = connect
        self._connect_hastily = connect_hastily or connect
        self._changes = changes
        self._takes_more = takes_more
        self._follow = follow
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._open: _Group | None = None
        self._lent: AbstractContextManager[object] = contextlib.nullcontext()  # what a change at once has …
        self._entered = False  # … and that no other process writes beside it
        self._loose: set[int] = set()  # ids of connections whose commits are not synced
        # Something was committed that may not be on the disk; at first perhaps by a process that was killed.
        self.unsynced = True
        self.faults = self._mended = 0  # of the disk, and so many of them before the log was written anew
        self._write_anew = write_anew

    @contextlib.contextmanager
    def change(
        self, quiet: bool = False, synced: bool = True, effects: Sequence[Effect | None] = (None,)
    ) -> Iterator[sqlite3.Connection]:
        """One change. When the block has ended without an error it is committed, or the commit's error is raised.

        `quiet`: it is not counted, unless it shares its commit with one that is. `synced`: it is durable then.
        `effects`: of a change that is not quiet, filled in the block; None: anything may be changed.
        """
        with self._counting:
            self._waiting += 1
        try:
            if not self._turn.acquire(blocking=False):
                with turns.waiting():
                    self._turn.acquire()
        finally:  # interrupted too: a group is never left open for somebody who does not come
            with self._counting:
                self._waiting -= 1
        try:
            group = self._begin(quiet, synced)
            alone = group.size == 0
            refusal: BaseException | None = None
            try:
                yield group.connection
                if group.size:
                    group.connection.execute("RELEASE change")
                group.size += 1
                if not quiet:
                    group.effects += effects
            except BaseException as error:
                _undo_change(group)
                refusal = error
            self._pass_on(group)
        finally:
            self._turn.release()
        if refusal is not None and (alone or not isinstance(refusal, Exception)):
            raise refusal
        # A refusal may tell of what others of the group did ("that name is taken"): it waits until that is true.
        if not group.done.is_set():
            with turns.waiting():
                group.done.wait()
        if group.failure is not None:
            raise group.failure
        if refusal is not None:
            raise refusal

    def at_once(
        self, quiet: bool = False, synced: bool = False, effects: Sequence[Effect | None] = (None,)
    ) -> AbstractContextManager[sqlite3.Connection]:
        """As `change`, where nothing has to be waited for: no other change, no sync, and no checkpoint but for a change
        of very many pages.

        Raises Busy before the block, or at its begin; then nothing has happened.
        """
        if synced:
            raise Busy
        return _AtOnce(self, quiet, effects)

    @property
    def is_doubted(self) -> bool:
        return self.faults != self._mended

    def mend(self) -> None:
        """For who has SQLite's write lock. The system tells a fault of the disk once, and takes what it could not write
        for written from then on (fsync(2)): a log that was synced then may have a hole, and ends there after a power
        cut. So before anything is taken for durable it is written anew. Raises OperationalError."""
        if (faults := self.faults) != self._mended:
            try:
                self._write_anew()
            except OSError as error:
                raise sqlite3.OperationalError(f"its log could not be written: {error.strerror}") from error
            self._mended = faults

    def take_all(self) -> sqlite3.Connection:
        """For `at_once`: nobody of this process or another writes until `give_all`. Raises Busy."""
        # It is never counted as waiting: who hands on a group would leave it to us.
        if self._waiting or not self._turn.acquire(blocking=False):
            raise Busy
        try:
            if self._open is not None:
                raise Busy
            lent = self._connect_hastily()
            connection = lent.__enter__()
        except BaseException:
            self._turn.release()
            raise
        self._lent, self._entered = lent, False
        try:
            self._choose(connection, synced=False)
            self._entered = self._changes.enter_at_once()
            if not self._entered:
                raise Busy
        except BaseException:
            self.give_all()
            raise
        return connection

    def give_all(self) -> None:
        try:
            if self._entered:
                self._changes.leave()
        finally:
            try:
                self._lent.__exit__(None, None, None)
            finally:
                self._turn.release()

    def hurry(self, connection: sqlite3.Connection, quiet: bool) -> int | None:
        """For `at_once`: begin a transaction whose commit syncs nothing; the number of the change. Raises Busy."""
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise Busy from error
        try:
            if not self._takes_more():
                raise Busy
            return None if quiet else self._changes.begin()
        except BaseException:  # whatever it is: else nobody could change anything any more
            connection.execute("ROLLBACK")
            raise

    def arrive(self, connection: sqlite3.Connection, number: int | None, effects: Sequence[Effect | None]) -> None:
        connection.execute("COMMIT")
        if number is not None:
            self._follow(self._changes.version_of(number), list(effects))

    def rest(self, connection: sqlite3.Connection, number: int | None) -> None:
        """It has arrived, or never will."""
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self.unsynced = True
        if number is not None:
            self._changes.end(number)

    def _begin(self, quiet: bool, synced: bool) -> _Group:
        """The open group, or a new one; with a savepoint for this change, when it is not the first."""
        if self._open is None:
            self._open = _Group(self._connect(), synced=synced)
        group = self._open
        try:
            if not group.connection.in_transaction:
                self._choose(group.connection, synced=group.synced)
                group.entered = self._changes.enter()
                with contextlib.nullcontext() if group.entered else turns.waiting():
                    group.connection.execute("BEGIN IMMEDIATE")
            if group.synced:
                self.mend()
            if not quiet and group.number is None:
                group.number = self._changes.begin()
            if group.size:  # the first may take all back
                group.connection.execute("SAVEPOINT change")
        except BaseException:
            self._pass_on(group)
            raise
        return group

    def _choose(self, connection: sqlite3.Connection, *, synced: bool) -> None:
        """How its commits are made. Not by `execute`: SQLite acts on this pragma when it compiles it, and Python keeps
        compiled statements, so the second time nothing would happen."""
        key = id(connection)
        if synced and key in self._loose:
            connection.executescript("PRAGMA synchronous=FULL")
            self._loose.discard(key)
        elif not synced and key not in self._loose:
            self._loose.add(key)  # first: whatever happens, a change that must be synced sets it right
            connection.executescript("PRAGMA synchronous=NORMAL")

    def _pass_on(self, group: _Group) -> None:
        """Leave the transaction to who waits, or commit it for all."""
        with self._counting:
            somebody = self._waiting > 0
        if somebody and group.synced and group.size < _LARGEST and group.connection.in_transaction:
            return
        self._open = None
        try:
            _finish(group)
        finally:
            self.faults += _is_fault(group.failure)
            if not group.synced:
                self.unsynced = True
            try:
                if group.number is not None and group.failure is None:
                    self._follow(self._changes.version_of(group.number), group.effects)
            finally:  # whatever that is: else no process could change anything any more
                if group.number is not None:
                    self._changes.end(group.number)
                if group.entered:
                    self._changes.leave()
                group.close()


class _AtOnce:
    """A change for a block. No generator with `contextmanager`: that was a twentieth of what is done besides SQL."""

    __slots__ = ("_connection", "_effects", "_number", "_quiet", "_writing")

    def __init__(self, writing: GroupCommit, quiet: bool, effects: Sequence[Effect | None]) -> None:
        self._writing, self._quiet, self._effects = writing, quiet, effects

    def __enter__(self) -> sqlite3.Connection:
        connection = self._connection = self._writing.take_all()
        try:
            self._number = self._writing.hurry(connection, self._quiet)
        except BaseException:
            self._writing.give_all()
            raise
        return connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        writing, number = self._writing, self._number
        try:
            if error is None:
                writing.arrive(self._connection, number, self._effects)
        finally:
            try:
                writing.rest(self._connection, number)
            finally:
                writing.give_all()


def _is_fault(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def _undo_change(group: _Group) -> None:
    """Take back one change alone; when that cannot be done, all of the group: see `_finish`.

    SQLite may also have rolled back everything by itself (a full disk in the middle of a statement).
    """
    try:
        if not group.size:
            group.connection.execute("ROLLBACK")
            return
        group.connection.execute("ROLLBACK TO change")
        group.connection.execute("RELEASE change")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            group.connection.execute("ROLLBACK")


def _finish(group: _Group) -> None:
    """Commit; every member of the group learns it when that fails."""
    try:
        if group.size and not group.connection.in_transaction:
            raise sqlite3.OperationalError("the transaction was rolled back")
        if group.connection.in_transaction:
            with turns.waiting():  # for the disk
                group.connection.execute("COMMIT" if group.size else "ROLLBACK")
    except BaseException as error:
        group.failure = error
        with contextlib.suppress(sqlite3.Error):
            group.connection.execute("ROLLBACK")
        if not isinstance(error, sqlite3.Error):
            raise
