"""The check finds each kind of damage, and nothing on a sound drive."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mirror_drive import StagedNas
from tests.rooms.core.drive import Drive
from vfs.errors import NasDown
from vfs.operations import checking, housekeeping

ROWS = {
    "dangling parent": "UPDATE entries SET parent_id = (SELECT id FROM entries WHERE name = 'b') WHERE name = 'in'",
    "file without content": "UPDATE entries SET content_id = NULL WHERE name = 'b'",
    "size differs from content": "UPDATE entries SET size = 99 WHERE name = 'b'",
    "content whose parts are not whole": "UPDATE objects SET size = size + 1 WHERE key IN (SELECT id FROM contents)",
    "trash item without record": "DELETE FROM trash_metadata",
    "trash record without item": "UPDATE entries SET state = 'ACTIVE' WHERE state = 'TRASHED'",
    "lock on what is gone": "UPDATE dav_locks SET entry_id = (SELECT id FROM entries WHERE state = 'TRASHED')",
    "lost change: SYNCING without an event": "UPDATE entries SET nas_status = 'SYNCING' WHERE name = 'b'",
    "lost job: PROCESSING without a lease": "UPDATE sync_events SET status = 'PROCESSING'",
    "two entries at one NAS place": "UPDATE entries SET nas_name = 'f', nas_key = 'f' WHERE name = 'b'",
    "recorded below what the NAS does not have": "UPDATE entries SET nas_name = NULL WHERE name = 'f'",
    "not reachable from the root": "UPDATE entries SET parent_id = id WHERE name = 'f'",
    "recorded in a circle on the NAS": "UPDATE entries SET nas_parent_id = id WHERE name = 'f'",
    "AVAILABLE on the NAS, but not as it shall be": "UPDATE entries SET nas_desired_name = 'x' WHERE name = 'b'",
    "object missing in the cache": "UPDATE objects SET key = 'elsewhere' WHERE key = (SELECT id FROM contents"
    " WHERE id NOT IN (SELECT content_id FROM entries WHERE name = 'b' OR state = 'TRASHED') LIMIT 1)",
}


@pytest.fixture
def sound(drive: Drive) -> Drive:
    """A folder with a file, a file with a version, something in the trash, a lock; all of it mirrored."""
    drive.folder("f")
    for path in ("f/in", "b", "gone"):
        drive.put(path, path.encode())
    drive.clock.advance(100)
    drive.put("b", b"new")
    drive.remove("gone")
    drive.lock("b", timeout=86_400)
    drive.mirror()
    assert drive.problems(mirrored=True) == []
    return drive


@pytest.mark.parametrize("kind", ROWS)
def test_damage_in_the_database(sound: Drive, kind: str) -> None:
    sound.damage(ROWS[kind])
    assert kind in sound.problems()


def spoil_newest(drive: Drive, data: bytes | None) -> None:
    content_id = drive.entry("b").content_id
    assert content_id is not None
    drive.spoil(content_id, data)


def add_old_object(drive: Drive) -> None:
    drive.kelp.cache.put("orphan", [b"x"])
    path = next((drive.kelp.settings.data / "cache").rglob("orphan"))
    os.utime(path, ns=(drive.clock.now - 3700 * 10**9,) * 2)


def nas_file(drive: Drive) -> Path:
    return next(drive.nas.glob("*__b"))


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


STORES: dict[str, Callable[[Drive], object]] = {
    "object missing in the cache": lambda drive: spoil_newest(drive, None),
    "object of another size": lambda drive: spoil_newest(drive, b"newer"),
    "object corrupt": lambda drive: spoil_newest(drive, b"odd"),
    "orphan in the cache": add_old_object,
    "missing on the NAS": lambda drive: nas_file(drive).unlink(),
    "something else on the NAS": lambda drive: swap_for_folder(nas_file(drive)),
    "of another size on the NAS": lambda drive: nas_file(drive).write_bytes(b"newer"),
    "corrupt on the NAS": lambda drive: nas_file(drive).write_bytes(b"odd"),
}


OLD_FILES = pytest.mark.engine(cache="folder", reason="sets the time of its files")


@pytest.mark.parametrize("kind", [pytest.param(k, marks=OLD_FILES) if "orphan" in k else k for k in STORES])
def test_damage_in_a_store(sound: Drive, kind: str) -> None:
    sound.damaged = True
    STORES[kind](sound)
    assert sound.problems() == [kind]


def test_a_version_that_is_gone_from_the_nas(sound: Drive) -> None:
    sound.damaged = True
    next(path for path in (sound.nas / ".kelp/versions").rglob("*") if path.is_file()).unlink()
    assert sound.problems() == ["missing on the NAS"]


@pytest.mark.parametrize("path", ["foreign", "f/foreign"])
def test_what_is_foreign_on_the_nas_counts_when_all_is_mirrored(sound: Drive, path: str) -> None:
    sound.damaged = True
    (sound.nas / path).write_bytes(b"x")
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


def test_a_shallow_check_reads_no_bytes(sound: Drive) -> None:
    sound.damaged = True
    nas_file(sound).write_bytes(b"odd")
    assert checking.check(sound.kelp, deep=False).ok and not checking.check(sound.kelp).ok


def test_what_is_freed_while_the_check_looks_is_no_damage(sound: Drive) -> None:
    """`kelp check` may run beside everything else."""
    sound.put("soon gone", b"nobody's")
    sound.remove("soon gone")
    sound.mirror()
    sound.clock.advance(100)
    assert housekeeping.free_contents(sound.kelp) == 0, "marked only"
    cache = StagedNas(sound.kelp.cache)
    freed: list[int] = []

    def free(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "list" and not freed:
            sound.clock.advance(100)
            freed.append(housekeeping.free_contents(sound.kelp))

    cache.before = free
    assert checking.check(replace(sound.kelp, cache=cache)).problems == []  # type: ignore[arg-type]
    assert freed == [1]
