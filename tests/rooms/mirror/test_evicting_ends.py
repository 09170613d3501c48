"""Eviction that ends early, or meets another; orphans; a cache that fills up while the NAS is away."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.mirror_drive import Killed, MirrorDrive
from tests.rooms.mirror.test_evicting import (
    SIZE,
    body,
    drive,
    evict_all,
    fill,
    in_cache,
    instead_of_waiting,
    objects_of,
    run,
    statuses,
)
from vfs.errors import NoSpace, StoreUnavailable
from vfs.operations import backlog, evicting, orphans
from vfs.storage.wrappers import FailingObjectStore, Failure

Opened = Callable[..., MirrorDrive]
__all__ = ["drive"]  # the fixture


def _sql(drive: MirrorDrive, sql: str, **values: object) -> None:
    with drive.kelp.database.write() as tx:
        tx.run(sql, **values)


# --- ends that come early ---------------------------------------------------------------------------------------------


def killed(*_: Any, **__: Any) -> Any:
    raise Killed


def _die_waiting(drive: MirrorDrive, patch: pytest.MonkeyPatch) -> None:
    instead_of_waiting(patch, killed)


def _die_looking_at_the_nas(drive: MirrorDrive, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evicting, "_proved", killed)


def _die_deleting(drive: MirrorDrive, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(type(drive.kelp.cache), "delete", killed)


def _die_halfway_deleting(drive: MirrorDrive, patch: pytest.MonkeyPatch) -> None:
    delete = type(drive.kelp.cache).delete
    left = [2]

    def some(self: Any, key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        delete(self, key)

    patch.setattr(type(drive.kelp.cache), "delete", some)


def _die_recording(drive: MirrorDrive, patch: pytest.MonkeyPatch) -> None:
    end = evicting._end

    def before(kelp: Any, marked: Any, keys: Any, status: str) -> None:
        if status == "MISSING":
            raise Killed
        end(kelp, marked, keys, status)  # type: ignore[arg-type]

    patch.setattr(evicting, "_end", before)


DEATHS = (_die_waiting, _die_looking_at_the_nas, _die_deleting, _die_halfway_deleting, _die_recording)


@pytest.mark.parametrize("death", DEATHS, ids=lambda each: each.__name__.strip("_"))
def test_somebody_else_goes_on_after_a_death(
    drive: MirrorDrive, death: Callable[[MirrorDrive, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "abcdefghijkl"
    fill(drive, *names)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        death(drive, patch)
        run(drive)
    marked = {name for name, status in statuses(drive).items() if status == "EVICTING"}
    assert marked == set("abcd")
    assert drive.shown() == {name: body(name) for name in names}
    assert run(drive) == 0  # whoever did it may still live
    drive.pass_time(301)
    assert run(drive) == 4
    assert in_cache(drive) == set(names) - marked
    assert set(statuses(drive).values()) <= {"AVAILABLE", "MISSING"}
    drive.check_mirrored()


def test_a_cache_that_does_not_delete(open_drive: Opened) -> None:
    drive = open_drive(cache_limit=f"{10 * SIZE}", cache_publish=0.01)
    store = FailingObjectStore(drive.kelp.cache)
    drive.kelp = dataclasses.replace(drive.kelp, cache=store)
    fill(drive, *"abcdefghijkl")
    away = StoreUnavailable("the cache is away")
    store.failures.plan(Failure("delete", error=away, call=2))
    with pytest.raises(StoreUnavailable):
        run(drive)
    found = statuses(drive)
    assert {found[name] for name in "efghijkl"} == {"AVAILABLE"}
    assert {found[name] for name in "abcd"} == {"EVICTING", "MISSING"}  # nobody knows whether those are there
    drive.pass_time(301)
    assert run(drive) >= 1
    assert in_cache(drive) == set("efghijkl")
    drive.check_mirrored()


def test_two_at_once_never_have_the_same_object(open_drive: Opened) -> None:
    drive = open_drive(cache_limit=f"{10 * SIZE}", cache_publish=0.01)
    other = open_drive(cache_limit=f"{10 * SIZE}", cache_publish=0.01)
    names = [f"file {number:03}" for number in range(120)]
    fill(drive, *names)
    deleted: list[str] = []
    guard = threading.Lock()
    delete = type(drive.kelp.cache).delete

    def noted(self: Any, key: str) -> None:
        with guard:
            deleted.append(key)
        delete(self, key)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(type(drive.kelp.cache), "delete", noted)
        drive.pass_time(30)
        both = [threads.submit(evicting.evict, each.kelp, 60 * SIZE) for each in (drive, other)]
        done = [each.result() for each in both]
    assert sum(each.count for each in done) == len(deleted) == len(set(deleted)) >= 60
    assert drive.shown() == {name: body(name) for name in names}
    drive.check_mirrored()


def test_who_slept_for_minutes_touches_nothing(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another has gone on with it, and it may be back by now."""
    fill(drive, *"abcdefghijkl")
    monkeypatch.setattr(evicting, "_MINE", -1.0)
    assert run(drive) == 0
    assert in_cache(drive) == set("abcdefghijkl")


def test_what_this_process_reads_stays(drive: MirrorDrive) -> None:
    fill(drive, *"abcdefghijkl")
    with drive.kelp.holds.hold(str(drive.entry("b").content_id)):
        drive.kelp.holds.flush()
        drive.pass_time(5)
        assert evicting.run(drive.kelp).count == 4
        assert "b" in in_cache(drive)
    drive.kelp.holds.flush()
    assert evict_all(drive) == set()


# --- orphans, and pressure --------------------------------------------------------------------------------------------


@pytest.mark.engine(cache="folder", reason="sets the time of its files")
def test_an_object_whose_row_says_missing_goes(drive: MirrorDrive) -> None:
    """Left by a kill between a restore's put and its commit."""
    fill(drive, "a", "b")
    evict_all(drive)
    key = str(drive.entry("a").content_id)
    drive.kelp.cache.put(key, [body("a")])
    then = time.time() - 7200
    for file in (drive.settings.data / "cache").rglob("*"):
        os.utime(file, (then, then))
    assert orphans.remove_orphans(drive.kelp).bytes == SIZE
    assert drive.read("a") == body("a")


@pytest.mark.engine(cache="folder", reason="sets the time of its files")
def test_an_object_that_only_the_cache_has_stays_whatever_its_row_says(drive: MirrorDrive) -> None:
    """Its disk was not mounted when somebody looked, and the cache was full, or who looked died."""
    drive.put("a", body("a"))
    _sql(drive, "UPDATE objects SET status = 'MISSING'")
    then = time.time() - 7200
    for file in (drive.settings.data / "cache").rglob("*"):
        os.utime(file, (then, then))
    assert orphans.remove_orphans(drive.kelp).count == 0
    assert objects_of(drive) == {drive.entry("a").content_id}
    drive.settle_down()
    assert orphans.seek_orphans(drive.kelp).count == 1, "now the NAS has it"
    drive.check_mirrored()


@pytest.mark.engine(cache="folder", reason="sets the time of its files")
def test_parts_of_an_upload_under_way_are_no_orphans(drive: MirrorDrive) -> None:
    for status in ("UPLOADING", "EXPIRED"):
        drive.kelp.cache.put(f"{status}-id.000001", [b"part"])
        _sql(
            drive,
            """INSERT INTO upload_sessions (uuid, content_id, folder_id, name, mime_type, on_conflict, status, trace_id,
               created_ns, expires_ns) VALUES (:id, :id, 1, 'n', '', 'ERROR', :status, '', 0, 0)""",
            id=f"{status}-id", status=status,
        )  # fmt: skip
    then = time.time() - 7200
    for file in (drive.settings.data / "cache").rglob("*"):
        os.utime(file, (then, then))
    assert orphans.remove_orphans(drive.kelp).count == 1
    assert objects_of(drive) == {"UPLOADING-id.000001"}


def test_a_nas_that_is_away_fills_the_cache_up_to_the_hard_limit(open_drive: Opened) -> None:
    drive = open_drive(cache_hard_limit=f"{20 * SIZE}", cache_publish=0.01)
    fill(drive, *"abcdefghij")
    with pytest.raises(NoSpace):
        for number in range(30):
            drive.put(f"new {number}", bytes(SIZE))
    run(drive)
    drive.settle_down()
    assert backlog.waiting(drive.kelp) == 0
    drive.kelp.escrow.refused(1, 0)  # some tenths of a second later
    drive.kelp.escrow.measured(0)
    drive.put("after", bytes(SIZE))
    drive.check_mirrored()
