"""SQLite's log is emptied beside those who read and write, and what was deleted is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vfs.metadata.database import Database, Tx

LOG = "kelp.db-wal"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as database:
        yield database


def change(database: Database, value: str) -> None:
    with database.write() as tx:
        tx.accounts.set_value("said", value)


def said(tx: Tx) -> str | None:
    return tx.accounts.value("said")


def test_the_log_is_empty_and_the_file_has_what_is_now(database: Database, tmp_path: Path) -> None:
    for number in range(50):
        change(database, f"Plumfitzel {number}")
    change(database, "no more")
    assert b"Plumfitzel" in (tmp_path / LOG).read_bytes()
    assert database.empty_log() > 0
    assert (tmp_path / LOG).stat().st_size == 0 and database.empty_log() == 0
    assert b"Plumfitzel" not in (tmp_path / "kelp.db").read_bytes()
    with database.read() as tx:
        assert tx.one("PRAGMA secure_delete") == (1,)
        assert said(tx) == "no more"


def test_who_reads_for_long_is_waited_for_another_time(database: Database, tmp_path: Path) -> None:
    change(database, "before")
    with database.scan() as tx:
        assert said(tx) == "before"
        for number in range(3):  # nothing is remembered of the time before
            change(database, f"meanwhile {number}")
            assert database.empty_log() == 0
            assert said(tx) == "before"
    change(database, "after")
    assert database.empty_log() > 0
    with database.write() as tx:
        assert tx.one("PRAGMA busy_timeout") == (30_000,) and said(tx) == "after"
