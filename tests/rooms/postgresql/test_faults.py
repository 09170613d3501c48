"""What a database does to a drive: it refuses, goes away, comes back, hangs. Nothing of it is ever half a change."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import (
    INSIDE,
    Forwarder,
    Nodes,
    Own,
    activity,
    eventually,
    forwarder,
    left_open,
    open_drive,
    outcome,
    race,
    raw,
)
from vfs.errors import InvalidRequest, KelpError, StoreUnavailable
from vfs.metadata import retrying
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Entry, OnConflict
from vfs.operations import reading

HANG = 17.0  # seconds: nine of one wait, less than two of them, and what a busy machine adds
COMMIT = b"COMMIT\0"  # as the wire has it; READ COMMITTED is another thing
NEW = b"INSERT INTO contents"  # in the change of a PUT, and not in the grant of bytes that may come before


def objects(drive: Drive) -> int:
    return sum(1 for _ in drive.kelp.cache.list())


def cut(url: str) -> int:
    """Kill Kelp's connections to the database; how many."""
    with raw(url) as beside:
        return len(
            beside.execute(
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'kelp'"""
            ).fetchall()
        )


# --- what two changes do to each other ------------------------------------------------------------


def test_a_deadlock_is_resolved_inside(nodes: Nodes) -> None:
    first, second = nodes.a.put("a", b"a").id, nodes.a.put("b", b"b").id
    row = "SELECT 1 FROM entries WHERE id = %s FOR UPDATE"
    with race(nodes.url) as at_once, raw(nodes.url) as beside:
        beside.execute("SET deadlock_timeout = '60s'")  # so that it is Kelp who is the victim
        with beside.transaction():
            beside.execute(row, (second,))
            move = at_once.start_waiting(nodes.a.move, "a", "b", OnConflict.OVERWRITE)
            beside.execute(row, (first,))  # granted when Kelp has given up
        assert not isinstance(outcome(move), BaseException)
        with raw(nodes.url) as again:
            assert again.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert nodes.b.read("b") == b"a"


@pytest.mark.parametrize("code", ["40P01", "40001", "23505", "23503"])
def test_what_can_be_done_again_is_done_again(refusing: Drive, code: str) -> None:
    tried = []

    @retried
    def change() -> str:
        with refusing.kelp.database.write() as tx:
            tried.append(1)
            tx.accounts.set_value("tried", str(len(tried)))
            if len(tried) < 4:
                refuse(tx, code)
            return "done"

    assert change() == "done"
    with refusing.kelp.database.read() as tx:
        assert tx.accounts.value("tried") == "4"


def test_a_conflict_that_shows_at_the_commit_is_done_again(refusing: Drive) -> None:
    tried = []

    @retried
    def change() -> None:
        with refusing.kelp.database.write() as tx:
            tried.append(1)
            if len(tried) < 3:
                tx.run("SELECT kelp_test_refuse('40001')")

    change()
    assert len(tried) == 3


def test_a_conflict_in_the_middle_of_many_statements_is_no_warning(
    refusing: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver hears of it while it still sends, and then of what is left undone: it is one error, told once."""
    tried = []

    @retried
    def change() -> None:
        with refusing.kelp.database.write() as tx:
            tried.append(1)
            if len(tried) < 3:
                tx.run("SELECT kelp_test_refuse('40001')")
            for number in range(450):
                tx.accounts.set_value(f"filler {number}", "x" * 500)

    change()
    assert len(tried) == 3
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_after_many_tries_it_is_unavailable_and_in_the_log(
    refusing: Drive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retrying, "_LONGEST", 0.001)

    @retried
    def change() -> None:
        with refusing.kelp.database.write() as tx:
            refuse(tx, "40P01")

    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable, match="another change"):
        change()
    assert [record.levelname for record in caplog.records if "change" in record.message] == ["WARNING"]


def refuse(tx: Tx, code: str) -> None:
    tx.one("SELECT kelp_test_refuse(:code)", code=code)


@pytest.fixture
def refusing(nodes: Nodes) -> Drive:
    """A drive whose database raises any error that a statement asks for."""
    with raw(nodes.url) as beside:
        beside.execute(
            """CREATE FUNCTION kelp_test_refuse(code text) RETURNS int LANGUAGE plpgsql AS
               $$BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = code; END$$"""
        )
    return nodes.a


# --- connections that are lost --------------------------------------------------------------------


def test_a_connection_lost_before_the_commit(nodes: Nodes) -> None:
    nodes.a.put("old", b"old")
    before = objects(nodes.a)
    asked = []

    def kill(entry: Entry | None, tokens: frozenset[str]) -> None:
        asked.append(1)
        if len(asked) == INSIDE:
            assert cut(nodes.url)

    for path in ("new", "old"):
        asked.clear()
        with pytest.raises(StoreUnavailable):
            nodes.a.put(path, b"new", condition=kill)
        assert objects(nodes.a) == before
    assert nodes.b.find("new") is None
    assert nodes.b.read("old") == b"old"
    nodes.a.put("new", b"new")


def test_a_commit_whose_answer_is_lost_has_happened(through: tuple[Forwarder, Drive], nodes: Nodes) -> None:
    wire, drive = through
    wire.swallow_answer_to(COMMIT, NEW)
    with pytest.raises(StoreUnavailable):
        drive.put("new", b"new")
    assert nodes.b.read("new") == b"new"


def test_a_commit_that_goes_on_after_its_connection_is_lost(through: tuple[Forwarder, Drive], nodes: Nodes) -> None:
    """The server works at it for another second: until then nobody can tell, and the bytes stay."""
    wire, drive = through
    with raw(nodes.url) as beside:
        beside.execute(
            """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN PERFORM pg_sleep(1); RETURN NULL; END$$"""
        )
        beside.execute(
            """CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON contents DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION slow()"""
        )
    wire.swallow_answer_to(COMMIT, NEW)
    with pytest.raises(StoreUnavailable):
        drive.put("new", b"new")
    assert eventually(lambda: nodes.b.find("new"))
    assert nodes.b.read("new") == b"new"


def test_a_commit_that_never_arrived_leaves_nothing(through: tuple[Forwarder, Drive], nodes: Nodes) -> None:
    wire, drive = through
    before = objects(drive)
    wire.cut_before(COMMIT, NEW)
    with pytest.raises(StoreUnavailable):
        drive.put("new", b"new")
    assert nodes.b.find("new") is None
    assert objects(drive) == before


@pytest.fixture
def through(nodes: Nodes, tmp_path: Path) -> Iterator[tuple[Forwarder, Drive]]:
    """A server of the drive whose connections go over a wire that can lose things."""
    with forwarder(nodes.url) as wire:
        drive = open_drive(wire.url, tmp_path, nodes.a.clock)
        drive.put("before", b"1")  # with the first file comes a grant of bytes, in a commit of its own
        yield wire, drive
        drive.kelp.close()


# --- a server that goes away and comes back --------------------------------------------------------


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_was_started_again_is_not_noticed(own: Own, mode: str) -> None:
    own.drive.put("a", b"1")
    with race(own.url) as at_once:  # several idle connections
        at_once.all_at_once([partial(own.drive.put, f"n{n}") for n in range(6)])
    own.server.restart(mode)  # type: ignore[arg-type]
    assert own.drive.read("a") == b"1"
    own.drive.put("a", b"2")
    with race(own.url) as at_once:
        found = at_once.all_at_once([partial(own.drive.read, "a") for _ in range(6)])
    assert found == [b"2"] * 6


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_server_that_is_started_again_under_load(own: Own, mode: str) -> None:
    own.drive.folder("f")
    stop = threading.Event()
    acknowledged: list[tuple[str, bytes]] = []
    errors: list[KelpError] = []

    def write(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            name, body = f"f/{number}-{count}", f"{number} {count}".encode()
            try:
                own.drive.put(name, body)
                acknowledged.append((name, body))
                own.drive.move(name, f"{name} moved")
                acknowledged[-1] = (f"{name} moved", body) if own.drive.find(f"{name} moved") else acknowledged[-1]
            except KelpError as error:
                errors.append(error)
                time.sleep(0.05)

    with race(own.url) as at_once:
        writers = [at_once.start(write, number) for number in range(4)]
        eventually(lambda: len(acknowledged) > 20)
        if mode == "kill":
            own.server.kill()
            own.server.start()
        else:
            own.server.restart(mode)  # type: ignore[arg-type]
        so_far = len(acknowledged)
        eventually(lambda: len(acknowledged) > so_far + 20)
        stop.set()
        assert [outcome(writer) for writer in writers] == [None] * 4
    assert {type(error) for error in errors} <= {StoreUnavailable}, errors
    for name, body in acknowledged:
        there = next(path for path in (name, f"{name} moved") if own.drive.find(path))
        assert own.drive.read(there) == body


def test_a_server_that_hangs_keeps_nobody(own: Own) -> None:
    own.drive.put("a", b"1")
    with race(own.url) as at_once:
        at_once.all_at_once([partial(own.drive.put, f"n{n}") for n in range(4)])
        deeds: list[Callable[[], object]] = [
            partial(own.drive.put, "a", b"2"), partial(own.drive.read, "a"), partial(own.drive.names),
            partial(own.drive.lock, "a"), partial(own.drive.move, "a", "b"), partial(own.drive.remove, "n0"),
        ]  # fmt: skip
        with stopped(own.pid):
            found = at_once.all_at_once([partial(timed, deed) for deed in deeds])
            again = at_once.all_at_once([partial(timed, deed) for deed in deeds])
    assert [max(taken for taken, _ in each) < HANG for each in (found, again)] == [True, True], (found, again)  # type: ignore[misc]
    assert {type(result) for _, result in (*found, *again)} == {StoreUnavailable}  # type: ignore[misc]
    eventually(lambda: timed(own.drive.names)[1] == ["a", "n0", "n1", "n2", "n3"])
    assert own.drive.read("a") == b"1"


def timed(deed: Callable[[], object]) -> tuple[float, object]:
    """Seconds that it took, and what it returned or raised."""
    begun = time.monotonic()
    try:
        result = deed()
    except KelpError as error:
        result = error
    return time.monotonic() - begun, result


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process and its children do nothing meanwhile."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    family = [pid, *map(int, children)]
    for member in family:
        os.kill(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in family:
            os.kill(member, signal.SIGCONT)


# --- connections are few, and given back -----------------------------------------------------------


def test_when_all_connections_are_busy_it_is_unavailable(nodes: Nodes, tmp_path: Path) -> None:
    drive = open_drive(nodes.url, tmp_path, nodes.a.clock, connections=2, timeout=0.5)
    with race(nodes.url) as at_once:
        with drive.kelp.database.read(), drive.kelp.database.scan():
            refused = at_once.start(drive.names)
            error = outcome(refused)
            assert isinstance(error, StoreUnavailable) and "busy" in str(error)
        assert drive.names() == []
        drive.kelp.close()
        drive = open_drive(nodes.url, tmp_path, nodes.a.clock, connections=2, timeout=60.0)  # of a busy machine
        found = at_once.all_at_once([partial(drive.put, f"n{n}") for n in range(16)])
        assert not [one for one in found if isinstance(one, BaseException)]
    assert len(activity(nodes.url, "true")) <= 2 + len(activity(nodes.url, "state = 'idle'"))
    drive.kelp.close()


def test_no_error_leaves_a_transaction_or_a_connection_behind(refusing: Drive, nodes: Nodes) -> None:
    drive = refusing
    drive.folder("f")
    drive.put("f/x")
    drive.put("a")
    begun = len(activity(nodes.url, "true"))

    def broken(error: BaseException, write: bool) -> None:
        with drive.kelp.database.write() if write else drive.kelp.database.read() as tx:
            tx.one("SELECT 1 AS one")
            raise error

    def half_read(scan: bool) -> None:
        with drive.kelp.database.scan() if scan else drive.kelp.database.read() as tx:
            assert next(tx.each("SELECT generate_series(1, 5000) AS n"))[0] == 1

    def lost_generator() -> None:
        with drive.kelp.database.scan() as tx:
            assert next(tx.entries.children(ROOT_ID)).name == "a"

    def refused(code: str) -> None:
        with drive.kelp.database.write() as tx:
            refuse(tx, code)

    deeds: list[Callable[[], object]] = [
        *(partial(broken, error, write) for error in (KeyError(), KeyboardInterrupt(), StoreUnavailable("x"))
          for write in (True, False)),
        partial(half_read, True), partial(half_read, False), lost_generator,
        *(partial(refused, code) for code in ("40P01", "40001", "23505", "53100", "53200", "55P03", "22021", "57014")),
        partial(drive.folder, "a"), partial(drive.move, "f", "f/g"), partial(drive.move, "nothing", "b"),
        partial(drive.put, "a/b"), partial(drive.put, "a", b"", on_conflict=OnConflict.ERROR),
        partial(drive.put, "b", b"x", drive.viewer),
        lambda: next(iter(reading.list_folder(drive.kelp, drive.admin, ROOT_ID))),
    ]  # fmt: skip
    for deed in deeds:
        with contextlib.suppress(KelpError, AssertionError, KeyError, KeyboardInterrupt):
            deed()
        assert left_open(nodes.url) == [], deed
    assert len(activity(nodes.url, "true")) <= begun + 1
    assert drive.names() == ["a", "f"]


def test_a_text_that_no_column_takes_is_refused(drive: Drive) -> None:
    with pytest.raises(InvalidRequest), drive.kelp.database.write() as tx:
        tx.accounts.set_value("x", "a\0b")
