"""How often an operation waits for the database: what a server in another rack makes slow (design §8)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import Nodes
from tests.vaults import make_vault
from vfs.metadata.postgres_tx import PostgresTx
from vfs.model import Place, Scope
from vfs.operations import folders, locking, moving, reading, trashing, writing


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last statement of each round trip of any transaction of this thread."""
    seen: list[str] = []
    here = threading.get_ident()
    ask = PostgresTx._ask

    def counted(tx: PostgresTx, statement: tuple[str, list[object]]) -> Any:
        if threading.get_ident() == here:
            seen.append(statement[0])
        return ask(tx, statement)

    monkeypatch.setattr(PostgresTx, "_ask", counted)
    return seen


def put(drive: Drive, name: str, seen: bool) -> None:
    entry = drive.entry(name) if seen else None
    place = Place(1, name)
    writing.put_file(drive.kelp, drive.editor, place, [b"x"], expected=writing.Expected(length=1), seen=entry)


def remove(drive: Drive, name: str) -> None:
    trashing.remove(drive.kelp, drive.editor, Place(1, name), seen=drive.entry(name))


def lock_and_unlock(drive: Drive) -> None:
    taken = locking.lock(drive.kelp, drive.editor, Place(1, "a"), scope=Scope.EXCLUSIVE, infinite=True, owner="")
    locking.unlock(drive.kelp, drive.editor, taken.entry.id, taken.lock.token)


CASES: dict[str, tuple[int, Callable[[Drive], object]]] = {
    "put of a new name": (2, lambda drive: put(drive, "new", seen=False)),
    "put over a file": (3, lambda drive: put(drive, "a", seen=True)),  # one of them finds what is there
    "look up a path": (1, lambda drive: reading.resolve(drive.kelp, drive.editor, ("f", "g"))),
    "list a folder": (2, lambda drive: list(reading.list_folder(drive.kelp, drive.editor, 1))),
    "make a folder": (3, lambda drive: folders.make_folder(drive.kelp, drive.editor, Place(1, "made"))),
    "move a file": (4, lambda drive: moving.move(drive.kelp, drive.editor, Place(1, "a"), Place(1, "b"))),
    "remove a file": (3, lambda drive: remove(drive, "a")),  # one of them finds it
    "lock and unlock": (5, lock_and_unlock),
}


@pytest.mark.parametrize("case", CASES)
def test_round_trips(nodes: Nodes, trips: list[str], case: str) -> None:
    drive = nodes.a
    drive.put("a")
    drive.folder("f")
    drive.folder("f/g")
    most, work = CASES[case]
    trips.clear()
    work(drive)
    assert len(trips) <= most, trips


IN_A_VAULT: dict[str, tuple[int, Callable[[Drive, int], object]]] = {
    "put of a new name": (4, lambda drive, id: put_in(drive, id, "new")),
    "put over a file": (5, lambda drive, id: put_in(drive, id, "a")),
    "make a folder": (4, lambda drive, id: folders.make_folder(drive.kelp, drive.editor, Place(id, "made"))),
    "rename a folder": (5, lambda drive, id: moving.move(drive.kelp, drive.editor, Place(id, "f"), Place(id, "g"))),
}


def put_in(drive: Drive, folder_id: int, name: str) -> None:
    writing.put_file(drive.kelp, drive.editor, Place(folder_id, name), [b"x"])


@pytest.mark.parametrize("case", IN_A_VAULT)
def test_round_trips_in_a_vault(nodes: Nodes, trips: list[str], case: str) -> None:
    """What the NAS shall say is sealed in the same change: that costs one more, and the key one every few seconds."""
    drive = nodes.a
    vault = make_vault(drive.kelp, "vault")
    drive.put("vault/a")
    drive.folder("vault/f")
    drive.clock.advance(10)  # then what is there becomes a version
    most, work = IN_A_VAULT[case]
    trips.clear()
    work(drive, vault.id)
    assert len(trips) <= most, trips


def test_a_moment_asks_for_the_version_once(nodes: Nodes, trips: list[str]) -> None:
    """A request for what nobody changed: one round trip, which `trips` does not see since it is no transaction's."""
    drive = nodes.a
    drive.put("a")
    reading.resolve(drive.kelp, drive.editor, ("a",))
    trips.clear()
    with reading.moment(drive.kelp):
        assert reading.resolve(drive.kelp, drive.editor, ("a",)).entry is not None
    assert trips == []
    nodes.b.put("b")
    trips.clear()
    with reading.moment(drive.kelp):
        assert reading.resolve(drive.kelp, drive.editor, ("b",)).entry is not None
    assert len(trips) == 1
