"""The database: its schema is the one described, its transactions are whole, its views tell the truth."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import sqlite3
import weakref
from pathlib import Path

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.rooms.core.drive import Drive
from vfs import turns
from vfs.errors import ConfigurationError
from vfs.metadata import name_memory, schema
from vfs.metadata.database import Database
from vfs.metadata.seals import Seals


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'kelp.db'}"


def test_migrations_lead_to_the_described_schema(tmp_path: Path) -> None:
    Database(url(tmp_path)).close()
    engine = sa.create_engine(url(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        made = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall())
        assert {name: sql.partition(" AS ")[2].split() for name, sql in made.items()} == {
            name: select.split() for name, select in schema.VIEWS.items()
        }
        assert context.get_current_revision() == schema.REVISION
    engine.dispose()


def make_at(folder: Path, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database as this revision made it."""
    upgrade = alembic.command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr("alembic.command.upgrade", lambda config, _: upgrade(config, revision))
        Database(url(folder)).close()


def test_a_database_of_the_first_revision_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_at(tmp_path, "0001", monkeypatch)
    with contextlib.closing(sqlite3.connect(tmp_path / "kelp.db")) as first:
        sql = "INSERT INTO contents (id, size, checksum, sha1, parts, created_ns) VALUES (?, 0, 'c', ?, 0, 1)"
        first.executemany(sql, [("told", "ab12"), ("untold", None)])
        first.commit()
    database = Database(url(tmp_path))
    with database.read() as tx:
        assert dict(tx.all("SELECT id, digests FROM contents")) == {"told": "SHA1:ab12", "untold": None}
    database.close()
    test_migrations_lead_to_the_described_schema(tmp_path)


def test_names_that_were_left_are_remembered_by_the_next_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_at(tmp_path, "0008", monkeypatch)
    left = [(1, "b", 2, 30, 4), (1, "a", 0, 31, 5), (7, "a", 3, 32, 6)]
    with contextlib.closing(sqlite3.connect(tmp_path / "kelp.db")) as before:
        before.executemany("INSERT INTO name_memory VALUES (?, ?, ?, ?, ?)", left)
        before.commit()
    database = Database(url(tmp_path))
    with database.read() as tx:
        assert sorted(tx.all("SELECT * FROM name_memory")) == sorted(left)
        assert tx.name_memory.recall(7, "a") == (3, 32, 6)
    database.close()


def test_events_and_history_are_the_same_in_the_next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_at(tmp_path, "0009", monkeypatch)
    old = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    with contextlib.closing(sqlite3.connect(tmp_path / "kelp.db")) as before:
        event = """INSERT INTO sync_events (id, uuid, event_type, status, aggregate_type, aggregate_id, trace_id,
                                            scheduled_ns, litter, created_ns)
                   VALUES (?, ?, 'SYNC', 'DONE', 'FOLDER', 1, 't', 2, 0, 3)"""
        before.executemany(event, [(5, old), (8, "last")])
        before.execute("DELETE FROM sync_events WHERE id = 8")
        before.execute("INSERT INTO file_events VALUES (7, 1, 'write', NULL, 'dav', 'd', 't', 9)")
        before.execute("INSERT INTO changes VALUES (11, NULL, 1)")
        before.commit()
        rows = {
            name: before.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("sync_events", "file_events", "changes")
        }
    with contextlib.closing(Database(url(tmp_path))) as database, database.write() as tx:
        rows["file_events"] = [(*row, 0) for row in rows["file_events"]]
        assert {name: tx.all(f"SELECT * FROM {name}") for name in rows} == rows
        assert tx.events.by_uuid(old) == (1, "DONE")
        assert tx.one("PRAGMA integrity_check") == ("ok",) and tx.all("PRAGMA foreign_key_check") == []
        assert tx.events.number() == 9
        assert "AUTOINCREMENT" not in "".join(tx.one("SELECT sql FROM sqlite_master WHERE name = 'sync_events'"))
    test_migrations_lead_to_the_described_schema(tmp_path)


def test_of_the_names_that_it_asked_for_a_transaction_keeps_some(drive: Drive) -> None:
    """A copy of a whole tree asks for each of its files."""
    with drive.kelp.database.read() as tx:
        memory = tx.name_memory
        for number in range(3000):
            assert memory.recall(1, f"{number}") is None and len(memory._recalled) <= name_memory._MOST


def open_and_close(folder: str) -> None:
    Database(url(Path(folder))).close()


def test_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    starting = [fork.Process(target=open_and_close, args=(str(tmp_path),)) for _ in range(2)]
    for process in starting:
        process.start()
    for process in starting:
        process.join(60)
    assert [process.exitcode for process in starting] == [0, 0]
    database = Database(url(tmp_path))
    with database.read() as tx:
        assert tx.one("SELECT COUNT(*) FROM entries") == (1,)
    database.close()


def test_a_newer_database_is_refused_in_one_line(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    with database.write() as tx:
        tx.run("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(ConfigurationError, match="9999") as caught:
        Database(url(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", ["nonsense", "postgresql://host/db", "sqlite://", "sqlite:////proc/none/kelp.db"])
def test_what_is_no_database_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError):
        Database(bad)


def test_an_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))  # Ubuntu 22.04
    with pytest.raises(ConfigurationError, match="SQLite 3"):
        Database(f"sqlite:///{tmp_path / 'kelp.db'}")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kelp.db").write_bytes(b"some other file" * 100)
    with pytest.raises(ConfigurationError):
        Database(url(tmp_path))


def test_an_error_rolls_back_and_runs_nothing_afterwards(drive: Drive) -> None:
    done: list[str] = []
    with pytest.raises(KeyError), drive.kelp.database.write() as tx:
        tx.accounts.set_value("x", "1")
        tx.after_commit(lambda: done.append("never"))
        raise KeyError
    with drive.kelp.database.write() as tx:
        assert tx.accounts.value("x") is None
        tx.accounts.set_value("x", "2")
        tx.after_commit(lambda: done.append(drive.sql("SELECT value FROM installation WHERE name = 'x'")[0][0]))
        assert done == []
    assert done == ["2"]


def test_a_reader_keeps_its_snapshot(drive: Drive) -> None:
    with drive.kelp.database.read() as tx:
        before = tx.one("SELECT COUNT(*) FROM entries")
        drive.put("a")
        assert tx.one("SELECT COUNT(*) FROM entries") == before


def test_the_views_show_what_the_seeds_name(drive: Drive) -> None:
    drive.folder("f")
    big = drive.put("f/big", b"x" * (8 * 1024 * 1024 + 1))
    drive.put("f/alone")
    drive.folder("gone")
    drive.put("gone/x")
    uuids = {path: drive.entry(path).uuid for path in ("f", "f/big", "f/alone", "gone", "gone/x")}
    drive.clock.advance(100)
    drive.remove("f/alone")
    drive.remove("f")
    drive.remove("gone")
    with drive.kelp.database.write() as tx:  # purged: the row below is marked by a batch, the view knows it now
        tx.run("UPDATE entries SET state = 'DELETED' WHERE name = 'gone'")
        tx.run("DELETE FROM trash_metadata WHERE original_path = '/gone'")
    files = {row[0]: row for row in drive.sql("SELECT id, folder_id, name, size_bytes, state FROM files")}
    folders = dict(drive.sql("SELECT id, state FROM folders WHERE parent_id IS NOT NULL"))
    assert folders == {uuids["f"]: "TRASHED", uuids["gone"]: "DELETED"}
    assert {files[uuids[path]][2:] for path in ("f/big", "f/alone", "gone/x")} == {
        ("big", big.size, "TRASHED"),
        ("alone", 4, "TRASHED"),
        ("x", 4, "DELETED"),
    }
    stored = drive.sql(
        "SELECT storage_type, availability_status FROM file_storage_objects WHERE file_id = :id ORDER BY 1", id=big.uuid
    )
    assert stored == [("CACHE", "AVAILABLE")] * 2 + [("NAS", "SYNCING")]
    assert len(drive.sql("SELECT * FROM folder_storage_objects")) == 3


def test_a_transaction_leaves_nothing_to_the_collector_of_garbage(tmp_path: Path) -> None:
    with contextlib.closing(Database(url(tmp_path))) as database:
        gc.disable()
        try:
            with database.read() as tx:
                tx.entries.get(1)
                read = weakref.ref(tx)
            with database.write() as tx:
                tx.entries.update(1)
                written = weakref.ref(tx)
            del tx
            assert read() is None and written() is None
        finally:
            gc.enable()


def entry_version(database: Database) -> int:
    with database.read() as tx:
        return int(tx.one("SELECT version FROM entries WHERE id = 1")[0])


@pytest.mark.parametrize("is_refused", [False, True])
def test_what_a_change_has_half_read_keeps_nobody_at_an_old_state(tmp_path: Path, is_refused: bool) -> None:
    with contextlib.closing(Database(url(tmp_path))) as database, contextlib.closing(Database(url(tmp_path))) as other:
        with database.write() as tx:
            for number in range(1000):
                tx.properties.put(1, str(number), "x")
        with contextlib.suppress(KeyError), database.write() as tx:
            rows = tx.each("SELECT * FROM dav_properties")  # kept, as by the frames of a refusal
            next(rows)
            if is_refused:
                raise KeyError
        before = entry_version(database)
        with other.write() as tx:
            tx.entries.update(1)
        assert entry_version(database) == before + 1
        with database.write() as tx:
            tx.entries.update(1)
        assert entry_version(other) == before + 2


def test_a_change_that_cannot_begin_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with contextlib.closing(Database(url(tmp_path))) as database:
        with monkeypatch.context() as patch:
            patch.setattr(Seals, "share_commit", interrupted)
            with pytest.raises(KeyboardInterrupt), database.write():
                pass
        assert not turns._turn.locked()
        with database.write() as tx:
            tx.entries.update(1)
        assert entry_version(database) == 2
