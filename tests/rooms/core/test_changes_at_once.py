"""Changes that are made where nothing may be waited for: at once, or not at all."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.rooms.core.drive import Drive
from vfs.errors import Conflict, Forbidden, Locked, NotFound
from vfs.metadata import sqlite
from vfs.metadata.database import Database
from vfs.metadata.retrying import retried
from vfs.operations import drafting, trashing

pytestmark = pytest.mark.skipif(
    engines.CHOSEN.database != "sqlite", reason="another process is asked: it is waited for"
)

LOG_LIMIT = 17 << 20  # bytes: what a checkpoint is due at, and the change that comes then


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as database:
        say(database, "before")
        yield database


def say(database: Database, word: str) -> str:
    with database.write() as tx:
        tx.accounts.set_value("said", word)
    return word


def at_once(database: Database, word: str) -> bool:
    return database.at_once(lambda: say(database, word)) == (word,)


def heard(database: Database) -> str | None:
    with database.read() as tx:
        return tx.accounts.value("said")


def test_it_is_done_and_everybody_sees_it(database: Database, tmp_path: Path) -> None:
    before = database.version()
    assert at_once(database, "now")
    assert heard(database) == "now" and database.version() != before
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as other:
        assert heard(other) == "now"
        assert at_once(other, "there") and at_once(database, "here again")
        assert heard(other) == "here again"


def test_the_next_change_waits_as_ever_and_is_synced(database: Database) -> None:
    def asked() -> list[int]:
        with database.write() as tx:
            return [int(tx.one(f"PRAGMA {name}")[0]) for name in ("busy_timeout", "wal_autocheckpoint", "synchronous")]

    assert database.at_once(asked) == ([0, 4000, 1],)
    assert asked() == [30_000, 4000, 2]
    with database.read() as tx:
        assert tx.one("PRAGMA busy_timeout") == (30_000,)


def test_a_connection_that_failed_to_hurry_waits_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(database, "now") and heard(database) == "now"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_HASTY", f"{sqlite._HASTY}; no SQL")
        assert not at_once(database, "never")
    with database.read() as tx:
        assert [tx.one(f"PRAGMA {name}")[0] for name in ("busy_timeout", "wal_autocheckpoint")] == [30_000, 4000]
    assert heard(database) == "now"


def test_after_the_database_was_closed_everywhere_and_opened_again_it_is_done(tmp_path: Path) -> None:
    """Its shared memory is another file then, of which the log's length is read."""
    address = f"sqlite:///{tmp_path / 'kelp.db'}"
    with closing(Database(address)) as database:
        say(database, "before")
        assert at_once(database, "now")
        engine: Any = database._engine
        while engine._spare:
            engine._spare.pop().close()
        engine._engine.dispose()
        assert not Path(f"{tmp_path / 'kelp.db'}-shm").exists()
        say(database, "again")
        assert at_once(database, "once more") and heard(database) == "once more"


def test_an_error_takes_it_back_and_is_told(database: Database) -> None:
    def fail() -> None:
        with database.write() as tx:
            tx.accounts.set_value("said", "never")
            raise NotFound("no")

    with pytest.raises(NotFound):
        database.at_once(fail)
    assert heard(database) == "before" and at_once(database, "now")


def test_whatever_fails_before_it_nothing_stays_locked(database: Database, tmp_path: Path) -> None:
    engine: Any = database._engine
    writing, real = engine._writing, engine._writing._takes_more

    def fail() -> bool:
        raise MemoryError

    writing._takes_more = fail
    for _ in range(2):
        with pytest.raises(MemoryError):
            at_once(database, "never")
    writing._takes_more = real
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as other:
        assert at_once(other, "there") and at_once(database, "here") and heard(other) == "here"


def test_not_beside_another_change_of_this_process(database: Database) -> None:
    with database.write() as tx:
        tx.accounts.set_value("said", "long")
        assert not at_once(database, "now")
    assert heard(database) == "long" and at_once(database, "now")


def test_not_before_those_who_wait(database: Database) -> None:
    """Who hands on a transaction to somebody who waits finds him."""
    begun, rest = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            begun.set()
            rest.wait()

    threads = [threading.Thread(target=hold), *(threading.Thread(target=say, args=(database, "t")) for _ in range(8))]
    threads[0].start()
    begun.wait()
    for thread in threads[1:]:
        thread.start()
    rest.set()
    done = sum(at_once(database, "now") for _ in range(300))
    for thread in threads:
        thread.join()
    assert at_once(database, "end") and heard(database) == "end" and done <= 300


@contextmanager
def counted(file: Path) -> Iterator[None]:
    """Another process is in a change, as those of Kelp tell each other."""
    handle = os.open(file.with_suffix(".changes"), os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """… or any other program."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("busy", [counted, locked])
def test_not_beside_another_process(
    database: Database, tmp_path: Path, busy: Callable[[Path], AbstractContextManager[None]]
) -> None:
    before = threading.enumerate()
    for _ in range(2):
        with busy(tmp_path / "kelp.db"):
            version = database.version()
            assert not at_once(database, "now")
            assert heard(database) == "before" and database.version() == version
    more = {thread.name for thread in threading.enumerate() if thread not in before}
    assert "kelp-usher" not in more  # who waits for such a lock
    assert at_once(database, "now")


def test_not_where_the_log_begins_anew(database: Database, tmp_path: Path) -> None:
    """Its first page is synced."""
    assert at_once(database, "now")
    with closing(sqlite3.connect(tmp_path / "kelp.db")) as other:
        _, length, in_file = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert length == in_file > 0
        assert not at_once(database, "now")
        say(database, "anew")
        assert at_once(database, "now")
    assert database.empty_log() > 0 and not at_once(database, "never")
    assert heard(database) == "now"


def test_the_log_stays_bounded_and_is_brought_into_the_file_elsewhere(database: Database, tmp_path: Path) -> None:
    """Of changes that are all made at once, as often as can be."""
    beside = 0
    for number in range(600):
        word = f"{number}" * 20_000
        before = (tmp_path / "kelp.db").stat().st_mtime_ns
        if at_once(database, word):
            assert (tmp_path / "kelp.db").stat().st_mtime_ns == before
        else:
            beside += 1
            say(database, word)
        assert (tmp_path / "kelp.db-wal").stat().st_size < LOG_LIMIT
    assert (tmp_path / "kelp.db-wal").stat().st_size > LOG_LIMIT // 2 and 1 < beside < 30


def test_what_would_be_tried_again_is_not(database: Database) -> None:
    tries = []

    @retried
    def change() -> None:
        tries.append(1)
        with database.write() as tx:
            tx.accounts.set_value("said", "half")
            raise Conflict("another one came in between")

    assert database.at_once(change) is None
    assert tries == [1] and heard(database) == "before"


def test_a_refusal_is_the_same(drive: Drive) -> None:
    drive.put("a")
    drive.lock("a", drive.other)
    for path, caller, error in (
        ("a", drive.editor, Locked),
        ("a", drive.viewer, Forbidden),
        ("absent", drive.editor, NotFound),
    ):
        remove = partial(trashing.remove, drive.kelp, caller, drive.place(path))
        with pytest.raises(error):
            remove()
        with pytest.raises(error):
            drive.kelp.database.at_once(remove)
    assert drive.names() == ["a"]


def test_a_long_history_is_handed_over_by_who_may_wait(drive: Drive) -> None:
    """It is as many rows, and each may lie on a page of its own."""

    def anew() -> object:
        return drive.kelp.database.at_once(lambda: drafting.create(drive.kelp, drive.editor, drive.place("a"), {}))

    first = drive.put("a")
    drive.remove("a")
    assert anew() is not None
    for _ in range(20):
        drive.put("a")
    drive.remove("a")
    assert anew() is None and drive.find("a") is None
    drive.put("a", b"anew")
    assert drive.read("a") == b"anew" and drive.entry("a").uuid == first.uuid
