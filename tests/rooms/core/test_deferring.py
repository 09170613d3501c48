"""Changes that need not be durable by themselves are never mixed with those that must be."""

from __future__ import annotations

import threading
from itertools import count

from tests import engines
from tests.rooms.core.drive import Drive
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID, Place
from vfs.operations import folders

_numbers = count()
_SQLITE = engines.CHOSEN.database == "sqlite"


def _is_synced(tx: Tx) -> bool:
    """What the engine itself says of the transaction's commit. SQLite answers this pragma when it compiles it, so each
    time it is another text."""
    if _SQLITE:
        return int(tx.one(f"PRAGMA synchronous -- {next(_numbers)}")[0]) == 2  # FULL
    return str(tx.one("SHOW synchronous_commit")[0]) == "on"


def _changed(drive: Drive) -> bool:
    with drive.kelp.database.write() as tx:
        return _is_synced(tx)


def test_only_what_is_made_inside_is_not_synced(drive: Drive) -> None:
    assert _changed(drive)
    for _ in range(3):
        with drive.kelp.database.deferring():
            assert not _changed(drive)
        assert _changed(drive)


def test_a_server_that_can_die_alone_keeps_what_is_made(drive: Drive) -> None:
    with drive.kelp.database.deferring():
        with drive.kelp.database.deferring(makes=True):
            assert _changed(drive) != _SQLITE
        assert not _changed(drive)
    assert _changed(drive)


def test_everybody_sees_it_at_once(drive: Drive) -> None:
    with drive.kelp.database.deferring():
        folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "early"))
    assert "early" in drive.names()
    drive.kelp.database.sync()
    drive.kelp.database.sync()
    assert "early" in drive.names()


def test_who_must_be_synced_never_shares_a_commit_that_is_not(drive: Drive) -> None:
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(20):
            if (number + turn) % 2:
                with drive.kelp.database.deferring():
                    folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, f"{number}-{turn}"))
            else:
                with drive.kelp.database.write() as tx:
                    tx.folder_versions.bump({ROOT_ID})
                    if not _is_synced(tx):
                        wrong.append(f"{number}-{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(drive.names()) == 60
    assert _changed(drive)
