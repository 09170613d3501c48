"""What a mount remembers beyond its own changes is what a fresh look finds, whoever changes what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import engines
from tests.rooms.core.drive import Drive
from tests.vaults import make_vault
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import KelpError, NotFound
from vfs.model import Caller, Kind, Level, OnConflict, Place
from vfs.operations import (
    committing,
    contents,
    drafting,
    folders,
    moving,
    posix,
    trashing,
    writing,
)
from vfs.operations.posix import Node

near = pytest.mark.skipif(engines.CHOSEN.database != "sqlite", reason="nothing is remembered where looks wait")

FOLDERS = ((), ("d",), ("d", "d"), ("sealed",))
NAMES = ("a", "aa", "d")
ALL = (1 << 31) - 1
LEVELS = (Level.NONE, Level.READ, Level.WRITE)


class Written:
    """What a draft has: all of it new."""

    limit = 0

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def is_written(self, start: int, stop: int) -> bool:
        return True

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        yield self._data[start:stop]


class World:
    """A folder of a drive, with folders in it, that two processes change. `kelp` is asked for what it remembers, which
    a third one looks up."""

    def __init__(
        self, kelp: Kelp, others: Kelp, witness: Kelp, admin: Caller, caller: Caller, tops: tuple[int, int]
    ) -> None:
        """`tops`: folders, the second one in a vault."""
        self.kelp, self.others, self.witness = kelp, others, witness
        self.admin, self.caller = admin, caller
        self.folders: dict[tuple[str, ...], int] = dict(zip(((), ("sealed",)), tops, strict=True))
        self.make(kelp, Place(tops[0], "a"), Place(0, ""))
        for path in (("d",), ("d", "d")):
            self.folders[path] = folders.make_folder(kelp, admin, Place(self.folders[path[:-1]], path[-1])).id
            self.make(kelp, Place(self.folders[path], "a"), Place(0, ""))
        self.ids = set(self.folders.values())
        self.removed: list[str] = []

    def node(self, kelp: Kelp, id: int) -> Node | None:
        try:
            return posix.node(kelp, self.caller, id)
        except NotFound:
            return None

    def child(self, kelp: Kelp, folder_id: int, name: str) -> Node | None:
        return posix.child(kelp, self.caller, folder_id, name, ahead=lambda folder_id: 2)

    def compare(self, asked: int = ALL) -> None:
        """By bits of `asked`: not everything, since what is asked for is remembered."""
        bits = count()
        for id in sorted(self.ids):
            if asked >> next(bits) % 31 & 1:
                assert self.node(self.kelp, id) == self.node(self.witness, id)
        for folder_id in self.folders.values():
            for name in NAMES:
                if asked >> next(bits) % 31 & 1:
                    found = self.child(self.kelp, folder_id, name)
                    assert found == self.child(self.witness, folder_id, name)
                    self.ids |= {found.id} if found else set()

    # --- changes ---

    def make(self, kelp: Kelp, place: Place, other: Place) -> None:
        drafting.create(kelp, self.admin, place, {"mode": 0o600}).hold.release()

    def write(self, kelp: Kelp, place: Place, other: Place) -> None:
        entry_id = self.there(place).id
        opened = drafting.open_file(kelp, self.admin, entry_id, write=True)
        draft = drafting.Draft(entry_id, place, opened.content, Written(b"12345"), kelp.clock.now_ns())
        committing.commit(kelp, self.admin, draft)
        opened.hold.release()

    def put(self, kelp: Kelp, place: Place, other: Place) -> None:
        writing.put_file(kelp, self.admin, place, contents.pieces(b"123"))

    def make_folder(self, kelp: Kelp, place: Place, other: Place) -> None:
        folders.make_folder(kelp, self.admin, place)

    def unlink(self, kelp: Kelp, place: Place, other: Place) -> None:
        trashing.remove(kelp, self.admin, place, only=Kind.FILE)

    def remove(self, kelp: Kelp, place: Place, other: Place) -> None:
        uuid = self.entry_uuid(self.there(place).id)
        trashing.remove(kelp, self.admin, place)
        self.removed.append(uuid)

    def restore(self, kelp: Kelp, place: Place, other: Place) -> None:
        if self.removed:
            trashing.restore(kelp, self.admin, self.removed.pop(0), on_conflict=OnConflict.RENAME)

    def move(self, kelp: Kelp, place: Place, other: Place) -> None:
        moving.move(kelp, self.admin, place, other, on_conflict=OnConflict.OVERWRITE)

    def set_mode(self, kelp: Kelp, place: Place, other: Place) -> None:
        posix.set_attributes(kelp, self.admin, self.there(place).id, mode=0o640, uid=5)

    def set_time(self, kelp: Kelp, place: Place, other: Place) -> None:
        posix.set_attributes(kelp, self.admin, place.folder_id, mtime_ns=1_600_000_000_000_000_000)

    def grant(self, kelp: Kelp, place: Place, other: Place) -> None:
        level = LEVELS[other.folder_id % 3]
        with kelp.database.write() as tx:
            tx.grants.put(place.folder_id, self.caller.user_id, None, level, 0)

    def there(self, place: Place) -> Node:
        found = posix.child(self.witness, self.admin, place.folder_id, place.name)
        if found is None:
            raise NotFound("nothing to change")
        return found

    def entry_uuid(self, id: int) -> str:
        with self.witness.database.read() as tx:
            return str(tx.one("SELECT uuid FROM entries WHERE id = :id", id=id)[0])


CHANGES: tuple[Callable[[World, Kelp, Place, Place], None], ...] = (
    *(World.make, World.make, World.write, World.unlink, World.unlink, World.remove, World.restore, World.move),
    *(World.put, World.make_folder, World.set_mode, World.set_time, World.grant),
)
CHANGE = st.sampled_from(CHANGES)
PLACE = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES))
HOW = st.sampled_from(("at once", "at once", "waiting", "waiting", "with another", "elsewhere"))
ASKED = st.sampled_from((0, ALL)) | st.integers(0, ALL)
STEP = st.tuples(HOW, CHANGE, PLACE, PLACE, ASKED)


def carry_out(
    world: World, how: str, change: Callable[[World, Kelp, Place, Place], None], here: Place, there: Place
) -> None:
    def run(kelp: Kelp, at: Place, other: Place) -> None:
        with suppress(KelpError):
            change(world, kelp, at, other)

    if how == "at once":
        world.kelp.database.at_once(partial(run, world.kelp, here, there))
    elif how == "with another":
        both = [threading.Thread(target=run, args=(world.kelp, *ways)) for ways in ((here, there), (there, here))]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    else:
        run(world.others if how == "elsewhere" else world.kelp, here, there)


@near
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_remembered_is_what_is_there(two: Callable[[str], World], data: st.DataObject) -> None:
    world = two(data.draw(st.sampled_from(("admin", "editor", "viewer"))))
    for how, change, here, there, asked in data.draw(st.lists(STEP, min_size=10, max_size=30)):
        places = [Place(world.folders[path], name) for path, name in (here, there)]
        carry_out(world, how, change, *places)
        world.compare(asked)
    world.compare()


@pytest.fixture
def two(drive: Drive) -> Iterator[Callable[[str], World]]:
    numbers = count()
    make_vault(drive.kelp, "vault")
    sealed = drive.folder("vault/all").id  # one for all: folders of vaults are mirrored one a second
    callers = {"admin": drive.admin, "editor": drive.editor, "viewer": drive.viewer}
    with (
        closing(build(drive.kelp.settings, clock=drive.clock)) as others,
        closing(build(drive.kelp.settings, clock=drive.clock)) as witness,
    ):

        def make(who: str) -> World:
            number = next(numbers)
            tops = drive.folder(f"top{number}").id, sealed
            world = World(drive.kelp, others, witness, drive.admin, callers[who], tops)
            drive.clock.advance(100)  # what is there is old enough for the trash
            return world

        yield make


@near
def test_nobody_else_in_between(two: Callable[[str], World]) -> None:
    world = two("admin")
    top = world.folders[()]
    world.compare()
    world.set_mode(world.others, Place(top, "a"), Place(top, "a"))
    world.unlink(world.kelp, Place(world.folders["d",], "a"), Place(top, "a"))
    world.compare()


@near
def test_another_one_has_the_name_of_what_is_known_to_be_gone(two: Callable[[str], World]) -> None:
    world = two("admin")
    here = Place(world.folders[()], "a")
    world.compare()
    for change in (world.unlink, world.make, world.unlink, world.put):
        change(world.kelp, here, here)
        world.compare()


@near
@pytest.mark.parametrize("path", [(), ("sealed",)])
def test_a_name_comes_where_nothing_was(two: Callable[[str], World], path: tuple[str, ...]) -> None:
    world = two("admin")
    for name in ("aa", "e", "ab", "Z"):
        place = Place(world.folders[path], name)
        world.child(world.kelp, *place)
        world.make(world.kelp, place, place)
        assert world.child(world.kelp, *place) == world.child(world.witness, *place)
        world.compare()


@near
def test_below_a_folder_that_goes_and_comes_back(two: Callable[[str], World]) -> None:
    world = two("admin")
    here = Place(world.folders[()], "d")
    world.compare()
    for change in (world.remove, world.restore, world.grant):
        change(world.kelp, here, here)
        world.compare()


@near
def test_a_folder_of_which_only_the_way_is_shown_has_no_times(two: Callable[[str], World]) -> None:
    world = two("editor")
    with world.kelp.database.write() as tx:
        for path, level in ((("d",), Level.NONE), (("d", "d"), Level.READ)):
            tx.grants.put(world.folders[path], world.caller.user_id, None, level, 0)
    world.compare()
    world.unlink(world.kelp, Place(world.folders["d",], "a"), Place(0, ""))
    world.compare()


@near
def test_what_is_remembered_is_not_looked_up(two: Callable[[str], World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = two("admin")
    top = world.folders[()]
    other = Place(top, "other")
    world.make(world.kelp, other, other)
    known, folder = world.child(world.kelp, top, "a"), world.node(world.kelp, top)
    assert known and folder and world.child(world.kelp, top, "p000") is None
    for number in range(3):
        place = Place(top, f"p{number:03}")
        for change in (world.make, world.set_mode, world.write):
            change(world.kelp, place, place)
        with monkeypatch.context() as patch:
            patch.delattr(type(world.kelp.database), "look")
            patch.delattr(type(world.kelp.database), "fresh")
            assert world.child(world.kelp, top, "a") == known
            assert world.child(world.kelp, top, f"p{number + 1:03}") is None
            now = world.node(world.kelp, top)
        assert now and now.mtime_ns > folder.mtime_ns and now == world.node(world.witness, top)
        folder = now


@near
def test_the_file_that_counts_changes_is_replaced_in_one(two: Callable[[str], World]) -> None:
    """By a copy of a moment before: numbers come again, and stand for other states."""
    world = two("admin")
    top = Place(world.folders[()], "a")
    known = world.there(top)
    file = world.kelp.settings.data / "kelp.changes"
    before = file.read_bytes()
    with world.kelp.database.write() as tx:
        tx.leaves_folders = True
        tx.entries.update(world.folders["d",])
        file.with_suffix(".copy").write_bytes(before)
        file.with_suffix(".copy").rename(file)
        until = time.monotonic() + 5
        while world.kelp.database.version() is None and time.monotonic() < until:  # then it has seen the other one
            time.sleep(0.05)
        assert world.node(world.kelp, known.id) == known
    world.set_mode(world.others, top, top)
    now = world.node(world.kelp, known.id)
    assert now is not None and now.mode == 0o640
