"""How many statements a change of a small file is on SQLite, where each costs some microseconds: they grow unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

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
    drive.damage("DELETE FROM sync_events")
    drive.put("b")
    assert drive.sql("SELECT MIN(id) FROM sync_events")[0][0] > newest
