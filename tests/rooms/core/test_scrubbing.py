"""The scrub reads everything again, finds what went bad on either side, and sets it right from the other."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.adopted import unlearn
from tests.mirror_drive import Killed, StagedNas
from tests.rooms.core import planted
from tests.rooms.core.drive import Drive
from tests.rooms.core.test_checking import evict
from vfs.errors import NasDown, StoreUnavailable
from vfs.model import BLOCK_SIZE, PART_SIZE, Done
from vfs.operations import alerts, checking, nas_outage, scrubbing
from vfs.operations.verifying import Pace

DAY = 86_400


@dataclass
class Watch:
    """Time of the machine, as the test lets it pass: a sleep takes no time but by this watch."""

    at: float = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def sound(drive_with: Callable[..., Drive]) -> Drive:
    drive = drive_with(scrub_rate=2**40)
    planted.make_sound(drive)
    return drive


def scrub(drive: Drive, kelp: Any = None) -> scrubbing.Progress:
    """One whole round, from its beginning."""
    before = scrubbing.progress(drive.kelp).ended_ns
    drive.clock.advance(16 * DAY)
    for _ in range(1000):
        scrubbing.run(kelp or drive.kelp)
        if scrubbing.progress(drive.kelp).ended_ns != before:
            return scrubbing.progress(drive.kelp)
    raise AssertionError(f"it never ends: {scrubbing.progress(drive.kelp)}")


def require_sound(drive: Drive) -> None:
    drive.damaged = False
    drive.mirror()
    assert checking.check(drive.kelp, mirrored=True).problems == []


def kinds(drive: Drive) -> set[str]:
    return {alert.kind for alert in alerts.listing(drive.kelp)}


def test_all_is_read_and_found_right(sound: Drive) -> None:
    round_ = scrub(sound)
    stored = sum(info.size for info in sound.kelp.cache.list())
    on_nas = sum(path.stat().st_size for path in sound.nas.rglob("*__*") if path.is_file())
    on_nas += planted.version_file(sound).stat().st_size
    assert (round_.things, round_.bytes) == (len(sound.objects()) + 6, stored + on_nas)
    assert (round_.repaired, round_.left, round_.changed, round_.stage) == (0, 0, 0, "rest")
    now = sound.clock.now
    assert {row[0] for row in sound.sql("SELECT verified_ns FROM objects")} == {now}
    assert {row[0] for row in sound.sql("SELECT nas_verified_ns FROM entries WHERE kind = 'file'")} == {now}
    assert {row[0] for row in sound.sql("SELECT nas_verified_ns FROM versions")} == {now}


def test_then_it_rests(sound: Drive) -> None:
    scrub(sound)
    before = sound.kelp.database.version()
    sound.clock.advance(14 * DAY)
    assert scrubbing.run(sound.kelp).count == 0 and scrubbing.progress(sound.kelp).stage == "rest"
    assert sound.kelp.database.version() == before, "nothing is committed when there is nothing to do"
    sound.clock.advance(2 * DAY)
    assert scrubbing.run(sound.kelp).count, "everything once in scrub.days"


def test_a_rate_of_zero_is_never(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(scrub_rate=0)
    drive.put("f", b"x")
    drive.mirror()
    assert scrubbing.run(drive.kelp) == Done() and scrubbing.progress(drive.kelp) == scrubbing.Progress()


REPAIRED = [name for name, damage in planted.STORES.items() if damage.repaired and not damage.folder_only]


@pytest.mark.parametrize("name", REPAIRED)
def test_what_went_bad_comes_from_the_other_side(sound: Drive, name: str) -> None:
    sound.damaged = True
    planted.STORES[name].do(sound)
    round_ = scrub(sound)
    assert (round_.repaired, round_.left, round_.changed) == (1, 0, 0)
    assert kinds(sound) in ({"CONTENT_REPAIRED"}, {"CACHE_EMPTIED"})
    require_sound(sound)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("side", ["cache", "nas"])
def test_each_part_of_many(sound: Drive, side: str, part: int) -> None:
    data = random.Random(part).randbytes(2 * PART_SIZE + BLOCK_SIZE + 5)
    sound.put("many", data)
    sound.mirror()
    sound.damaged = True
    with sound.kelp.database.read() as tx:
        content = tx.contents.get(planted.key_of(sound, "many"))
    assert content is not None
    if side == "cache":
        planted.rot_object(sound, content.parts[part].key, content.parts[part].size - 1)
    else:
        planted.rot(planted.nas_file(sound, "many"), part * PART_SIZE + 3)
    assert scrub(sound).repaired == 1
    require_sound(sound)
    assert sound.read("many") == data


def test_what_somebody_changed_on_the_nas_is_told_and_left(sound: Drive) -> None:
    sound.damaged = True
    file = planted.nas_file(sound, "b")
    file.write_bytes(b"by hand")
    assert scrub(sound).changed == 1
    assert kinds(sound) == {"NAS_FILE_CHANGED"} and file.read_bytes() == b"by hand"
    file.unlink()
    assert scrub(sound).repaired == 1, "one that is gone is written again"
    sound.mirror()
    assert "NAS_FILE_CHANGED" not in kinds(sound), "a round without one ends the alert"
    require_sound(sound)


def test_both_bad_is_lost(sound: Drive) -> None:
    sound.damaged = True
    planted.rot(planted.nas_file(sound, "b"))
    planted.rot_object(sound, planted.key_of(sound, "b"))
    assert scrub(sound).left == 2
    (alert,) = [alert for alert in alerts.listing(sound.kelp) if alert.kind == "CONTENT_LOST"]
    assert alert.subject == planted.key_of(sound, "b")
    sound.remove("b")
    sound.damage("DELETE FROM trash_metadata")
    sound.damage("UPDATE entries SET content_id = NULL WHERE name = 'b'")
    sound.damage("DELETE FROM contents WHERE id = :id", id=alert.subject)
    scrub(sound)
    assert "CONTENT_LOST" not in kinds(sound), "nobody needs it any more"


def test_evicted_objects_are_not_looked_for(sound: Drive) -> None:
    evict(sound, "long")
    round_ = scrub(sound)
    assert (round_.repaired, round_.left) == (0, 0)


def test_an_evicted_file_that_goes_bad_is_lost_and_told(sound: Drive) -> None:
    sound.damaged = True
    evict(sound, "b")
    planted.rot(planted.nas_file(sound, "b"))
    assert scrub(sound).left == 1
    assert "CONTENT_LOST" in kinds(sound)


def test_adopted_files_are_learned_first_and_then_verified(sound: Drive) -> None:
    keys = {name: planted.key_of(sound, name) for name in ("b", "long")}
    for key in keys.values():
        unlearn(sound.kelp, key)
    assert scrub(sound).changed == 0
    assert sound.sql("SELECT 1 FROM contents WHERE checksum = ''") == []
    sound.damaged = True
    planted.rot(planted.nas_file(sound, "b"))
    scrub(sound)
    assert "CONTENT_LOST" in kinds(sound), "from then on bit rot is seen"


def test_learning_does_not_wait_for_the_next_round(sound: Drive) -> None:
    scrub(sound)
    unlearn(sound.kelp, planted.key_of(sound, "long"))
    assert scrubbing.run(sound.kelp).count == 0
    assert sound.sql("SELECT 1 FROM contents WHERE checksum = ''") == []


def test_an_adopted_file_that_was_changed_does_not_hold_up_the_others(sound: Drive) -> None:
    for name in ("b", "long"):
        unlearn(sound.kelp, planted.key_of(sound, name))
    sound.damaged = True
    planted.nas_file(sound, "b").write_bytes(b"by hand")
    scrub(sound)
    assert sound.sql("SELECT id FROM contents WHERE checksum = ''") == [(planted.key_of(sound, "b"),)]
    assert "NAS_FILE_CHANGED" in kinds(sound)


def test_the_rate_is_kept(drive_with: Callable[..., Drive]) -> None:
    """By a watch of the test: so many bytes need so many seconds, and a turn ends in time."""
    drive = drive_with(scrub_rate=1024 * 1024)
    for number in range(8):
        drive.put(f"f{number}", os.urandom(1024 * 1024))
    drive.mirror()
    watch = Watch()
    before = scrubbing.progress(drive.kelp)
    turns = 0
    while scrubbing.progress(drive.kelp).ended_ns == before.ended_ns:
        begun = watch.at
        scrubbing.run(drive.kelp, 5.0, now=watch.now, sleep=watch.sleep)
        turns += 1
        assert watch.at - begun <= 6.1
        assert scrubbing.progress(drive.kelp).bytes <= (watch.at + 0.2) * 1024 * 1024
    assert scrubbing.progress(drive.kelp).bytes == 16 * 1024 * 1024
    assert 15 <= watch.at <= 17 and turns >= 3


def test_a_bucket_that_rested_is_not_overfull() -> None:
    watch = Watch()
    pace = Pace(100, watch.now, watch.sleep)
    watch.at = 1000
    for _ in range(100):
        pace(10)
    assert 9.9 <= watch.at - 1000 <= 10.1


def test_it_goes_on_where_it_was(sound: Drive) -> None:
    """A turn may end anywhere, in a file of many parts too."""
    sound.put("many", os.urandom(2 * PART_SIZE + 5))
    sound.mirror()
    whole = scrub(sound)
    sound.clock.advance(16 * DAY)
    seen = set()
    while True:
        scrubbing.run(sound.kelp, 0.0001, now=Ticking().now)
        at = scrubbing.progress(sound.kelp)
        assert (at.stage, at.after, at.part) not in seen
        seen.add((at.stage, at.after, at.part))
        if at.ended_ns != whole.ended_ns:
            break
    assert (at.things, at.bytes) == (whole.things, whole.bytes) and len(seen) > whole.things


def test_a_file_that_changes_between_two_turns_is_read_from_its_beginning(sound: Drive) -> None:
    sound.put("many", os.urandom(2 * PART_SIZE + 5))
    sound.mirror()
    scrub(sound)
    sound.clock.advance(16 * DAY)
    while scrubbing.progress(sound.kelp).part == 0:
        scrubbing.run(sound.kelp, 0.0001, now=Ticking().now)
    data = os.urandom(2 * PART_SIZE + 6)
    sound.put("many", data)
    sound.mirror()
    sound.damaged = True
    planted.rot(planted.nas_file(sound, "many"))
    scrubbing.run(sound.kelp)
    assert scrubbing.progress(sound.kelp).repaired == 1
    require_sound(sound)


class Ticking(Watch):
    def now(self) -> float:
        self.at += 0.00004
        return self.at


def test_while_the_nas_is_down_the_cache_is_read(sound: Drive) -> None:
    nas_outage.declare(sound.kelp, NasDown("NAS: gone", "ESTALE"))
    sound.clock.advance(16 * DAY)
    for _ in range(5):
        scrubbing.run(sound.kelp)
    at = scrubbing.progress(sound.kelp)
    assert (at.stage, at.things) == ("files", len(sound.objects()))
    assert nas_outage.probe(sound.kelp)
    scrubbing.run(sound.kelp)
    assert scrubbing.progress(sound.kelp).stage == "rest"


def staged(drive: Drive, act: Callable[[str, tuple[Any, ...]], None], store: str) -> Any:
    stores = {"cache": StagedNas(drive.kelp.cache), "nas": StagedNas(drive.kelp.nas)}
    stores[store].before = act
    return replace(drive.kelp, **{store: stores[store]})


def test_a_nas_that_goes_away_meanwhile_is_no_fault_of_a_file(sound: Drive) -> None:
    def away(method: str, _: tuple[Any, ...]) -> None:
        raise NasDown("NAS: gone", "ESTALE")

    with pytest.raises(NasDown):
        scrub(sound, staged(sound, away, "nas"))
    assert scrubbing.progress(sound.kelp).stage == "files" and not kinds(sound)
    scrubbing.run(sound.kelp)
    assert scrubbing.progress(sound.kelp).left == 0


def test_a_cache_that_is_away_is_no_fault_of_an_object(sound: Drive) -> None:
    def away(method: str, _: tuple[Any, ...]) -> None:
        raise StoreUnavailable("cache: nobody answers")

    with pytest.raises(StoreUnavailable):
        scrub(sound, staged(sound, away, "cache"))
    assert not kinds(sound)
    scrubbing.run(sound.kelp)
    assert scrubbing.progress(sound.kelp).stage == "rest"


def test_a_file_in_a_bad_place_of_the_disk_is_written_anew(sound: Drive) -> None:
    bad = planted.nas_file(sound, "b").name

    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "read" and arguments[0] == bad:
            raise NasDown("NAS: Input/output error", "EIO")

    assert scrub(sound, staged(sound, fail, "nas")).repaired == 1
    require_sound(sound)


def test_two_scrubs_at_once(sound: Drive) -> None:
    sound.damaged = True
    for name in ("flipped bit in the cache", "flipped bit of a version", "flipped bit in the middle", "no trash item"):
        planted.STORES[name].do(sound)
    sound.clock.advance(16 * DAY)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(scrubbing.run, sound.kelp) for _ in range(4)]:
            done.result()
    scrub(sound)
    require_sound(sound)


@pytest.mark.parametrize("call", range(1, 60, 7))
@pytest.mark.parametrize("store", ["cache", "nas"])
def test_who_dies_at_it_has_lost_nothing(sound: Drive, store: str, call: int) -> None:
    sound.damaged = True
    for name in ("flipped bit at the end of an object", "no object", "flipped bit of a version", "no trash item"):
        planted.STORES[name].do(sound)
    unlearn(sound.kelp, sound.sql("SELECT content_id FROM entries WHERE name = 'in'")[0][0])
    calls = iter(range(1, 10_000))

    def die(method: str, _: tuple[Any, ...]) -> None:
        if next(calls) == call:
            raise Killed

    try:
        scrub(sound, staged(sound, die, store))
    except Killed:
        sound.clock.advance(4000)
        checking.check(sound.kelp, repair=True)  # what it was restoring stands still in SYNCING
    scrub(sound)
    require_sound(sound)
