"""Eviction: what may leave the cache, in which order, and that nothing is lost whenever it ends early."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import steps
from jobs.plan import plan
from tests import cache_listing
from tests.mirror_drive import SECOND, MirrorDrive
from vfs.errors import NasDown
from vfs.operations import alerts, cache_limits, claiming, evicting, nas_copies, nas_outage, opening

SIZE = 1024
Opened = Callable[..., MirrorDrive]


@pytest.fixture
def drive(open_drive: Opened) -> MirrorDrive:
    return open_drive(cache_limit=f"{10 * SIZE}", cache_publish=0.01)


def body(name: str) -> bytes:
    return (name.encode() * SIZE)[:SIZE]


def fill(drive: MirrorDrive, *names: str) -> None:
    for name in names:
        drive.put(name, body(name))
    drive.settle_down()


def in_cache(drive: MirrorDrive) -> set[str]:
    """Names of files whose bytes the cache has."""
    keys = {info.key for info in drive.kelp.cache.list()}
    with drive.kelp.database.read() as tx:
        rows = tx.all("SELECT name, content_id FROM entries WHERE kind = 'file' AND state = 'ACTIVE'")
    return {name for name, content_id in rows if content_id in keys}


def statuses(drive: MirrorDrive) -> dict[str, str]:
    with drive.kelp.database.read() as tx:
        return dict(
            tx.all("SELECT e.name, o.status FROM objects o JOIN entries e ON e.content_id = o.key ORDER BY e.name")
        )


def run(drive: MirrorDrive) -> int:
    drive.pass_time(30)
    return evicting.run(drive.kelp).count


def evict_all(drive: MirrorDrive) -> set[str]:
    """Names of what the cache still has when all goes that may."""
    drive.pass_time(30)
    evicting.evict(drive.kelp, 1 << 40)
    return in_cache(drive)


def alerts_open(drive: MirrorDrive) -> list[str]:
    with drive.kelp.database.read() as tx:
        return [row[0] for row in tx.all("SELECT kind FROM alerts WHERE closed_ns IS NULL ORDER BY kind")]


def work_unrecorded(drive: MirrorDrive) -> None:
    """All that is due is done on the NAS, by one who dies before he says so."""
    claims, _ = claiming.claim(drive.kelp, "somebody", 32, plan)
    for job in claims:
        at = steps.Progress.of(job)
        for step in job.steps:
            steps.run(drive.kelp, step, at)


# --- water marks and policies -----------------------------------------------------------------------------------------


def test_it_begins_at_the_upper_mark_and_ends_at_the_lower(drive: MirrorDrive) -> None:
    fill(drive, *"abcdefghi")
    assert run(drive) == 0
    fill(drive, "j")
    assert run(drive) == 2  # 85 % of ten are eight and a half
    assert in_cache(drive) == set("cdefghij")
    assert drive.shown() == {name: body(name) for name in "abcdefghij"}
    drive.check_mirrored()


@pytest.mark.parametrize(
    ("policy", "gone"), [("lru", {"c", "d"}), ("lfu", {"b", "c"}), ("fifo", {"a", "b"})], ids=("lru", "lfu", "fifo")
)
def test_policies(open_drive: Opened, policy: str, gone: set[str]) -> None:
    drive = open_drive(cache_limit=f"{10 * SIZE}", cache_publish=0.01, cache_policy=policy)
    fill(drive, *"abcdefghij")
    for name, count in zip("dbacefghij", (3, 1, 2, 1, 3, 3, 3, 3, 3, 3), strict=True):
        if policy == "lru" and name in "cd":
            continue
        for _ in range(count):
            drive.pass_time(1)
            with drive.kelp.database.write() as tx:
                tx.reading.accessed([(str(drive.entry(name).content_id), 1)], drive.clock.now_ns())
    run(drive)
    assert set("abcdefghij") - in_cache(drive) == gone


def test_what_waits_to_be_deleted_goes_first(drive: MirrorDrive) -> None:
    fill(drive, *"abcdefghij")
    drive.purge(drive.trash("e"))
    drive.purge(drive.trash("f"))
    drive.settle_down()
    with drive.kelp.database.write() as tx:
        tx.freeing.mark([row[0] for row in tx.all("SELECT id FROM contents")], 1)
        tx.freeing.forget(tx.freeing.still_freeable(_ids(tx), 2, 2), 3)
    assert run(drive) == 0
    assert len(list(drive.kelp.cache.list())) == 8


def _ids(tx: Any) -> list[str]:
    return [row[0] for row in tx.all("SELECT id FROM contents")]


def test_the_limit_leaves_what_the_hard_limit_needs(open_drive: Opened) -> None:
    drive = open_drive(cache_limit="none", cache_hard_limit=f"{10 * SIZE}", cache_publish=0.01)
    fill(drive, *"abcdef")
    for name in "ghijk":
        drive.kelp.escrow.refused(1, 0)  # on a busy machine adding up takes long, and rests for longer
        drive.kelp.escrow.measured(0)
        drive.put(name, body(name))
    run(drive)
    found = cache_limits.measure(drive.kelp)
    assert found.dirty == 5 * SIZE
    assert found.clean <= 5 * SIZE
    assert in_cache(drive) >= set("ghijk")


# --- every clause of the question what may go -------------------------------------------------------------------------


def _copy_not_mirrored(drive: MirrorDrive) -> None:
    drive.copy("f/a", "copy")


def _version_not_on_the_nas(drive: MirrorDrive) -> None:
    drive.pass_time(70)
    drive.put("f/a", b"new")
    drive.settle_down()
    _sql(drive, "UPDATE versions SET nas_path = NULL")


def _being_mirrored(drive: MirrorDrive) -> None:
    _lease(drive, drive.entry("f/a").id, [])


def _ancestor_moves(drive: MirrorDrive) -> None:
    _lease(drive, drive.entry("f").id, [drive.entry("f").id])


def _pinned(drive: MirrorDrive) -> None:
    _sql(drive, "INSERT INTO cache_pins (entry_id, created_ns) VALUES (:id, 1)", id=drive.entry("f/a").id)


def _below_a_pinned_folder(drive: MirrorDrive) -> None:
    _sql(drive, "INSERT INTO cache_pins (entry_id, created_ns) VALUES (:id, 1)", id=drive.entry("f").id)


def _read(drive: MirrorDrive) -> None:
    _publish(drive, "f/a")


def _larger_on_the_nas(drive: MirrorDrive) -> None:
    drive.nas_path("f/a").write_bytes(b"somebody else's")


def _another_time_on_the_nas(drive: MirrorDrive) -> None:
    drive.nas_path("f/a").touch()


def _replaced_on_the_nas(drive: MirrorDrive) -> None:
    file = drive.nas_path("f/a")
    seen = file.stat()
    (file.parent / "other").write_bytes(bytes(SIZE))
    os.utime(file.parent / "other", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (file.parent / "other").rename(file)


def _missing_on_the_nas(drive: MirrorDrive) -> None:
    drive.nas_path("f/a").unlink()


def _not_recorded(drive: MirrorDrive) -> None:
    _sql(drive, "UPDATE entries SET nas_name = NULL WHERE id = :id", id=drive.entry("f/a").id)


def _nowhere_above(drive: MirrorDrive) -> None:
    _sql(drive, "UPDATE entries SET nas_name = NULL WHERE id = :id", id=drive.entry("f").id)


def _nas_without_marker(drive: MirrorDrive) -> None:
    (drive.root / ".kelp" / "drive.json").rename(drive.root / "elsewhere")


OBSTACLES = (
    _copy_not_mirrored, _version_not_on_the_nas, _being_mirrored, _ancestor_moves, _pinned, _below_a_pinned_folder,
    _read, _larger_on_the_nas, _another_time_on_the_nas, _replaced_on_the_nas, _missing_on_the_nas, _not_recorded,
    _nowhere_above, _nas_without_marker,
)  # fmt: skip
CHANGED = (_larger_on_the_nas, _another_time_on_the_nas, _replaced_on_the_nas, _missing_on_the_nas)


def _sql(drive: MirrorDrive, sql: str, **values: object) -> None:
    with drive.kelp.database.write() as tx:
        tx.run(sql, **values)


def _lease(drive: MirrorDrive, entry_id: int, exclusive: list[int]) -> None:
    with drive.kelp.database.write() as tx:
        fence = tx.leases.take(entry_id, "somebody", drive.clock.now_ns() + 10**12, lambda _: "[]")
        tx.leases.take_paths(fence, [], exclusive)


def _publish(drive: MirrorDrive, path: str) -> None:
    content_id = str(drive.entry(path).content_id)
    with drive.kelp.database.write(quiet=True) as tx:
        tx.reading.publish("a reader", [content_id], drive.clock.now_ns() + 60 * SECOND)


@pytest.fixture
def prepared(drive: MirrorDrive) -> MirrorDrive:
    drive.mkdir("f")
    fill(drive, "f/a", "b")
    return drive


def objects_of(drive: MirrorDrive) -> set[str]:
    return cache_listing.keys(drive.kelp.cache)


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda each: each.__name__.strip("_"))
def test_what_stands_in_the_way(prepared: MirrorDrive, obstacle: Callable[[MirrorDrive], None]) -> None:
    kept = str(prepared.entry("f/a").content_id)
    obstacle(prepared)
    evict_all(prepared)
    assert kept in objects_of(prepared)
    gone = str(prepared.entry("b").content_id) not in objects_of(prepared)
    assert gone is (obstacle is not _nas_without_marker), "the other one may go"
    assert set(statuses(prepared).values()) <= {"AVAILABLE", "MISSING"}
    assert ("NAS_FILE_CHANGED" in alerts_open(prepared)) is (obstacle in CHANGED)


def instead_of_waiting(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Of eviction alone: other threads of this process, of tests before, sleep as ever."""
    monkeypatch.setattr(evicting, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: act()))


@pytest.mark.parametrize("obstacle", (_read, *CHANGED, _nas_without_marker), ids=lambda each: each.__name__.strip("_"))
def test_what_comes_in_between(
    prepared: MirrorDrive, obstacle: Callable[[MirrorDrive], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was marked, before it is deleted."""
    kept = str(prepared.entry("f/a").content_id)
    instead_of_waiting(monkeypatch, lambda: obstacle(prepared))
    evict_all(prepared)
    assert kept in objects_of(prepared)
    assert statuses(prepared)["a"] == "AVAILABLE"


def test_without_obstacles_it_goes(prepared: MirrorDrive) -> None:
    assert evict_all(prepared) == set()
    assert statuses(prepared) == {"a": "MISSING", "b": "MISSING"}
    assert prepared.read("f/a") == body("f/a")


def test_what_went_with_its_folder_is_not_missed(prepared: MirrorDrive) -> None:
    """Its row is marked a minute later; neither store has it any more."""
    evict_all(prepared)
    prepared.purge(prepared.trash("f"))
    prepared.settle_down()
    assert "a" not in in_cache(prepared)
    prepared.check()


def test_nothing_goes_while_the_nas_is_down(drive: MirrorDrive) -> None:
    fill(drive, *"abcdefghijkl")
    nas_outage.declare(drive.kelp, NasDown("the NAS is away", "EIO"))
    assert run(drive) == 0
    assert nas_outage.probe(drive.kelp)
    assert run(drive) == 4


def test_a_file_that_moved_meanwhile_on_the_nas_is_found(
    prepared: MirrorDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move() -> None:
        prepared.move("f", "g")
        prepared.settle_down()

    instead_of_waiting(monkeypatch, move)
    assert evict_all(prepared) == set()
    assert prepared.read("g/a") == body("f/a")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_the_mirror_is_just_moving_is_no_change_by_others(
    prepared: MirrorDrive, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been renamed on the NAS, and that is not recorded yet."""

    def move() -> None:
        source, target = ("f/a", "f/A") if what == "file" else ("f", "g")
        prepared.move(source, target)
        work_unrecorded(prepared)

    instead_of_waiting(monkeypatch, move)
    evict_all(prepared)
    assert alerts.listing(prepared.kelp) == []


@pytest.mark.parametrize("what", ["file", "folder", "both", "overwritten"])
def test_what_the_mirror_has_moved_and_not_recorded_is_read(
    prepared: MirrorDrive, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker may be at a large file of the same batch, or dead."""

    def no_waiting(_seconds: float) -> None:
        pytest.fail("it waits for the record")

    evict_all(prepared)
    content_id = prepared.entry("f/a").content_id
    with prepared.kelp.database.read() as tx:
        content = tx.contents.get(str(content_id))
    assert content is not None
    if what in ("file", "both"):
        prepared.move("f/a", "f/A")
    if what in ("folder", "both"):
        prepared.move("f", "g")
    if what == "overwritten":
        prepared.pass_time(70)
        prepared.put("f/a", b"new")
    work_unrecorded(prepared)
    monkeypatch.setattr(nas_copies.time, "sleep", no_waiting)
    assert b"".join(opening.Reader(prepared.kelp, content).chunks()) == body("f/a")


def test_a_nas_that_numbers_its_files_anew(prepared: MirrorDrive) -> None:
    """As some do at each mount: the file is read, and found to be the same."""
    _sql(prepared, "UPDATE entries SET nas_inode = nas_inode + 1 WHERE nas_inode IS NOT NULL")
    assert evict_all(prepared) == set()
    assert prepared.read("f/a") == body("f/a")
    prepared.check()


def test_copies_versions_and_the_trash_may_go(drive: MirrorDrive) -> None:
    fill(drive, "a", "b", "t")
    drive.copy("a", "copy")
    drive.pass_time(70)
    drive.put("b", body("B"))
    drive.trash("t")
    drive.settle_down()
    assert evict_all(drive) == set()
    assert objects_of(drive) == set()
    assert drive.read("copy") == body("a") and drive.versions("b") == [body("b")]
    drive.check_mirrored()


def test_what_is_evicted_can_be_changed_in_every_way(drive: MirrorDrive) -> None:
    """The mirror has to take the bytes from the NAS, and keeps the only copies."""
    fill(drive, "a", "b", "c", "d")
    evict_all(drive)
    drive.copy("a", "copy")
    drive.remove("a")
    drive.pass_time(70)
    drive.put("b", b"new")
    drive.move("c", "moved")
    restored = drive.trash("d")
    drive.settle_down()
    drive.restore(restored)
    assert drive.read("copy") == body("a")
    assert drive.versions("b") == [body("b")]
    assert drive.read("moved") == body("c") and drive.read("d") == body("d")
    drive.check_mirrored()


def test_a_busy_machine_is_no_reason_to_look_rarely(drive: MirrorDrive) -> None:
    """Adding up took long, for a few objects: what it waited for was its turn."""
    fill(drive, *"abcdefghi")
    cache_limits.refresh(drive.kelp)
    noted = cache_limits.known(drive.kelp)
    assert noted is not None
    drive.pass_time(2)
    assert cache_limits.is_due(drive.kelp, replace(noted, took=9.0))
    assert not cache_limits.is_due(drive.kelp, replace(noted, took=9.0, objects=10_000_000))
