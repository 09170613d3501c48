"""Transactions that wait, or rest, for longer than they may."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import PATIENCE, Nodes, eventually, open_drive, outcome, race, raw
from vfs.errors import ConfigurationError, StoreUnavailable
from vfs.metadata import hung, postgresql
from vfs.metadata.database import Database
from vfs.metadata.postgres_tx import KELP
from vfs.model import ROOT_ID
from vfs.operations import reading


def test_who_waits_for_two_locks_does_not_make_others_distrust_the_server(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait is shorter than a lock's time-out, both together longer than a round trip may take."""
    entry = nodes.a.put("a", b"1")
    with race(nodes.url) as at_once, raw(nodes.url) as tree, raw(nodes.url) as row, row.transaction():
        row.execute("SELECT 1 FROM entries WHERE id = %s FOR UPDATE", (entry.id,))
        with monkeypatch.context() as patch:
            patch.setattr(postgresql, "LONGEST_STATEMENT", 3.0)  # as long as a busy machine needs to begin to wait
            with tree.transaction():
                tree.execute("SELECT pg_advisory_xact_lock(%s, 1)", (KELP,))
                put = at_once.start_waiting(nodes.a.put, "a", b"2")
            monkeypatch.setattr(hung, "_DISTRUST", 2 * PATIENCE)  # ends when it is seen to live, not by itself
            assert isinstance(outcome(put), StoreUnavailable)
        assert eventually(partial(names, nodes.a)) == ["a"]
    assert nodes.a.read("a") == b"1"


def names(drive: Drive) -> list[str] | None:
    """None while the server is not trusted."""
    try:
        return drive.names()
    except StoreUnavailable:
        return None


def test_a_transaction_that_rested_for_too_long_is_unavailable(drive: Drive) -> None:
    with pytest.raises(StoreUnavailable), drive.kelp.database.scan() as tx:
        tx.run("SET LOCAL idle_in_transaction_session_timeout = 100")
        tx.one("SELECT 1")
        tx.one("SELECT 2")
        for _ in range(100):  # the server may be busy with others when it is time
            time.sleep(0.5)
            tx.one("SELECT 3")
    assert drive.names() == []


def test_a_server_that_only_reads_is_unavailable(nodes: Nodes) -> None:
    """A primary that became a standby, or is kept from changes."""
    with pytest.raises(StoreUnavailable), nodes.a.kelp.database.write() as tx:
        tx.run("SET TRANSACTION READ ONLY")
        tx.accounts.set_value("x", "y")
        tx.flush()  # type: ignore[attr-defined]
    name = nodes.url.rpartition("/")[2]
    with raw(nodes.url) as beside:
        beside.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="read-only"):
        Database(nodes.url)


def test_listings_that_nobody_takes_keep_no_connection(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that ask for a long listing and do not read the answer."""
    monkeypatch.setattr(reading, "_AT_ONCE", 2)
    drive = open_drive(nodes.url, tmp_path, nodes.a.clock, connections=2, timeout=0.5)
    for n in range(6):
        drive.put(f"n{n}")
    slow = [reading.list_folder(drive.kelp, drive.admin, ROOT_ID) for _ in range(5)]
    begun = [[next(each).name for _ in range(3)] for each in slow]
    drive.put("new")
    assert len(drive.names()) == 7
    for names, each in zip(begun, slow, strict=True):
        assert [*names, *(row.name for row in each)] == [f"n{n}" for n in range(6)]
    drive.kelp.close()
