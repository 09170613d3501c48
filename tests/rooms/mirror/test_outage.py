"""The NAS goes away, is read-only, is full: nothing is lost, no retry is used, and it goes on by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import batches, outage
from tests.mirror_drive import MirrorDrive
from tests.mirror_drive import StagedNas as Staged
from tests.rooms.mirror.test_only_copies import evict
from tests.small_disk import mount, unmount
from vfs.errors import NasDown, NasFault, StoreUnavailable
from vfs.operations import backlog, contents, mirroring

MIB = 1024 * 1024


def used_retries(drive: MirrorDrive) -> int:
    return max((retries for _, _, retries in drive.events()), default=0)


def down(drive: MirrorDrive, method: str, reason: str = "EIO") -> None:
    """From now on each call of `method` says that the NAS does not work."""

    def fail(called: str, arguments: tuple[Any, ...]) -> None:
        if called == method:
            raise NasDown("it does not answer", reason)

    drive.nas.before = fail


def back(drive: MirrorDrive) -> None:
    drive.nas.calm()
    assert outage.probe(drive.kelp)


def work(drive: MirrorDrive) -> None:
    """Some of everything, whatever the NAS does."""
    drive.mkdir("new")
    drive.put("new/f", b"new")
    drive.move("a/f", "moved")
    drive.put("a/g", b"overwritten")
    drive.trash("a/h")


@pytest.fixture
def busy(drive: MirrorDrive) -> MirrorDrive:
    drive.mkdir("a")
    for name in "fgh":
        drive.put(f"a/{name}", name.encode())
    drive.settle_down()
    drive.pass_time(70)
    return drive


@pytest.mark.parametrize("method", ["verify", "stat", "write", "move", "link", "make_folder", "sync"])
def test_a_fault_of_the_nas_uses_up_no_retry(busy: MirrorDrive, method: str) -> None:
    work(busy)
    down(busy, method)
    for _ in range(6):
        busy.drain()
        busy.pass_time(5)
        mirroring.renew(busy.kelp, "worker")  # the heartbeat of a process that lives through the outage
    state = backlog.backlog(busy.kelp)
    assert not state.nas_up and "does not answer" in state.nas_reason and state.failed == 0
    assert used_retries(busy) == 0
    back(busy)
    busy.check_mirrored()


def test_a_cache_that_is_away_uses_up_no_retry(busy: MirrorDrive) -> None:
    """However long: what needs no bytes of it goes on, the rest waits."""
    cache = Staged(busy.kelp.cache)
    busy.kelp = replace(busy.kelp, cache=cache)  # type: ignore[arg-type]
    work(busy)
    asked: list[str] = []

    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        asked.append(method)
        raise StoreUnavailable("the cache does not answer")

    cache.before = fail
    for _ in range(30):
        busy.drain()
        busy.pass_time(2)
    assert backlog.backlog(busy.kelp).failed == 0 and used_retries(busy) == 0
    assert len(asked) < 30, "it is not asked again for each entry that waits"
    assert "moved" in busy.on_nas() and "new/f" not in busy.on_nas()
    cache.calm()
    busy.pass_time(10)
    busy.check_mirrored()


def test_what_the_cache_has_lost_is_told(busy: MirrorDrive) -> None:
    busy.put("lost", b"nowhere else")
    with busy.kelp.database.read() as tx:
        content = contents.get(tx, busy.entry("lost").content_id or "")
    busy.kelp.cache.delete(content.parts[0].key)
    for _ in range(10):
        busy.drain()
        busy.pass_time(20)
    assert backlog.backlog(busy.kelp).failed == 1


def test_nothing_is_tried_while_the_nas_is_down(busy: MirrorDrive) -> None:
    work(busy)
    down(busy, "write")
    busy.drain()
    calls: list[str] = []
    busy.nas.before = lambda method, arguments: calls.append(method)
    assert busy.drain() == 0 and calls == []
    down(busy, "probe")
    assert not outage.probe(busy.kelp)
    back(busy)
    busy.check_mirrored()


def test_what_was_begun_and_is_no_longer_wanted_after_an_outage(busy: MirrorDrive) -> None:
    """The content of a job cut short may be freed before anyone looks how far it came."""
    down(busy, "write")
    busy.put("a/new", b"first")
    busy.put("a/another", b"first")
    busy.drain()
    busy.put("a/new", b"second")  # at once, by the same user: no version
    for _ in range(4):
        busy.pass_time(100)
        batches.run_all(busy.kelp)
    back(busy)
    busy.check_mirrored()
    assert busy.on_nas("")["a/new"] == b"second"


@contextmanager
def bind_mount(source: Path, target: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", "--bind", str(source), str(target)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        unmount(target)


def test_the_nas_is_unmounted_and_mounted_again(new_drive: Path, tmp_path: Path) -> None:
    share, point = tmp_path / "share", tmp_path / "mounted"
    share.mkdir()
    point.mkdir()
    with bind_mount(share, point):
        drive = MirrorDrive(tmp_path / "drive", nas_root=point)
        drive.mkdir("a")
        drive.put("a/f", b"f")
        drive.put("a/g", b"g")
        drive.settle_down()
    drive.put("a/f", b"while it was away")
    drive.move("a/g", "g")
    drive.mkdir("b")
    for _ in range(3):
        drive.drain()
        drive.pass_time(10)
        assert not outage.probe(drive.kelp)
    assert os.listdir(point) == [], "nothing is written to the empty folder"
    assert used_retries(drive) == 0 and drive.read("g") == b"g"
    with bind_mount(share, point):
        back(drive)
        drive.check_mirrored()
        assert drive.on_nas() == {"a": None, "a/f": b"while it was away", "b": None, "g": b"g"}
        drive.close()


@pytest.mark.parametrize("together", [False, True])
def test_the_nas_is_unmounted_in_the_middle_of_a_batch(tmp_path: Path, together: bool) -> None:
    share, point = tmp_path / "share", tmp_path / "mounted"
    share.mkdir()
    point.mkdir()
    with bind_mount(share, point):
        drive = MirrorDrive(tmp_path / "drive", nas_root=point)
    with bind_mount(share, point):
        for name in "abcdef":
            drive.put(name, name.encode())

        def unmount_at_c(method: str, arguments: tuple[Any, ...]) -> None:
            if method == "place_together" if together else method == "move" and arguments[1].endswith("__c"):
                unmount(point)

        if not together:
            drive.nas.inner.place_together = lambda source, target, names: set()
        drive.nas.after = unmount_at_c
        drive.drain()
        drive.nas.calm()
        assert not backlog.backlog(drive.kelp).nas_up
        assert os.listdir(point) == []
        subprocess.run(["mount", "--bind", str(share), str(point)], check=True)
        back(drive)
        drive.check_mirrored()
        assert set(drive.on_nas()) == set("abcdef") and used_retries(drive) == 0
        drive.close()


def test_a_read_only_nas(tmp_path: Path) -> None:
    point = tmp_path / "nas"
    mount(point, "4m")
    try:
        drive = MirrorDrive(tmp_path / "drive", nas_root=point)
        drive.put("a", b"a")
        drive.settle_down()
        subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
        drive.put("b", b"b")
        drive.move("a", "c")
        drive.drain()
        state = backlog.backlog(drive.kelp)
        assert not state.nas_up and state.failed == 0 and used_retries(drive) == 0
        assert not outage.probe(drive.kelp)
        subprocess.run(["mount", "-o", "remount,rw", str(point)], check=True)
        back(drive)
        drive.check_mirrored()
        assert drive.on_nas() == {"b": b"b", "c": b"a"}
        drive.close()
    finally:
        unmount(point)


def test_a_full_nas(tmp_path: Path) -> None:
    point = tmp_path / "nas"
    mount(point, "24m")
    try:
        drive = MirrorDrive(tmp_path / "drive", nas_root=point)
        drive.put("a", b"a")
        drive.settle_down()
        filler = point / "filler"
        filler.write_bytes(bytes(23 * MIB))
        drive.put("b", bytes(2 * MIB))
        drive.put("c", bytes(3 * MIB))
        drive.drain()
        state = backlog.backlog(drive.kelp)
        assert not state.nas_up and state.failed == 0 and used_retries(drive) == 0
        assert not outage.probe(drive.kelp)
        assert drive.raw_nas(".kelp/tmp") == {}, "what did not fit takes no room"
        filler.unlink()
        back(drive)
        drive.check_mirrored()
        drive.close()
    finally:
        unmount(point)


def test_the_order_after_an_outage_is_oldest_first(busy: MirrorDrive) -> None:
    down(busy, "verify")
    for name in ("z", "y", "x"):
        busy.put(name)
        busy.pass_time(1)
        busy.drain()
    written: list[str] = []

    def note(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "move":
            written.append(arguments[1][-1])

    back(busy)
    busy.nas.inner.place_together = lambda source, target, names: set()
    busy.nas.after = note
    busy.drain()
    assert written == ["z", "y", "x"]
    busy.check_mirrored()


def test_a_process_that_starts_while_the_nas_is_away(open_drive: Callable[..., MirrorDrive]) -> None:
    drive = open_drive()
    drive.put("a", b"a")
    drive.settle_down()
    drive.close()
    away = drive.root.with_name("away")
    drive.root.rename(away)
    drive.root.mkdir()
    drive = open_drive()
    drive.put("b", b"b")
    drive.drain()
    assert os.listdir(drive.root) == [] and drive.read("a") == b"a"
    drive.root.rmdir()
    away.rename(drive.root)
    back(drive)
    drive.check_mirrored()
    assert drive.on_nas() == {"a": b"a", "b": b"b"}


def test_files_whose_bytes_cannot_be_had_hold_up_no_others(drive: MirrorDrive) -> None:
    """One file of the NAS cannot be read, and the cache has not what is in it: that is no cache that is away."""
    for name in ("a", "b"):
        drive.put(name, name.encode())
    drive.settle_down()
    evict(drive, "a", "b")
    for name in ("a", "b"):
        drive.copy(name, f"{name}-copy")
    drive.put("new", b"only in the cache")
    bad = {drive.nas_path(name).name for name in ("a", "b")}

    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "read" and arguments[0] in bad:
            raise NasFault("a bad place of the disk")

    drive.nas.before = fail
    for _ in range(4):
        drive.drain()
        drive.pass_time(6)
    assert set(drive.on_nas()) == {"a", "b", "new"}
    drive.nas.calm()
    drive.check_mirrored()


def test_a_reason_that_no_database_takes_is_told_in_escapes(drive: MirrorDrive) -> None:
    """It may name a file of somebody else's, of any bytes."""

    def fail(method: str, _arguments: tuple[Any, ...]) -> None:
        if method == "write":
            raise NasFault("no \udcff and \0 here\nnor there")

    drive.nas.before = fail
    drive.put("a", b"a")
    drive.drain()
    [event] = backlog.events(drive.kelp)
    assert event.error_message == r"no \udcff and \x00 here\nnor there"
    drive.nas.calm()
    drive.pass_time(6)
    drive.drain()
    drive.check_mirrored()
