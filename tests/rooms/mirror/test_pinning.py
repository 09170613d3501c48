"""Pins and warming: what stays in the cache, and comes to it before somebody asks. By the commands, too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable

import pytest

import kelp as command_line
from tests import engines
from tests.mirror_drive import MirrorDrive
from tests.waiting import until
from vfs.core import Kelp
from vfs.model import Content
from vfs.operations import cache_limits, evicting, nas_outage, pinning, restoring
from vfs.operations.restoring import Restored

SIZE = 4096
Opened = Callable[..., MirrorDrive]


@pytest.fixture
def drive(open_drive: Opened) -> MirrorDrive:
    drive = open_drive(cache_publish=0.01)
    drive.mkdir("f")
    drive.mkdir("f/g")
    for path in ("a", "f/b", "f/g/c", "d"):
        drive.put(path, path.encode() * SIZE)
    drive.settle_down()
    return drive


def evict_all(drive: MirrorDrive) -> None:
    drive.pass_time(30)
    evicting.evict(drive.kelp, 1 << 40)


def in_cache(drive: MirrorDrive, *paths: str) -> set[str]:
    keys = {info.key for info in drive.kelp.cache.list()}
    return {path for path in paths or ("a", "f/b", "f/g/c", "d") if drive.entry(path).content_id in keys}


def test_pinned_files_and_folders_stay(drive: MirrorDrive) -> None:
    assert pinning.pin(drive.kelp, drive.caller, drive.entry("f"))
    assert pinning.pin(drive.kelp, drive.caller, drive.entry("a"))
    assert not pinning.pin(drive.kelp, drive.caller, drive.entry("a"))
    evict_all(drive)
    assert in_cache(drive) == {"a", "f/b", "f/g/c"}
    assert pinning.unpin(drive.kelp, drive.caller, drive.entry("a"))
    drive.move("f/g", "g")
    drive.settle_down()
    evict_all(drive)
    assert in_cache(drive, "a", "f/b", "g/c", "d") == {"f/b"}
    drive.check_mirrored()


def test_what_is_pinned_later_comes_back_by_itself(drive: MirrorDrive) -> None:
    evict_all(drive)
    assert pinning.warm_pinned(drive.kelp).count == 0
    pinning.pin(drive.kelp, drive.caller, drive.entry("f"))
    done = pinning.warm_pinned(drive.kelp)
    assert (done.count, done.bytes) == (2, SIZE * 8)
    assert in_cache(drive) == {"f/b", "f/g/c"}
    assert pinning.warm_pinned(drive.kelp).count == 0


def test_a_pin_goes_with_its_file(drive: MirrorDrive) -> None:
    pinning.pin(drive.kelp, drive.caller, drive.entry("a"))
    drive.purge(drive.trash("a"))
    assert pinning.pins(drive.kelp) == []


def test_warm_brings_what_is_missing_and_tells(drive: MirrorDrive) -> None:
    evict_all(drive)
    told: list[tuple[int, int]] = []
    warmed = pinning.warm(drive.kelp, [drive.entry("")], lambda one: told.append((one.files, one.all_files)))
    assert (warmed.files, warmed.failed, warmed.restored) == (4, 0, SIZE * 10)
    assert warmed.bytes == warmed.all_bytes and told[-1] == (4, 4)
    assert pinning.warm(drive.kelp, [drive.entry("f")]).restored == 0
    assert in_cache(drive) == {"a", "f/b", "f/g/c", "d"}
    drive.check_mirrored()


@pytest.mark.engine(cache="folder", reason="wipes it")
def test_a_wiped_cache_comes_back(drive: MirrorDrive) -> None:
    shutil.rmtree(drive.settings.data / "cache" / "objects")
    (drive.settings.data / "cache" / "objects").mkdir()
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert (warmed.files, warmed.restored) == (4, SIZE * 10)
    assert drive.shown()["f/g/c"] == b"f/g/c" * SIZE
    drive.check_mirrored()


def test_warm_respects_the_limit(open_drive: Opened) -> None:
    drive = open_drive(cache_limit=str(100 * SIZE), cache_publish=0.01)
    for number in range(150):
        drive.put(f"{number:03}", bytes(SIZE))
    drive.settle_down()
    evict_all(drive)
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert 90 <= warmed.files <= 104  # what is on its way while the share begins anew is not seen
    assert warmed.failed == 150 - warmed.files
    assert cache_limits.measure(drive.kelp).clean == warmed.files * SIZE


def test_a_file_is_not_given_up_while_others_take_the_share_before_it(
    open_drive: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that it asks, what may be brought until the next look was just used up by them, and they go on."""
    drive = open_drive(cache_limit=str(1000 * SIZE), cache_publish=0.01)
    for number in range(40):
        drive.put(f"{number:03}", bytes(SIZE if number else SIZE + 1))
    drive.settle_down()
    evict_all(drive)
    brought: list[str] = []
    known = [0]  # of them, each time that it asked
    room_for, restore = cache_limits.room_for, restoring.restore

    def too_late(kelp: Kelp, size: int) -> bool:
        if size == SIZE + 1 and known[-1] < 35 and len(known) < 10:
            until(lambda: len(brought) > known[-1])
            known.append(len(brought))
            return False
        return room_for(kelp, size)

    def noted(kelp: Kelp, content: Content) -> Restored:
        done = restore(kelp, content)
        brought.extend([content.id] * done.objects)
        return done

    monkeypatch.setattr(cache_limits, "room_for", too_late)
    monkeypatch.setattr(restoring, "restore", noted)
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert (warmed.files, warmed.failed) == (40, 0)


def test_warming_into_a_full_cache_does_not_add_it_up_for_each_file(
    open_drive: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = open_drive(cache_limit=str(10 * SIZE), cache_publish=0.01)
    for number in range(60):
        drive.put(f"{number:03}", bytes(SIZE))
    drive.settle_down()
    evict_all(drive)
    refreshed: list[int] = []
    refresh = cache_limits.refresh
    monkeypatch.setattr(cache_limits, "refresh", lambda kelp: refreshed.append(1) or refresh(kelp))  # type: ignore[func-returns-value]
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert warmed.failed >= 40
    assert len(refreshed) < 40


def test_an_interrupted_warming_does_not_begin_what_waits(drive: MirrorDrive) -> None:
    for number in range(60):
        drive.put(f"{number:03}", bytes(SIZE))
    drive.settle_down()
    evict_all(drive)

    def interrupt(warmed: pinning.Warmed) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pinning.warm(drive.kelp, [drive.entry("")], interrupt)
    assert len(in_cache(drive)) < 50


def test_warm_without_the_nas(drive: MirrorDrive) -> None:
    evict_all(drive)
    drive.nas_path("f/b").unlink()
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert (warmed.files, warmed.failed) == (3, 1)
    assert [entry_id for entry_id, _ in warmed.reasons] == [drive.entry("f/b").id]
    evict_all(drive)
    (drive.root / ".kelp" / "drive.json").unlink()
    assert not nas_outage.probe(drive.kelp)
    warmed = pinning.warm(drive.kelp, [drive.entry("")])
    assert warmed.stopped and warmed.failed


# --- commands ---


@pytest.fixture
def run(
    drive: MirrorDrive, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr("time.time_ns", drive.clock.now_ns)

    def run(*arguments: str) -> tuple[int, str, str]:
        places = ["--data", str(drive.settings.data), "--nas", str(drive.root)]
        code = command_line.run([*arguments, *places])
        return (code, *capsys.readouterr())

    return run


EMBEDDED = pytest.mark.skipif(engines.CHOSEN != engines.EMBEDDED, reason="the commands read no settings of tests")


@EMBEDDED
def test_commands(drive: MirrorDrive, run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("cache", "pin", "/f", "/a") == (0, "/f is pinned\n/a is pinned\n", "")
    assert run("cache", "pin", "/a") == (0, "/a is pinned already\n", "")
    code, out, _ = run("cache", "pin", "--list")
    assert code == 0 and [line.split("\t")[0] for line in out.splitlines()] == ["/f", "/a"]
    assert run("cache", "pin", "--remove", "/a") == (0, "/a is no longer pinned\n", "")
    assert run("cache", "pin", "--remove", "/a") == (0, "/a is not pinned\n", "")
    assert run("cache", "pin", "--remove")[0] == 2
    assert run("cache", "pin", "--list", "/a")[0] == 2
    assert run("cache", "pin", "/nowhere")[0] == 1
    facts = json.loads(run("cache", "status", "--json")[1])
    assert facts["onNas"] == facts["bytes"] == SIZE * 11 - SIZE
    assert facts["pins"] == 1 and facts["onlyHere"] == 0 and facts["limit"] < facts["hardLimit"]
    assert "on the NAS too\t40 KiB of" in run("cache", "status")[1]


@EMBEDDED
def test_the_command_warm(drive: MirrorDrive, run: Callable[..., tuple[int, str, str]]) -> None:
    evict_all(drive)
    assert run("cache", "warm", "/f") == (0, "2 files, 32 KiB, are in the cache, 32 KiB of it came from the NAS\n", "")
    evict_all(drive)
    os.unlink(drive.nas_path("f/b"))
    code, out, err = run("cache", "warm", "/f", "/a")
    assert code == 1 and out.startswith("2 files") and "/f/b: " in err
