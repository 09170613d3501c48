"""The ways to folders that changes at once remember are those that there are, whoever changes what."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rooms.core.drive import Drive
from tests.rooms.core.test_remembered_nodes import STEP, World, carry_out, near
from tests.vaults import make_vault
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.metadata.entries import Entries
from vfs.metadata.way_memory import Way
from vfs.model import Place
from vfs.operations import trashing


def asked_in_a_change(kelp: Kelp, folder_id: int, *, leaves_folders: bool = True) -> Way | None:
    def look() -> Way | None:
        with kelp.database.write() as tx:
            tx.leaves_folders = leaves_folders
            found = tx.entries.way_to_folder(folder_id)
            tx.accounts.set_value("asked", str(folder_id))  # one that changes nothing is no commit
            return found

    done = kelp.database.at_once(look)
    return look() if done is None else done[0]  # the log was to begin anew, or to be brought into the file


def unlinked(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(bytes(16))
    other.rename(file)


def looked_up(world: World, folder_id: int) -> Way | None:
    with world.witness.database.read() as tx:
        return tx.entries.way_to_folder(folder_id)


def compare(world: World) -> None:
    for folder_id in world.folders.values():
        assert asked_in_a_change(world.kelp, folder_id) == looked_up(world, folder_id)


@pytest.fixture
def worlds(drive: Drive) -> Iterator[Callable[[], World]]:
    numbers = count()
    with (
        closing(build(drive.kelp.settings, clock=drive.clock)) as others,
        closing(build(drive.kelp.settings, clock=drive.clock)) as witness,
    ):

        def make() -> World:
            number = next(numbers)
            tops = drive.folder(f"top{number}").id, drive.folder(f"another{number}").id
            return World(drive.kelp, others, witness, drive.admin, drive.admin, tops)

        yield make


@near
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_they_are_what_is_there(worlds: Callable[[], World], data: st.DataObject) -> None:
    world = worlds()
    for how, change, here, there, asked in data.draw(st.lists(STEP, min_size=10, max_size=30)):
        carry_out(world, how, change, *(Place(world.folders[path], name) for path, name in (here, there)))
        if asked:
            compare(world)
    compare(world)


@near
def test_while_folders_stay_they_are_not_looked_up(
    worlds: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds()
    folder_id = world.folders["d", "d"]
    known = asked_in_a_change(world.kelp, folder_id)
    assert known is not None and known.path[1:] == ("d", "d") and known.chain[0] == folder_id
    with monkeypatch.context() as patch:
        patch.delattr(Entries, "_way_to_folder")
        place = Place(folder_id, "a")
        for change in (world.unlink, world.make, world.set_mode):
            assert world.kelp.database.at_once(partial(change, world.kelp, place, place)) is not None
        assert asked_in_a_change(world.kelp, folder_id) == known
    asked_in_a_change(world.kelp, folder_id, leaves_folders=False)
    monkeypatch.delattr(Entries, "_way_to_folder")
    with pytest.raises(AttributeError):
        asked_in_a_change(world.kelp, folder_id)


@near
def test_another_process_takes_a_folder_away(worlds: Callable[[], World]) -> None:
    world = worlds()
    compare(world)
    trashing.remove(world.others, world.admin, Place(world.folders[()], "d"), only=None)
    assert asked_in_a_change(world.kelp, world.folders["d", "d"]) is None
    compare(world)


@pytest.mark.parametrize("then", [unlinked, replaced, lambda file: None])
@near
def test_another_process_counts_elsewhere(
    worlds: Callable[[], World], drive: Drive, then: Callable[[Path], object]
) -> None:
    """A file of which there is a second name looks for a second as if it were still the one that all others use."""
    world = worlds()
    compare(world)
    drive_file = Path(str(drive.kelp.settings.database.url).removeprefix("sqlite:///"))
    counts = drive_file.with_suffix(".changes")
    counts.with_name("kept").hardlink_to(counts)
    then(counts)
    with closing(build(drive.kelp.settings, clock=drive.clock)) as late:
        trashing.remove(late, world.admin, Place(world.folders[()], "d"), only=None)
        assert asked_in_a_change(world.kelp, world.folders["d", "d"]) is None
    compare(world)


@near
def test_another_program_takes_a_folder_away(worlds: Callable[[], World], drive: Drive) -> None:
    """Somebody who knows what he does, with SQLite's own tool: nobody counts that."""
    world = worlds()
    compare(world)
    file = str(drive.kelp.settings.database.url).removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as tool:
        sql = "UPDATE entries SET state = ? WHERE id = ?"
        tool.execute(sql, ("DELETED", world.folders["d",]))
        assert asked_in_a_change(world.kelp, world.folders["d", "d"]) is None
        tool.execute(sql, ("ACTIVE", world.folders["d",]))


@near
def test_on_a_drive_with_a_vault_they_are_not_remembered(
    worlds: Callable[[], World], drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds()
    compare(world)
    make_vault(drive.kelp, "vault")
    place = Place(drive.folder("vault/inside").id, "")
    for _ in range(2):
        way = asked_in_a_change(world.kelp, place.folder_id)
        assert way is not None and way.path == ("vault", "inside")
    monkeypatch.delattr(Entries, "_way_to_folder")
    with pytest.raises(AttributeError):
        asked_in_a_change(world.kelp, place.folder_id)
