"""How many statements a change of a small file is on SQLite, where each costs some microseconds: they grow unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.engines import CHOSEN
from tests.rooms.core.drive import Drive
from vfs.metadata.sqlite_tx import SqliteTx
from vfs.model import Expected, Place
from vfs.operations import drafting, folders, trashing, writing

pytestmark = pytest.mark.skipif(CHOSEN.database != "sqlite", reason="PostgreSQL's round trips are counted instead")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of this thread: another tells now and then what is read, and that takes some too."""
    seen: list[str] = []
    here = threading.get_ident()

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(tx: SqliteTx, sql: str, *rows: object, **values: object) -> Any:
            if threading.get_ident() == here:
                seen.append(sql)
            return method(tx, sql, *rows, **values)

        return ask

    for name in ("all", "one", "run", "count", "many"):
        monkeypatch.setattr(SqliteTx, name, counted(getattr(SqliteTx, name)))
    return seen


def create(drive: Drive, name: str) -> None:
    drafting.create(drive.kelp, drive.editor, Place(1, name)).hold.release()


def put(drive: Drive, name: str) -> None:
    writing.put_file(drive.kelp, drive.editor, Place(1, name), [b"some"], expected=Expected(length=4))


CASES: dict[str, tuple[int, Callable[[Drive], object]]] = {
    "make an empty file": (13, lambda drive: create(drive, "new")),
    "put a new file": (14, lambda drive: put(drive, "new")),
    "fill an empty file": (14, lambda drive: put(drive, "empty")),
    "remove a file just made": (11, lambda drive: trashing.remove(drive.kelp, drive.editor, Place(1, "empty"))),
    "make a folder": (12, lambda drive: folders.make_folder(drive.kelp, drive.editor, Place(1, "made"))),
}


@pytest.mark.parametrize("case", CASES)
def test_statements(drive: Drive, statements: list[str], case: str) -> None:
    put(drive, "first")  # the process is granted the bytes that the next ones need
    drive.put("empty", b"")
    most, work = CASES[case]
    statements.clear()
    work(drive)
    assert len(statements) <= most, statements


def test_a_row_notes_its_event_and_no_number_comes_again(drive: Drive) -> None:
    entry = drive.put("a")
    for change in (drive.put, drive.remove):
        change("a")
        noted, newest = drive.sql(
            "SELECT active_sync_event_id, (SELECT MAX(id) FROM sync_events) FROM entries WHERE id = :id", id=entry.id
        )[0]
        assert noted == newest
    drive.mirror()
    with drive.kelp.database.write() as tx:
        tx.pruning.forget_events(range(newest + 1))
        assert tx.one("SELECT COUNT(*) FROM sync_events") == (0,)
    drive.put("b")
    assert drive.sql("SELECT MIN(id) FROM sync_events")[0][0] > newest


def test_an_event_is_found_by_its_uuid(drive: Drive) -> None:
    drive.put("a")
    drive.put("b")
    old = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    with drive.kelp.database.write() as tx:
        first, second = tx.all("SELECT id, uuid FROM sync_events ORDER BY id")
        for id, uuid in (first, second):
            event = tx.event_log.event(uuid)
            assert event and event.id == id and UUID(uuid).version == 4 and tx.events.by_uuid(uuid)
        tx.run("UPDATE sync_events SET uuid = :old WHERE id = :id", old=old, id=first[0])
        event = tx.event_log.event(old)
        assert event and event.id == first[0] and tx.events.by_uuid(old)
        for unknown in (
            first[1],
            second[1][:-1] + "x",
            "",
            "no uuid",
            "é" * 36,
            "ffffffff-ffff-4fff-bfff-ffffffffffff",
        ):
            assert tx.event_log.event(unknown) is None and tx.events.by_uuid(unknown) is None


def test_no_event_is_sought_among_all(drive: Drive) -> None:
    drive.put("a")
    asked: list[str] = []
    with drive.kelp.database.write() as tx:
        assert isinstance(tx, SqliteTx)
        tx._connection.set_trace_callback(asked.append)
        tx.event_log.event("6ba7b810-9dad-41d1-80b4-00c04fd430c8")
        tx._connection.set_trace_callback(None)
        plans = [row[3] for sql in asked for row in tx.all(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(asked) == 3 and [plan for plan in plans if "SCAN" in plan] == []
    assert any("sync_events_uuid" in plan for plan in plans)
