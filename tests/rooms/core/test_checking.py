"""The check finds each kind of damage, and nothing on a sound drive."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.adopted import unlearn
from tests.mirror_drive import StagedNas
from tests.rooms.core import planted
from tests.rooms.core.drive import Drive
from vfs.errors import NasDown, StoreUnavailable
from vfs.metadata import schema
from vfs.operations import checking, freeing
from vfs.operations.checks import cache as cache_check
from vfs.operations.checks import findings, nas

IN_A_FOLDER = pytest.mark.engine(cache="folder", reason="sets the time of its files")


@pytest.fixture
def sound(drive: Drive) -> Drive:
    planted.make_sound(drive)
    return drive


@pytest.mark.parametrize("kind", planted.ROWS)
def test_damage_in_the_database(sound: Drive, kind: str) -> None:
    planted.plant(sound, planted.ROWS[kind])
    assert kind in sound.problems()


@pytest.mark.parametrize("name", planted.DANGLING)
def test_a_row_that_refers_to_what_is_not_there(sound: Drive, name: str) -> None:
    planted.plant(sound, planted.DANGLING[name])
    assert f"dangling row: {name}" in sound.problems()


def test_every_reference_that_the_schema_knows_is_tried() -> None:
    known = {
        f"{reference.parent.name} of {table.name}"
        for table in schema.metadata.sorted_tables
        for reference in table.foreign_keys
    }
    assert known - {"parent_id of entries"} == planted.DANGLING.keys()
    assert isinstance(schema.metadata, sa.MetaData)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=IN_A_FOLDER) if p.folder_only else n for n, p in planted.STORES.items()]
)
def test_damage_in_a_store(sound: Drive, name: str) -> None:
    sound.damaged = True
    planted.STORES[name].do(sound)
    assert sound.problems() == [planted.STORES[name].kind]


def test_a_folder_that_is_gone_from_the_nas(sound: Drive) -> None:
    sound.damaged = True
    shutil.rmtree(sound.nas / "f")
    problems = checking.check(sound.kelp).problems
    assert [problem.kind for problem in problems] == ["missing on the NAS"] * 2
    assert problems[0].subject == "f" and problems[1].subject.startswith("f/")


@pytest.mark.parametrize("path", ["foreign", "f/foreign", ".trash/foreign", ".trash/*/foreign"])
def test_what_is_foreign_on_the_nas_counts_when_all_is_mirrored(sound: Drive, path: str) -> None:
    sound.damaged = True
    folder, _, name = path.rpartition("/")
    (next(sound.nas.glob(folder)) if folder else sound.nas).joinpath(name).write_bytes(b"x")
    assert sound.problems() == [] and sound.problems(mirrored=True) == ["foreign on the NAS"]


def test_work_left_counts_when_all_shall_be_mirrored(sound: Drive) -> None:
    sound.put("late")
    assert sound.problems() == [] and sound.problems(mirrored=True) == ["event still PENDING"]


def test_a_nas_that_is_away(sound: Drive) -> None:
    sound.damaged = True
    sound.nas.rename(sound.nas.with_name("away"))
    assert sound.problems() == ["NAS is down"]
    with pytest.raises(NasDown):
        checking.check(sound.kelp, mirrored=True)


def test_a_cache_that_is_away(sound: Drive) -> None:
    cache = StagedNas(sound.kelp.cache)

    def away(method: str, _: tuple[Any, ...]) -> None:
        raise StoreUnavailable("cache: nobody answers")

    cache.before = away
    report = checking.check(replace(sound.kelp, cache=cache))  # type: ignore[arg-type]
    assert [problem.kind for problem in report.problems] == ["cache is away"] and report.nas_files


def test_a_shallow_check_reads_no_bytes(sound: Drive) -> None:
    sound.damaged = True
    planted.rot(planted.nas_file(sound, "b"))
    planted.rot_object(sound, planted.key_of(sound, "b"))
    assert checking.check(sound.kelp, deep=False).ok and not checking.check(sound.kelp).ok


def evict(drive: Drive, path: str) -> str:
    key = planted.key_of(drive, path)
    drive.kelp.cache.delete(key)
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE objects SET status = 'MISSING' WHERE key = :key", key=key)
    return key


def test_what_is_evicted_is_sound_while_the_nas_has_it(sound: Drive) -> None:
    evict(sound, "long")
    assert sound.problems(mirrored=True) == []


@pytest.mark.parametrize("how", ["rots", "goes", "is changed"])
def test_what_is_evicted_and_bad_on_the_nas_is_lost(sound: Drive, how: str) -> None:
    sound.damaged = True
    evict(sound, "b")
    file = planted.nas_file(sound, "b")
    if how == "rots":
        planted.rot(file)
    elif how == "goes":
        file.unlink()
    else:
        file.write_bytes(b"somebody else's")
    assert "content that is lost: bad on the NAS and not in the cache" in sound.problems()


def test_adopted_files_need_no_checksum(sound: Drive) -> None:
    unlearn(sound.kelp, planted.key_of(sound, "long"))
    assert sound.problems(mirrored=True) == []


def test_an_adopted_file_that_changed_before_anybody_read_it(sound: Drive) -> None:
    unlearn(sound.kelp, planted.key_of(sound, "b"))
    sound.damaged = True
    planted.nas_file(sound, "b").write_bytes(b"odd")
    assert "changed on the NAS" in {p.kind for p in checking.check(sound.kelp, deep=False).problems}


@IN_A_FOLDER
def test_an_object_that_is_there_though_its_row_says_missing(sound: Drive) -> None:
    key = planted.key_of(sound, "b")
    sound.damage("UPDATE objects SET status = 'MISSING', status_ns = 1, cached_ns = 1 WHERE key = :key", key=key)
    assert sound.problems() == [], "too young: a restore that died leaves it"
    planted.add_old_object(sound, key)
    assert sound.problems() == ["object present though its row says MISSING"]


def test_an_object_that_was_given_up_is_told(sound: Drive) -> None:
    sound.damage("UPDATE objects SET status = 'ERROR' WHERE key = :key", key=planted.key_of(sound, "b"))
    assert sound.problems() == ["object bad in the cache and on the NAS"]


@pytest.mark.parametrize("status", ["EVICTING", "SYNCING", "PENDING"])
def test_what_is_under_way_is_damage_only_when_it_stands_still(sound: Drive, status: str) -> None:
    key = planted.key_of(sound, "b")
    sound.damage(
        "UPDATE objects SET status = :status, status_ns = :now WHERE key = :key",
        status=status, now=sound.clock.now, key=key,
    )  # fmt: skip
    assert sound.problems() == []
    sound.clock.advance(4000)
    assert "object that stands still" in sound.problems()


def test_small_pages_find_the_same(sound: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (cache_check, nas):
        monkeypatch.setattr(room, "_PAGE", 1)
    assert sound.problems(mirrored=True) == []
    sound.damaged = True
    for name in ("no object", "flipped bit of a version", "flipped bit in the middle", "no trash item"):
        planted.STORES[name].do(sound)
    (sound.nas / "f" / "foreign").write_bytes(b"x")
    assert len(checking.check(sound.kelp, mirrored=True).problems) == 5


def test_of_very_many_only_some_are_listed_and_all_counted(sound: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_LISTED", 2)
    sound.damage("UPDATE entries SET nas_status = 'FINE'")
    problems = checking.check(sound.kelp).problems
    assert len(problems) == 3 and problems[-1].detail == f"and {len(sound.sql('SELECT 1 FROM entries')) - 2} more"


def test_its_progress_is_told(sound: Drive) -> None:
    told: dict[str, int] = {}
    checking.check(sound.kelp, progress=lambda what, count: told.update({what: count}))
    assert told["cache"] == len(sound.objects()) and told["NAS"] == 5 and told["rules"]


def test_what_is_freed_while_the_check_looks_is_no_damage(sound: Drive) -> None:
    """`kelp check` may run beside everything else."""
    sound.put("soon gone", b"nobody's")
    sound.remove("soon gone")
    sound.mirror()
    sound.clock.advance(100)
    assert freeing.free_contents(sound.kelp).count == 0, "marked only"
    cache = StagedNas(sound.kelp.cache)
    freed: list[int] = []

    def free(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "list" and not freed:
            sound.clock.advance(100)
            freed.append(freeing.free_contents(sound.kelp).count)

    cache.before = free
    assert checking.check(replace(sound.kelp, cache=cache)).problems == []  # type: ignore[arg-type]
    assert freed == [1]


def test_what_moves_on_the_nas_while_the_check_looks_is_no_damage(sound: Drive) -> None:
    nas_store = StagedNas(sound.kelp.nas)
    moved: list[str] = []

    def move(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "stat" and str(arguments[0]).startswith("f/") and not moved:
            moved.append("f")
            sound.move("f", "g")
            sound.mirror()

    nas_store.before = move
    assert checking.check(replace(sound.kelp, nas=nas_store), mirrored=True).problems == []  # type: ignore[arg-type]
    assert moved
