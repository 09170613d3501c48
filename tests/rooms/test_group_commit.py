"""Changes that come together share a commit, and nothing else: each is all or nothing, and durable when it returns."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vfs.metadata.change_count import ChangeCount
from vfs.metadata.group_commit import GroupCommit

THREADS = 12


class Log:
    """A database with one table, reached by one connection; which statements ran, and which one shall fail."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE said (word TEXT UNIQUE)")
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)
        self.changes = ChangeCount(file.with_suffix(".changes"))
        self.commits = GroupCommit(self._lend, self.changes)

    @contextlib.contextmanager
    def _lend(self) -> Iterator[sqlite3.Connection]:
        yield self.connection

    def say(self, word: str) -> None:
        with self.commits.change() as connection:
            connection.execute("INSERT INTO said VALUES (?)", (word,))

    def heard(self) -> set[str]:
        """What another connection sees: only what is committed."""
        with contextlib.closing(sqlite3.connect(self.file)) as other:
            return {row[0] for row in other.execute("SELECT word FROM said")}

    def count(self, statement: str) -> int:
        return sum(text.startswith(statement) for text in self.statements)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "said.db")
    yield log
    log.connection.close()


def together(log: Log, work: Callable[[int], None], *, quiet: bool = False) -> list[BaseException | None]:
    """Run `work(0 … THREADS-1)` in threads that all wait behind one change; what each raised."""
    outcomes: list[BaseException | None] = [None] * THREADS

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    with (
        contextlib.suppress(sqlite3.OperationalError),
        log.commits.change(quiet),
    ):  # of their group: may fail too
        for thread in threads:
            thread.start()
        while log.commits._waiting < THREADS:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    return outcomes


def test_one_change_is_committed_when_it_returns(log: Log) -> None:
    log.say("hello")
    assert log.heard() == {"hello"}


def test_changes_that_wait_share_one_commit(log: Log) -> None:
    assert together(log, lambda number: log.say(str(number))) == [None] * THREADS
    assert log.heard() == {str(number) for number in range(THREADS)}
    assert log.count("COMMIT") == 1


def test_each_is_committed_before_it_returns(log: Log) -> None:
    seen: list[bool] = []

    def say_and_listen(number: int) -> None:
        log.say(str(number))
        seen.append(str(number) in log.heard())

    together(log, say_and_listen)
    assert seen == [True] * THREADS


def test_a_failing_change_takes_nobody_with_it(log: Log) -> None:
    def say_or_fail(number: int) -> None:
        with log.commits.change() as connection:
            connection.execute("INSERT INTO said VALUES (?)", (str(number),))
            if number % 3 == 0:
                raise ValueError(number)

    outcomes = together(log, say_or_fail)
    assert [isinstance(error, ValueError) for error in outcomes] == [number % 3 == 0 for number in range(THREADS)]
    assert log.heard() == {str(number) for number in range(THREADS) if number % 3}


def test_when_the_last_of_a_group_fails_the_others_are_committed(log: Log) -> None:
    log.say("taken")
    outcomes = together(log, lambda number: log.say("taken" if number == THREADS - 1 else str(number)))
    assert sum(isinstance(error, sqlite3.IntegrityError) for error in outcomes) == 1
    assert len(log.heard()) == THREADS


def test_a_failed_commit_is_everybodys(log: Log) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(log.connection, name)

        def execute(self, sql: str, *values: object) -> object:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return log.connection.execute(sql, *values)

    @contextlib.contextmanager
    def lend() -> Iterator[sqlite3.Connection]:
        yield Refusing()  # type: ignore[misc]

    working, log.commits = log.commits, GroupCommit(lend, log.changes)
    with pytest.raises(sqlite3.OperationalError):
        log.say("alone")
    outcomes = together(log, lambda number: log.say(str(number)))
    assert all(isinstance(error, sqlite3.OperationalError) for error in outcomes)
    assert log.heard() == set()
    log.commits = working
    log.say("again")
    assert log.heard() == {"again"}


def test_a_refusal_waits_for_what_it_saw(log: Log) -> None:
    """Who is told that a name is taken must find it taken."""
    found: list[bool] = []

    def say_or_find(number: int) -> None:
        try:
            log.say("same")
        except sqlite3.IntegrityError:
            found.append("same" in log.heard())

    together(log, say_or_find)
    assert found == [True] * (THREADS - 1)


def test_what_the_disk_rolled_back_is_told_to_all(log: Log) -> None:
    """SQLite ends the whole transaction by itself at some errors, such as a full disk in the middle of a statement."""

    def say_or_end(number: int) -> None:
        with log.commits.change() as connection:
            connection.execute("INSERT INTO said VALUES (?)", (str(number),))
            if number == THREADS // 2:
                connection.execute("ROLLBACK")
                raise sqlite3.OperationalError("database or disk is full")

    outcomes = together(log, say_or_end)
    said = {str(number) for number, error in enumerate(outcomes) if error is None}
    assert log.heard() == said
    log.say("after")
    assert "after" in log.heard()


def test_a_quiet_change_is_counted_only_with_others(log: Log) -> None:
    before = log.changes.value()
    with log.commits.change(quiet=True) as connection:
        connection.execute("INSERT INTO said VALUES ('quiet')")
    assert log.changes.value() == before and log.heard() == {"quiet"}

    def say(number: int) -> None:
        with log.commits.change(quiet=number % 2 == 0) as connection:
            connection.execute("INSERT INTO said VALUES (?)", (str(number),))

    assert not any(together(log, say, quiet=True))
    assert log.changes.value() not in (before, None) and len(log.heard()) == THREADS + 1


def test_who_is_told_of_a_commit_and_fails_keeps_nobody_out(log: Log) -> None:
    def interrupted(version: int, effects: object) -> None:
        raise KeyboardInterrupt

    told = GroupCommit(log._lend, log.changes, follow=interrupted)
    with pytest.raises(KeyboardInterrupt), told.change() as connection:
        connection.execute("INSERT INTO said VALUES ('told')")
    others = ChangeCount(log.file.with_suffix(".changes"))
    assert others.value() is not None
    assert others.enter_at_once()
    others.close()
    log.say("after")
    assert log.heard() == {"told", "after"}


class Failing:
    """A connection whose next commit is told of a fault of the disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.fails = connection, True

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def executescript(self, sql: str) -> None:
        self._connection.executescript(sql)

    def execute(self, sql: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.fails:
            self.fails = False
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._connection.execute(sql, values)


def test_after_a_fault_of_the_disk_nothing_is_durable_before_the_log_is_written_anew(log: Log) -> None:
    """What was in it before may be lost by now, and with it all that comes behind it."""
    failing, written = Failing(log.connection), []

    def write_anew() -> None:
        assert log.connection.in_transaction  # nobody else writes to it
        written.append(log.heard())
        if len(written) == 1:
            raise OSError(28, "No space left on device")

    lend = lambda: contextlib.nullcontext(failing)  # noqa: E731
    log.commits = GroupCommit(lend, log.changes, write_anew=write_anew)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            log.say("a")
    assert written == [set()] and log.heard() == set()
    for word in "bc":
        log.say(word)
    assert written == [set()] * 2 and log.heard() == set("bc")
