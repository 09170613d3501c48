"""Trash and purge on the NAS; what people put there by hand is never deleted."""

from __future__ import annotations

import re

import pytest

from jobs import batches
from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.test_versions import foreign
from vfs.operations import purging, trashing


def test_a_trashed_file_lies_in_a_folder_named_by_time_and_uuid(drive: MirrorDrive) -> None:
    entry = drive.put("f", b"f")
    drive.settle_down()
    name = drive.nas_path("f").name
    drive.trash("f")
    drive.settle_down()
    (folder,) = (drive.root / ".trash").iterdir()
    assert re.fullmatch(rf"\d{{14}}__{entry.uuid}", folder.name) and (folder / name).read_bytes() == b"f"
    drive.check_mirrored()
    drive.restore(entry.uuid)
    drive.check_mirrored()
    assert drive.nas_path("f").name == name and list((drive.root / ".trash").iterdir()) == []


@pytest.mark.parametrize("mirrored", [True, False], ids=["mirrored", "never mirrored"])
def test_trash_restore_and_purge_of_a_folder(drive: MirrorDrive, mirrored: bool) -> None:
    drive.mkdir("a")
    drive.mkdir("a/b")
    drive.put("a/b/f", b"f")
    if mirrored:
        drive.settle_down()
    uuid = drive.trash("a")
    if mirrored:
        drive.settle_down()
    drive.check_mirrored()
    drive.restore(uuid)
    drive.check_mirrored()
    drive.purge(drive.trash("a"))
    drive.check_mirrored()
    assert drive.raw_nas(private=True).keys() <= {".kelp", ".kelp/drive.json", ".kelp/tmp", ".trash"}


def test_the_trash_can_be_emptied_before_it_was_mirrored(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    for name in "fgh":
        drive.put(f"a/{name}")
    drive.settle_down()
    for name in "fg":
        drive.trash(f"a/{name}")
    drive.trash("a")
    assert trashing.empty_trash(drive.kelp, drive.caller) == 3
    batches.run_all(drive.kelp)
    drive.check_mirrored()
    assert drive.on_nas() == {}


@pytest.mark.parametrize("spread", [True, False], ids=["rows below deleted first", "mirror first"])
@pytest.mark.parametrize("mirrored", [True, False], ids=["mirrored before the purge", "all at once"])
def test_a_trashed_file_inside_a_purged_folder_stays_restorable(
    drive: MirrorDrive, mirrored: bool, spread: bool
) -> None:
    drive.mkdir("a")
    drive.mkdir("a/b")
    drive.put("a/b/kept", b"kept")
    drive.put("a/b/gone")
    drive.settle_down()
    uuid = drive.trash("a/b/kept")
    if mirrored:
        drive.settle_down()
    drive.purge(drive.trash("a"))
    for _ in range(3 if spread else 0):
        purging.spread_deletion(drive.kelp)
    drive.settle_down()
    drive.check_mirrored()
    drive.restore(uuid)
    drive.check_mirrored()
    assert drive.on_nas() == {"a": None, "a/b": None, "a/b/kept": b"kept"}


def test_a_file_restored_out_of_a_trashed_folder_that_is_then_purged(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    kept = drive.put("a/kept", b"kept")
    drive.put("a/gone")
    drive.settle_down()
    uuid = drive.trash("a")
    drive.restore(kept.uuid)
    drive.purge(uuid)
    drive.check_mirrored()
    assert drive.on_nas() == {"a": None, "a/kept": b"kept"}


def test_what_people_put_into_a_folder_survives_its_purge(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("a/b")
    drive.put("a/b/ours")
    drive.put("a/changed", b"ours")
    drive.settle_down()
    (drive.root / "a" / "b" / "by hand").write_bytes(b"a stranger's")
    (drive.root / "a" / "folder by hand").mkdir()
    drive.nas_path("a/changed").write_bytes(b"changed by hand")
    drive.purge(drive.trash("a"))
    drive.check_mirrored()
    assert sorted(foreign(drive)) == [b"a stranger's", b"changed by hand"]


def test_what_people_put_into_a_folder_goes_with_it_to_the_trash_and_back(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.settle_down()
    (drive.root / "a" / "by hand").write_bytes(b"a stranger's")
    uuid = drive.trash("a")
    drive.settle_down()
    drive.restore(uuid)
    drive.settle_down()
    assert (drive.root / "a" / "by hand").read_bytes() == b"a stranger's"
    drive.check(mirrored=False)


def test_a_file_changed_by_hand_is_not_purged(drive: MirrorDrive) -> None:
    drive.put("f", b"ours")
    drive.settle_down()
    drive.nas_path("f").write_bytes(b"changed by hand")
    drive.purge(drive.trash("f"))
    drive.check_mirrored()
    assert foreign(drive) == [b"changed by hand"] and drive.on_nas() == {}


def test_expired_trash_leaves_the_nas(drive: MirrorDrive) -> None:
    drive.put("f")
    drive.settle_down()
    drive.trash("f")
    drive.settle_down()
    drive.pass_time(31 * 86_400)
    batches.run_all(drive.kelp)
    drive.check_mirrored()
    assert list((drive.root / ".trash").iterdir()) == []
    for _ in range(3):
        drive.pass_time(200)
        batches.run_all(drive.kelp)
    drive.check()
    assert list(drive.kelp.cache.list()) == []


def test_a_file_that_goes_from_a_folder_in_the_trash_leaves_the_folder_there(drive: MirrorDrive) -> None:
    """The file was deleted first, but the folder was carried first: two workers, or a file that had to wait."""
    drive.mkdir("f")
    drive.pass_time(100)
    drive.put("f/a", b"young")
    drive.settle_down()
    gone = drive.entry("f/a").id
    drive.remove("f/a")
    with drive.kelp.database.write() as tx:
        tx.events.put_off(gone, drive.kelp.clock.now_ns() + 10_000_000_000)
    drive.remove("f")
    drive.drain()
    drive.pass_time(11)
    drive.check_mirrored()
    (item,) = (drive.root / ".trash").iterdir()
    assert [path.name for path in item.iterdir()] == ["f"]
