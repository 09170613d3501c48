"""What `kelp check --repair` does: each damage with a good side is gone afterwards, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mirror_drive import Killed, StagedNas
from tests.rooms.core import planted
from tests.rooms.core.drive import Drive
from tests.rooms.core.test_checking import IN_A_FOLDER, evict
from vfs.errors import ContentLost
from vfs.model import PART_SIZE
from vfs.operations import alerts, checking
from vfs.operations.checks import rows


@pytest.fixture
def sound(drive: Drive) -> Drive:
    planted.make_sound(drive)
    return drive


def repair(drive: Drive) -> list[str]:
    """Kinds of what was repaired."""
    return sorted({problem.kind for problem in checking.check(drive.kelp, repair=True).repaired})


def require_sound(drive: Drive) -> None:
    drive.damaged = False
    assert checking.check(drive.kelp).problems == []
    drive.mirror()
    assert checking.check(drive.kelp, mirrored=True).problems == []


@pytest.mark.parametrize("kind", sorted(planted.REPAIRABLE))
def test_rows_that_can_be_set_right(sound: Drive, kind: str) -> None:
    planted.plant(sound, planted.ROWS[kind])
    assert kind in repair(sound)
    if kind == "AVAILABLE on the NAS, but not as it shall be":
        return  # its desired name is not the one that its stamp demands
    require_sound(sound)


@pytest.mark.parametrize("kind", sorted(planted.ROWS.keys() - planted.REPAIRABLE))
def test_rows_that_cannot_stay_a_problem(sound: Drive, kind: str) -> None:
    planted.plant(sound, planted.ROWS[kind])
    assert kind in {problem.kind for problem in checking.check(sound.kelp, repair=True).problems}
    assert kind in sound.problems()


@pytest.mark.parametrize("name", sorted(planted.DANGLING_REPAIRABLE))
def test_rows_that_say_nothing_without_another_go(sound: Drive, name: str) -> None:
    planted.plant(sound, planted.DANGLING[name])
    assert repair(sound)  # a row that dangles twice goes once
    require_sound(sound)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=IN_A_FOLDER) if p.folder_only else n for n, p in planted.STORES.items()]
)
def test_stores(sound: Drive, name: str) -> None:
    damage = planted.STORES[name]
    sound.damaged = True
    damage.do(sound)
    report = checking.check(sound.kelp, repair=True)
    if not damage.repaired:
        assert [problem.kind for problem in report.problems] == [damage.kind] and not report.repaired
        return
    assert report.problems == [] and [problem.kind for problem in report.repaired] == [damage.kind]
    require_sound(sound)
    if "orphan" not in name:
        assert [alert.kind for alert in alerts.listing(sound.kelp)] in (["CONTENT_REPAIRED"], ["CACHE_EMPTIED"])


def test_a_folder_that_is_gone_comes_back_with_all_that_was_in_it(sound: Drive) -> None:
    sound.damaged = True
    shutil.rmtree(sound.nas / "f")
    shutil.rmtree(sound.nas / ".trash")
    assert repair(sound) == ["missing on the NAS"]
    require_sound(sound)
    assert planted.nas_file(sound, "in").read_bytes() == b"old"


@pytest.mark.parametrize("gone", [False, True])
def test_an_older_registration_in_the_tree(drive_with: Any, gone: bool) -> None:
    drive: Drive = drive_with(drive_duplicates="keep-dated")
    for data in (b"first", b"second"):
        drive.put("doc", data)
        drive.clock.advance(100)
    drive.mirror()
    first, _ = sorted(drive.nas.glob("*__doc"))
    drive.damaged = True
    if gone:
        first.unlink()
    else:
        planted.rot(first)
    assert repair(drive) == ["missing on the NAS" if gone else "corrupt on the NAS"]
    require_sound(drive)
    assert [path.read_bytes() for path in sorted(drive.nas.glob("*__doc"))] == [b"first", b"second"]


def test_what_only_a_copy_on_the_nas_has_comes_from_there(sound: Drive) -> None:
    evict(sound, "long")
    sound.damaged = True
    whole = planted.nas_file(sound, "copy").read_bytes()
    planted.rot(planted.nas_file(sound, "long"), 70_000)
    assert repair(sound) == ["corrupt on the NAS"]
    require_sound(sound)
    assert planted.nas_file(sound, "long").read_bytes() == whole


def test_both_bad_is_told_and_left(sound: Drive) -> None:
    sound.put("alone", os.urandom(planted.LONG))  # longer than what is kept in memory
    sound.mirror()
    sound.damaged = True
    key = planted.key_of(sound, "alone")
    planted.rot(planted.nas_file(sound, "alone"))
    planted.rot_object(sound, key)
    report = checking.check(sound.kelp, repair=True)
    assert not report.repaired and key in {problem.subject for problem in report.problems}
    assert ("CONTENT_LOST", key) in [(alert.kind, alert.subject) for alert in alerts.listing(sound.kelp)]
    with pytest.raises(ContentLost):
        sound.read("alone")


def test_what_was_given_up_comes_back_when_the_nas_has_it_again(sound: Drive) -> None:
    sound.damaged = True
    file = planted.nas_file(sound, "b")
    planted.rot(file)
    planted.rot_object(sound, planted.key_of(sound, "b"))
    checking.check(sound.kelp, repair=True)
    planted.rot(file)
    assert repair(sound) == ["object bad in the cache and on the NAS"]
    require_sound(sound)
    assert not [alert for alert in alerts.listing(sound.kelp) if alert.kind == "CONTENT_LOST"]


def test_a_part_of_many(sound: Drive) -> None:
    data = os.urandom(2 * PART_SIZE + 5)
    sound.put("many", data)
    sound.mirror()
    sound.damaged = True
    with sound.kelp.database.read() as tx:
        content = tx.contents.get(planted.key_of(sound, "many"))
    assert content is not None
    planted.rot_object(sound, content.parts[1].key, 4)
    sound.spoil(content.parts[2].key, None)
    assert repair(sound) == ["object corrupt", "object missing in the cache"]
    require_sound(sound)
    planted.rot(planted.nas_file(sound, "many"), 2 * PART_SIZE)
    assert repair(sound) == ["corrupt on the NAS"]
    require_sound(sound)
    assert sound.read("many") == data


def test_what_the_mirror_has_under_way_is_left_to_it(sound: Drive) -> None:
    sound.damaged = True
    planted.nas_file(sound, "b").unlink()
    with sound.kelp.database.write() as tx:
        fence = tx.leases.take(sound.entry("b").id, "job", 2**62, lambda _: "[]")
    report = checking.check(sound.kelp, repair=True)
    assert report.problems == report.repaired == []
    with sound.kelp.database.write() as tx:
        tx.leases.release(fence)
    assert repair(sound) == ["missing on the NAS"]
    require_sound(sound)


def test_many_changes_that_were_lost(sound: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_AGAIN_AT_ONCE", 2)
    planted.plant(sound, "UPDATE entries SET nas_status = 'SYNCING' WHERE id <> 1")
    assert repair(sound) == ["lost change: SYNCING without an event"]
    require_sound(sound)


@pytest.mark.parametrize("call", range(1, 25, 3))
def test_who_dies_while_he_repairs_has_lost_nothing(sound: Drive, call: int) -> None:
    """At any call of a store; whoever repairs next ends it."""
    sound.damaged = True
    for name in ("no object", "flipped bit on the NAS", "no trash item", "flipped bit of a version"):
        if name != "flipped bit on the NAS":
            planted.STORES[name].do(sound)
    planted.rot(planted.nas_file(sound, "long"))
    planted.rot_object(sound, planted.key_of(sound, "long"))
    calls = iter(range(1, 1000))

    def die(method: str, _: tuple[Any, ...]) -> None:
        if next(calls) == call and not method.startswith("on_"):
            raise Killed

    nas, cache = StagedNas(sound.kelp.nas), StagedNas(sound.kelp.cache)
    nas.before = cache.before = die
    dying = replace(sound.kelp, nas=nas, cache=cache)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        while True:
            checking.check(dying, repair=True)
    sound.clock.advance(4000)
    checking.check(sound.kelp, repair=True)
    checking.check(sound.kelp, repair=True)
    require_sound(sound)


# --- every combination ------------------------------------------------------------------------------

FILES = ("b", "long", "in", "gone", "version")
CACHE = ("good", "absent", "flipped", "short")
NAS = ("good", "absent", "flipped")


def _file(drive: Drive, name: str) -> Path:
    return planted.version_file(drive) if name == "version" else planted.nas_file(drive, name)


def _key(drive: Drive, name: str) -> str:
    if name == "version":
        return str(drive.sql("SELECT content_id FROM versions")[0][0])
    return str(drive.sql("SELECT content_id FROM entries WHERE name = :name", name=name)[0][0])


def _spoil_cache(drive: Drive, key: str, how: str) -> None:
    data = b"".join(drive.kelp.cache.get(key))
    drive.spoil(key, {"absent": None, "flipped": planted.flip(data), "short": data[:-1]}[how])


@given(st.lists(st.tuples(st.sampled_from(CACHE), st.sampled_from(NAS)), min_size=len(FILES), max_size=len(FILES)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.engine(database="sqlite", cache="folder", reason="opens a fresh drive for each example")
def test_any_damage_together(drive_with: Any, states: list[tuple[str, str]]) -> None:
    """All of it is found, what one side has comes back, and of what neither has is told."""
    drive: Drive = drive_with()
    planted.make_sound(drive)
    drive.damaged = True
    for name, (cache, nas) in zip(FILES, states, strict=True):
        if cache != "good":
            _spoil_cache(drive, _key(drive, name), cache)
        if nas == "absent":
            _file(drive, name).unlink()
        elif nas == "flipped":
            planted.rot(_file(drive, name))
    keys = {name: _key(drive, name) for name in FILES}
    found = checking.check(drive.kelp).problems
    damaged = sum(cache != "good" for cache, _ in states) + sum(nas != "good" for _, nas in states)
    assert len([problem for problem in found if "lost" not in problem.kind]) == damaged

    report = checking.check(drive.kelp, repair=True)

    # `long` has a copy on the NAS, which is good.
    lost = {keys[name] for name, (cache, nas) in zip(FILES, states, strict=True) if "good" not in (cache, nas)} - {
        keys["long"]
    }
    told = {alert.subject for alert in alerts.listing(drive.kelp) if alert.kind == "CONTENT_LOST"}
    assert told == lost
    assert bool(report.problems) == bool(lost)
    if not lost:
        require_sound(drive)
    drive.kelp.close()
