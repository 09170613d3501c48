"""Check, repair and scrub beside people and the mirror at work: they find nothing, and disturb nobody."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jobs import mirror
from tests.rooms.core import planted
from tests.rooms.core.drive import Drive
from vfs.bootstrap import build
from vfs.errors import KelpError
from vfs.operations import checking, evicting, mirroring, restoring, scrubbing
from vfs.storage.object_store import ObjectInfo

STEPS = 60
UNDER_WAY = ("event still", "foreign on the NAS")  # what is not carried, or not recorded yet, is nothing worse


class Person:
    """Works in a folder of his own, and remembers what he wrote there."""

    def __init__(self, drive: Drive, number: int) -> None:
        self.drive, self.folder = drive, f"p{number}"
        self.files: dict[str, bytes] = {}
        self._chosen = random.Random(number)
        drive.folder(self.folder)

    def work(self) -> None:
        for step in range(STEPS):
            name = self._chosen.choice([*self.files, f"n{step}"])
            act = self._chosen.choice([self._put, self._put, self._move, self._remove, self._rename_folder])
            act(name)

    def _put(self, name: str) -> None:
        self.files[name] = self._chosen.randbytes(self._chosen.choice([0, 10, 5000, 200_000]))
        self.drive.put(f"{self.folder}/{name}", self.files[name])

    def _move(self, name: str) -> None:
        if name in self.files:
            self.drive.move(f"{self.folder}/{name}", f"{self.folder}/{name}m")
            self.files[f"{name}m"] = self.files.pop(name)

    def _remove(self, name: str) -> None:
        if name in self.files:
            self.drive.remove(f"{self.folder}/{name}")
            del self.files[name]

    def _rename_folder(self, _: str) -> None:
        self.drive.move(self.folder, f"{self.folder}x")
        self.folder += "x"


def until(over: threading.Event, action: Callable[[], object]) -> None:
    while not over.is_set():
        action()


def carry(drive: Drive) -> None:
    mirror.drain(drive.kelp, "beside")
    mirroring.sweep(drive.kelp)
    drive.clock.advance(0.3)


@pytest.mark.parametrize("how", ["check", "repair", "check that all is mirrored"])
def test_it_finds_no_damage_while_all_work(drive_with: Callable[..., Drive], how: str) -> None:
    drive = drive_with(scrub_rate=2**40, mirror_delay=0)
    planted.make_sound(drive)
    people = [Person(drive, number) for number in range(2)]
    over = threading.Event()
    found: list[checking.Problem] = []

    def check() -> None:
        mirrored = how.endswith("mirrored")
        report = checking.check(drive.kelp, mirrored=mirrored, repair=how == "repair")
        told = [*report.problems, *report.repaired]
        found.extend(each for each in told if not (mirrored and each.kind.startswith(UNDER_WAY)))

    rounds: list[scrubbing.Progress] = []

    def scrub() -> None:
        scrubbing.run(drive.kelp, 0.2)
        at = scrubbing.progress(drive.kelp)
        rounds.append(at)
        if at.stage == "rest":  # once more, though it is not time for it: objects must not look old
            with drive.kelp.database.write() as tx:
                tx.run("DELETE FROM installation WHERE name = 'scrub'")

    with ThreadPoolExecutor(8) as pool:
        beside: list[Future[None]] = [
            pool.submit(until, over, action) for action in (lambda: carry(drive), check, scrub)
        ]
        try:
            for done in [pool.submit(person.work) for person in people]:
                done.result()
        finally:
            over.set()
        for done in beside:
            done.result()
    assert found == [] and {(at.repaired, at.left, at.changed) for at in rounds} == {(0, 0, 0)}
    for person in people:
        assert {name: drive.read(f"{person.folder}/{name}") for name in person.files} == person.files


def test_what_is_evicted_and_restored_meanwhile_is_no_damage(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(cache_limit="1", cache_publish=0.01)
    planted.make_sound(drive)
    over = threading.Event()
    found: list[checking.Problem] = []

    def shift() -> None:
        evicting.run(drive.kelp)
        drive.clock.advance(1)
        for key in ("b", "long"):
            with drive.kelp.database.read() as tx:
                content = tx.contents.get(planted.key_of(drive, key))
            assert content is not None
            try:
                restoring.restore(drive.kelp, content)
            except KelpError as error:
                raise AssertionError("the NAS has it") from error

    with ThreadPoolExecutor(2) as pool:
        shifting = pool.submit(until, over, shift)
        for _ in range(15):
            found += checking.check(drive.kelp).problems
        over.set()
        shifting.result()
    assert found == []


@pytest.mark.engine(cache="folder", reason="others make no objects ahead")
def test_an_object_that_was_made_ahead_is_filled_after_it_was_listed(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build(drive.kelp.settings, clock=drive.clock)  # another process: of its own it knows which are empty
    for number in range(6):
        drive.put(f"before {number}", b"ten bytes!")
    listing, filled = other.cache.list, list[str]()

    def listed_before() -> Iterator[ObjectInfo]:
        infos = list(listing())
        empty = {info.key for info in infos if not info.size}
        filled.extend(empty & {drive.put(f"{number}", b"ten bytes!").content_id or "" for number in range(6)})
        return iter(infos)

    monkeypatch.setattr(other.cache, "list", listed_before)
    report = checking.check(other, repair=True)
    other.close()
    assert filled and (report.problems, report.repaired) == ([], [])
