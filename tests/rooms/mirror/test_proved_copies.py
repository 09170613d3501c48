"""What is recorded to have a content is proved by looking, right before the last file that surely has it goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.mirror_drive import MirrorDrive, Pause
from tests.rooms.mirror.test_only_copies import Forgetful, all_good, evict, put_off
from vfs.model import OnConflict

A = b"A" * 1000
Change = Callable[[MirrorDrive], None]


def purge(drive: MirrorDrive) -> None:
    drive.purge(drive.trash("a/f"))


def purge_folder(drive: MirrorDrive) -> None:
    drive.purge(drive.trash("a"))


def overwrite(drive: MirrorDrive) -> None:
    """At once after it was written, so that nothing is kept of it."""
    with drive.kelp.database.write() as tx:
        tx.run(
            "UPDATE entries SET content_ns = :now WHERE id = :id", now=drive.clock.now_ns(), id=drive.entry("a/f").id
        )
    drive.put("a/f", b"B")
    assert drive.versions("a/f") == []


CHANGES = pytest.mark.parametrize("change", [purge, purge_folder, overwrite])


def left(change: Change) -> dict[str, bytes]:
    return {"a/f": b"B"} if change is overwrite else {}


@CHANGES
def test_another_file_that_somebody_removed_is_no_copy(drive: MirrorDrive, change: Change) -> None:
    drive.mkdir("a")
    drive.put("a/f", A)
    drive.copy("a/f", "g")
    drive.settle_down()
    evict(drive, "g")
    drive.nas_path("g").unlink()
    change(drive)
    drive.settle_down()
    assert drive.read("g") == A  # back in the cache; the scrub writes it to the NAS


def test_a_version_that_somebody_removed_is_no_copy(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("a/f", A)
    drive.put("g", b"G")
    drive.settle_down()
    drive.copy("a/f", "g", OnConflict.OVERWRITE)
    drive.settle_down()
    drive.pass_time(70)
    drive.put("g", b"H")
    drive.settle_down()
    assert drive.versions("g")[0] == A
    evict(drive, "a/f")
    gone = [
        path for path in (drive.root / ".kelp" / "versions").rglob("*") if path.is_file() and path.read_bytes() == A
    ]
    assert len(gone) == 1
    gone[0].unlink()
    purge(drive)
    drive.settle_down()
    assert drive.versions("g")[0] == A


@CHANGES
def test_bytes_that_rot_in_the_cache_are_no_copy(drive: MirrorDrive, change: Change) -> None:
    drive.mkdir("a")
    drive.put("a/f", A)
    drive.settle_down()
    drive.kelp = replace(drive.kelp, small=Forgetful())
    drive.copy("a/f", "g")
    put_off(drive, "g", 60)
    key = drive.entry("g").content_id or ""
    drive.kelp.cache.delete(key)
    drive.kelp.cache.put(key, [b"R" * len(A)])
    change(drive)
    drive.drain()
    drive.drain()
    assert drive.read("g") == A
    drive.pass_time(60)
    all_good(drive, g=A, **left(change))


def test_a_folder_goes_though_the_cache_has_lost_what_is_needed_of_it(drive: MirrorDrive) -> None:
    """It is read where it is, before the folder moves away."""
    drive.mkdir("a")
    drive.put("a/f", A)
    drive.settle_down()
    drive.copy("a/f", "g")
    put_off(drive, "g", 60)
    evict(drive, "g", told=False)
    purge_folder(drive)
    for _ in range(5):
        drive.drain()
        drive.pass_time(6)
    assert drive.on_nas() == {} and drive.read("g") == A
    drive.pass_time(60)
    all_good(drive, g=A)


def test_an_evicted_document_is_saved_over_while_its_folder_moves_on_the_nas(drive: MirrorDrive) -> None:
    """What gives way to a safe save is its version, whatever the mirror has under way."""
    drive.mkdir("a")
    drive.put("a/d", A)
    drive.settle_down()
    drive.pass_time(100)
    evict(drive, "a/d")
    drive.move("a", "b")
    drive.nas.before = pause = Pause(lambda method, _: method == "move")
    worker = threading.Thread(target=drive.drain)
    worker.start()
    pause.wait()
    drive.put("b/new", b"B")
    drive.move("b/new", "b/d", OnConflict.OVERWRITE)
    pause.resume()
    worker.join()
    drive.check_mirrored()
    assert drive.read("b/d") == b"B" and drive.versions("b/d") == [A]
