"""What is read is known in memory at once, in the database a little later, and nowhere when the reader is gone."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.waiting import until
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import StoreUnavailable
from vfs.holds import Hold, Holds, News

LEASE = 30.0


class Told:
    """What the database was told, or would have been while it is away."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.away = False
        self.tries = 0

    def __call__(self, news: News) -> None:
        away = self.away  # before it counts: who has seen the try may say that it is back
        self.tries += 1
        if away:
            raise StoreUnavailable("the database is away")
        self.news.append(news)

    @property
    def leased(self) -> set[str]:
        leased: set[str] = set()
        for news in self.news:
            leased = leased - set(news.given_back) | set(news.held)
        return leased

    @property
    def reads(self) -> list[tuple[str, int]]:
        return [read for news in self.news for read in news.reads]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def holds(told: Told) -> Iterator[Holds]:
    holds = Holds(told, 0.02, LEASE)
    yield holds
    holds.close()


def test_what_is_held_is_told_and_forgotten_when_it_is_given_back(holds: Holds, told: Told) -> None:
    first, second = holds.hold("a"), holds.hold("a")
    until(lambda: told.leased == {"a"})
    first.release()
    first.release()
    time.sleep(0.1)
    assert told.leased == {"a"} and len(told.news) == 1
    second.release()
    until(lambda: not told.leased)


def test_a_short_read_is_never_told(told: Told) -> None:
    holds = Holds(told, 60, LEASE)
    for n in range(100):
        holds.hold(str(n)).release()
    holds.close()
    assert told.news == []


def test_what_is_held_together_is_told_in_one_commit(told: Told) -> None:
    holds = Holds(told, 1.0, LEASE)
    held = [holds.hold(str(n)) for n in range(50)]
    until(lambda: len(told.leased) == 50)
    assert len(told.news) <= 2
    del held
    holds.close()


def test_a_hold_that_nobody_has_is_given_back(holds: Holds, told: Told) -> None:
    class Ring:
        def __init__(self, hold: Hold) -> None:
            self.hold, self.itself = hold, self

    Ring(holds.hold("in a ring"))

    def read() -> Iterator[bytes]:
        with holds.hold("dropped iterator"):
            yield b"first"
            yield b"second"

    pieces = read()
    next(pieces)
    until(lambda: told.leased == {"in a ring", "dropped iterator"})
    del pieces
    gc.collect()
    assert holds.count == 0
    until(lambda: not told.leased)


def test_a_long_hold_is_renewed(told: Told) -> None:
    holds = Holds(told, 0.02, 0.3)
    hold = holds.hold("a")
    until(lambda: sum("a" in news.held for news in told.news) >= 3)
    hold.release()
    holds.close()
    assert not told.leased


def test_a_database_that_is_away_is_told_later(holds: Holds, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.away = True
    hold = holds.hold("a")
    until(lambda: told.tries >= 1)
    told.away = False
    until(lambda: told.leased == {"a"})
    assert sum("could not be noted" in record.message for record in caplog.records) == 1
    hold.release()


def test_closing_gives_everything_back_and_writes_the_last_reads(told: Told) -> None:
    holds = Holds(told, 0.02, LEASE)
    hold = holds.hold("a")
    until(lambda: told.leased == {"a"})
    holds.note_read("x")
    holds.close()
    assert not told.leased and told.reads == [("x", 1)]
    hold.release()
    assert holds.hold("b") and threading.active_count() >= 1, "a late reader is no error"


def test_reads_are_counted_in_the_order_of_the_last_ones(holds: Holds, told: Told) -> None:
    for key in "abcab":
        holds.note_read(key)
    holds.flush()
    assert told.reads == [("c", 1), ("a", 2), ("b", 2)]


def test_many_threads_hold_and_release(holds: Holds, told: Told) -> None:
    def read(name: str) -> None:
        for n in range(2000):
            with holds.hold(f"{name}-{n % 7}"):
                holds.note_read(name)

    threads = [threading.Thread(target=read, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert holds.count == 0
    holds.flush()
    assert not told.leased and sorted(dict(told.reads)) == ["0", "1", "2", "3"]
    assert sum(count for _, count in told.reads) == 8000


# --- with a database ---


@pytest.fixture
def kelp(tmp_path: Path) -> Iterator[Kelp]:
    kelp = build(engines.load(tmp_path / "data", cache_publish=0.02))
    yield kelp
    kelp.close()


def leases(kelp: Kelp) -> list[tuple[str, str]]:
    with kelp.database.read() as tx:
        return [tuple(row) for row in tx.all("SELECT content_id, owner FROM reader_leases ORDER BY content_id")]


def test_leases_are_in_the_database_while_it_is_read(kelp: Kelp) -> None:
    hold = kelp.holds.hold("a")
    until(lambda: leases(kelp) == [("a", kelp.holds.owner)])
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        assert tx.reading.leased("a", now) and not tx.reading.leased("b", now)
        assert tx.reading.leased_among(["b", "a"], now) == {"a"} and tx.reading.leased_among([], now) == set()
        assert tx.reading.count(now) == 1
    hold.release()
    until(lambda: leases(kelp) == [])


def test_a_lease_of_a_process_that_died_runs_out(kelp: Kelp) -> None:
    now = kelp.clock.now_ns()
    with kelp.database.write(quiet=True) as tx:
        tx.reading.publish("dead:1:x", ["a", "b"], now + 10)
        tx.reading.publish("dead:1:x", ["b"], now + 20)
    with kelp.database.read() as tx:
        assert tx.reading.leased_among(["a", "b"], now) == {"a", "b"}
        assert tx.reading.leased_among(["a", "b"], now + 10) == {"b"} and tx.reading.any_expired(now + 10, now + 1000)
    with kelp.database.write(quiet=True) as tx:
        assert tx.reading.forget_expired(now + 10, now + 1000) == 1
        tx.reading.release("dead:1:x", ["b"])
        assert not tx.reading.any_expired(now + 30, now + 1000)


def test_reads_are_written_with_their_order(kelp: Kelp) -> None:
    with kelp.database.write() as tx:
        for key in "abc":
            tx.run("INSERT INTO objects (key, size, checksum, status) VALUES (:key, 1, '', 'AVAILABLE')", key=key)
    for key in ("b", "a", "c", "a", "unknown"):
        kelp.holds.note_read(key)
    kelp.holds.flush()
    with kelp.database.read() as tx:
        rows = tx.all("SELECT key, access_count FROM objects ORDER BY last_accessed_ns")
    assert [tuple(row) for row in rows] == [("b", 1), ("c", 1), ("a", 2)]


@pytest.mark.engine(database="sqlite", reason="on PostgreSQL the server's snapshot tells of every change alike")
def test_what_was_read_stays_in_memory_when_a_lease_is_written(kelp: Kelp) -> None:
    before = kelp.database.version()
    with kelp.database.write(quiet=True) as tx:
        tx.reading.publish("me", ["a"], 1)
    assert kelp.database.version() == before
    with kelp.database.write() as tx:
        tx.reading.publish("me", ["b"], 1)
    assert kelp.database.version() != before
