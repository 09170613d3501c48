"""Whether there is anything to sync is told without waiting, and never too soon."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests import engines
from tests.rooms.core.drive import Drive
from vfs.errors import StoreUnavailable
from vfs.metadata.database import Database
from vfs.metadata.wal_file import WalFile
from vfs.model import ROOT_ID, Place
from vfs.operations import folders


def synced(database: Database) -> bool:
    return database.is_synced


def test_what_is_deferred_is_unsynced_until_somebody_syncs(drive: Drive) -> None:
    database = drive.kelp.database
    database.sync()
    assert synced(database)
    with database.deferring():
        folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "early"))
    assert not synced(database)
    database.sync()
    assert synced(database)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    if engines.CHOSEN.database != "sqlite":
        pytest.skip("a server has its own log")
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as database:
        yield database


def change(database: Database, word: str) -> None:
    with database.deferring(), database.write() as tx:
        tx.accounts.set_value("said", word)


def test_a_sync_that_fails_leaves_all_to_the_next(database: Database, tmp_path: Path) -> None:
    change(database, "said")
    log, aside = tmp_path / "kelp.db-wal", tmp_path / "aside"
    log.rename(aside)
    log.symlink_to(log)  # what cannot be opened
    with pytest.raises(StoreUnavailable):
        database.sync()
    assert not synced(database)
    log.unlink()
    aside.rename(log)
    database.sync()
    assert synced(database)


def fail(database: Database, log: Path) -> None:
    """A sync of what was committed, by a disk that has a fault just now."""
    aside = log.with_name("aside")
    log.rename(aside)
    log.symlink_to(log)
    with pytest.raises(StoreUnavailable):
        database.sync()
    log.unlink()
    aside.rename(log)


def test_after_a_fault_the_log_is_written_anew(database: Database, tmp_path: Path) -> None:
    """The system tells a fault once; the sync after it proves nothing of what was written before."""
    log = tmp_path / "kelp.db-wal"
    change(database, "first")
    fail(database, log)
    os.utime(log, ns=(0, 0))
    before = log.read_bytes()
    database.sync()
    assert synced(database) and log.read_bytes() == before
    assert log.stat().st_mtime_ns > 0
    change(database, "second")
    os.utime(log, ns=(0, 0))
    database.sync()
    assert synced(database) and log.stat().st_mtime_ns == 0  # it is trusted again


def test_nobody_writes_to_the_log_while_it_is_written_anew(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "kelp.db-wal"
    change(database, "said")
    fail(database, log)
    os.utime(log, ns=(0, 0))
    syncing = threading.Thread(target=database.sync)
    with closing(sqlite3.connect(tmp_path / "kelp.db", isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        syncing.start()
        syncing.join(0.2)
        assert syncing.is_alive() and log.stat().st_mtime_ns == 0
        another.execute("ROLLBACK")
        syncing.join()
    assert synced(database) and log.stat().st_mtime_ns > 0


def test_what_a_killed_process_has_committed_is_synced_by_the_next(database: Database, tmp_path: Path) -> None:
    """Its mount is started again, and who removed a file before syncs the folder now."""
    database.sync()
    change(database, "said")
    with closing(Database(f"sqlite:///{tmp_path / 'kelp.db'}")) as another:
        assert not synced(another)
        another.sync()
        assert synced(another)


def has_open(file: Path) -> bool:
    wanted = file.stat()
    for handle in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            if os.path.samestat(os.stat(f"/proc/self/fd/{handle}"), wanted):
                return True
    return False


def test_the_log_that_is_there_is_synced_also_when_it_is_another(tmp_path: Path) -> None:
    log, file = tmp_path / "kelp.db-wal", WalFile(tmp_path / "kelp.db")
    with closing(file):
        file.sync()  # none is there: all is in the file
        for number in range(2):
            log.write_bytes(b"%d" % number)
            file.sync()
            assert has_open(log)
            log.unlink()
        file.sync()
        log.write_bytes(b"")
        assert not has_open(log)
