"""The ways to folders that changes at once remember are those that there are, whoever changes what."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import engines, waiting
from tests.rooms.core.drive import Drive
from tests.rooms.core.test_remembered_nodes import STEP, World, carry_out, near
from tests.services.child import bound_to_parent
from tests.vaults import make_vault
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.metadata.entries import Entries
from vfs.metadata.way_memory import Way
from vfs.model import Kind, Place
from vfs.operations import drafting, trashing


def asked_in_a_change(kelp: Kelp, folder_id: int, *, leaves_folders: bool = True) -> Way | None:
    def look() -> Way | None:
        with kelp.database.write() as tx:
            tx.leaves_folders = leaves_folders
            found = tx.entries.way_to_folder(folder_id)
            tx.entries.update(folder_id)  # one that changes nothing is no commit
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


def taken_away_by_a_tool(drive: Drive, world: World) -> None:
    """… and brought back: in between the way through it leads nowhere."""
    file = str(drive.kelp.settings.database.url).removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as tool:
        sql = "UPDATE entries SET state = ? WHERE id = ?"
        tool.execute(sql, ("DELETED", world.folders["d",]))
        assert asked_in_a_change(world.kelp, world.folders["d", "d"]) is None
        tool.execute(sql, ("ACTIVE", world.folders["d",]))


@near
def test_another_program_takes_a_folder_away(worlds: Callable[[], World], drive: Drive) -> None:
    """Somebody who knows what he does, with SQLite's own tool: nobody counts that."""
    world = worlds()
    compare(world)
    taken_away_by_a_tool(drive, world)


@near
def test_another_program_comes_after_a_change_that_writes_nothing(worlds: Callable[[], World], drive: Drive) -> None:
    """SQLite counts no commit then, so the program's would be the one that was to come."""
    world = worlds()
    compare(world)
    for _ in range(2):  # the second finds the value that it sets
        with world.kelp.database.write() as tx:
            tx.leaves_folders = True
            tx.accounts.set_value("asked", "twice")
    taken_away_by_a_tool(drive, world)


@contextmanager
def moving_folders(drive: Drive, folder_id: int) -> Iterator[None]:
    """In another process, which is killed at the end, wherever it is."""
    data = drive.kelp.settings.data
    words = ["-m", "tests.rooms.core.moving_folders", str(data), str(folder_id), str(drive.admin.user_id)]
    environ = {**os.environ, **engines.environ_of(data), "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(bound_to_parent([sys.executable, *words], signal.SIGKILL), env=environ)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@near
def test_beside_a_process_that_moves_folders_until_it_is_killed(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    top, _, folder_id = (drive.folder(path).id for path in ("top", "top/d", "top/d/inside"))
    real, found = Entries.way_to_folder, Counter[object]()

    def compared(self: Entries, id: int) -> Way | None:
        known = id in (self._tx.ways or ())
        way = real(self, id)
        assert way == self._way_to_folder(id)
        found["remembered" if known else way] += 1
        return way

    def make_and_remove(number: int) -> None:
        place = Place(folder_id, f"f{number}")
        for change in (
            lambda: drafting.create(drive.kelp, drive.admin, place, {}).hold.release(),
            lambda: trashing.remove(drive.kelp, drive.admin, place, only=Kind.FILE),
        ):
            with suppress(KelpError):  # the folder is away, or was before the last one was removed
                if drive.kelp.database.at_once(change) is None:
                    change()

    def enough() -> bool:
        for number in range(20):
            make_and_remove(number)
        return found["remembered"] > 30 and found[None] > 3 and len(found) > 3

    monkeypatch.setattr(Entries, "way_to_folder", compared)
    for _ in range(2):
        found.clear()
        with moving_folders(drive, top):
            waiting.until(enough)


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
