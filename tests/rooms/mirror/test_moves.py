"""Renames and moves of what the mirror is just working on, in the way of, or has not even begun."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.mirror_drive import Killed, MirrorDrive, Pause
from vfs.model import OnConflict


@contextmanager
def paused(drive: MirrorDrive, method: str, part: str = "") -> Iterator[None]:
    """A worker in a second thread stands right before NAS call `method` on a path that holds `part`."""

    def wanted(called: str, arguments: tuple[Any, ...]) -> bool:
        return called == method and any(part in str(argument) for argument in arguments[:2])

    pause = Pause(wanted)
    drive.nas.before = pause
    worker = threading.Thread(target=drive.drain, args=("slow worker",))
    worker.start()
    try:
        pause.wait()
        yield
    finally:
        pause.resume()
        worker.join(30)


def test_a_folder_is_renamed_while_a_file_below_it_is_written_and_another_takes_its_name(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.settle_down()
    drive.put("a/f", b"below the old folder")
    with paused(drive, "write"):
        drive.move("a", "b")
        drive.mkdir("a")
        drive.put("a/f", b"below the new folder")
        drive.drain("second worker")
        assert set(drive.on_nas()) == {"a"}, "nothing moves under the file that is being written"
    drive.check_mirrored()
    assert drive.on_nas() == {"a": None, "a/f": b"below the new folder", "b": None, "b/f": b"below the old folder"}


def test_a_file_is_overwritten_and_moved_away_between_its_bytes_and_their_place(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("f", b"first")
    with paused(drive, "move", ".kelp/tmp"):
        drive.put("f", b"second")
        drive.move("f", "a/g")
        drive.drain("second worker")
    drive.check_mirrored()
    assert drive.on_nas() == {"a": None, "a/g": b"second"}


def test_a_folder_is_purged_while_a_file_below_it_is_written(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.settle_down()
    drive.put("a/f")
    with paused(drive, "write"):
        drive.purge(drive.trash("a"))
        drive.drain("second worker")
    drive.check_mirrored()
    assert drive.on_nas() == {}


def test_steady_writing_below_a_folder_does_not_keep_it_from_moving(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("a/f", b"0")
    drive.settle_down()
    drive.put("a/f", b"1")
    with paused(drive, "write"):
        drive.move("a", "b")
        drive.drain("second worker")
        drive.put("b/f", b"2")
        drive.put("b/g", b"new")
    drive.clock.advance(0.3)
    drive.put("b/f", b"3")
    drive.drain()
    assert "b" in drive.on_nas()
    drive.check_mirrored()


@pytest.mark.parametrize("mirrored", [True, False], ids=["all mirrored before", "mirrored only now and then"])
def test_two_files_swap_their_names(drive: MirrorDrive, mirrored: bool) -> None:
    drive.put("a", b"A")
    drive.put("b", b"B")
    drive.settle_down()
    for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
        drive.move(source, target)
        if not mirrored:
            drive.drain()
    drive.check_mirrored()
    assert drive.on_nas() == {"a": b"B", "b": b"A"}


def test_two_folders_swap_their_names(drive: MirrorDrive) -> None:
    for name in ("a", "b"):
        drive.mkdir(name)
        drive.put(f"{name}/was {name}")
    drive.settle_down()
    for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
        drive.move(source, target)
    drive.put("a/in the new a")
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"a", "a/was b", "a/in the new a", "b", "b/was a"}


def test_three_folders_change_names_round(drive: MirrorDrive) -> None:
    for name in ("a", "b", "c"):
        drive.mkdir(name)
        drive.put(f"{name}/was {name}")
    drive.settle_down()
    for source, target in (("a", "t"), ("b", "a"), ("c", "b"), ("t", "c")):
        drive.move(source, target)
    drive.check_mirrored()
    assert {"a/was b", "b/was c", "c/was a"} < set(drive.on_nas())


def test_a_rename_in_case_only(drive: MirrorDrive) -> None:
    drive.mkdir("Folder")
    drive.put("Folder/File.TXT")
    drive.put("folder")
    drive.settle_down()
    drive.move("Folder/File.TXT", "Folder/file.txt")
    drive.move("folder", "t")
    drive.move("Folder", "folder")
    drive.move("t", "Folder")
    drive.check_mirrored()
    assert drive.on_nas() == {"folder": None, "folder/file.txt": b"content", "Folder": b"content"}


def test_a_name_that_changes_its_form_only(drive: MirrorDrive) -> None:
    """NFC and NFD are one name on the drive; the NAS gets the form that was sent last."""
    drive.put("caf\u00e9")
    drive.settle_down()
    drive.move("caf\u00e9", "cafe\u0301")
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"cafe\u0301"}


@pytest.mark.parametrize("first", ["outer", "inner"], ids=["outer renamed first", "inner moved first"])
def test_a_folder_moves_into_one_that_was_inside_it(drive: MirrorDrive, first: str) -> None:
    """On the NAS the inner one must get out first, whichever change was asked first."""
    drive.mkdir("outer")
    drive.mkdir("outer/between")
    drive.mkdir("outer/between/inner")
    drive.put("outer/f", b"in outer")
    drive.put("outer/between/inner/g", b"in inner")
    drive.settle_down()
    if first == "outer":
        drive.move("outer", "renamed")
        drive.move("renamed/between/inner", "inner")
        drive.move("renamed", "inner/outer")
    else:
        drive.move("outer/between/inner", "inner")
        drive.move("outer", "inner/outer")
        drive.move("inner", "last")
        drive.move("last", "inner")
        drive.move("inner", "other")
        drive.move("other", "inner")
    drive.check_mirrored()
    assert drive.on_nas() == {
        "inner": None,
        "inner/g": b"in inner",
        "inner/outer": None,
        "inner/outer/f": b"in outer",
        "inner/outer/between": None,
    }


def test_inner_and_outer_each_wait_for_an_older_change_of_the_other(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("a/b")
    drive.settle_down()
    drive.move("a/b", "b")
    drive.move("a", "b/a")
    drive.move("b", "c")
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"c", "c/a"}


def test_a_file_takes_the_name_of_its_own_folder(drive: MirrorDrive) -> None:
    """`x/x` → `x`: the folder is trashed to make way, and trash and file pass each other."""
    drive.mkdir("x")
    drive.put("x/x", b"inner")
    drive.settle_down()
    drive.move("x/x", "t")
    uuid = drive.trash("x")
    drive.move("t", "x")
    drive.settle_down()
    assert drive.on_nas() == {"x": b"inner"}
    drive.remove("x")
    drive.restore(uuid)
    drive.check_mirrored()


def test_a_copy_whose_original_is_overwritten_before_it_is_mirrored(drive: MirrorDrive) -> None:
    drive.put("original", b"first")
    drive.settle_down()
    drive.copy("original", "copy")
    drive.pass_time(10)
    drive.put("original", b"second")
    drive.copy("original", "copy of the second")
    drive.purge(drive.trash("original"))
    drive.check_mirrored()
    assert drive.on_nas() == {"copy": b"first", "copy of the second": b"second"}


def test_a_file_moved_out_of_a_purged_folder_stays(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("a/deep")
    drive.put("a/deep/kept", b"kept")
    drive.put("a/gone")
    drive.settle_down()
    drive.move("a/deep/kept", "kept")
    drive.purge(drive.trash("a"))
    drive.check_mirrored()
    assert drive.on_nas() == {"kept": b"kept"} and drive.read("kept") == b"kept"


def test_two_workers_at_once_give_the_tree_of_one(drive: MirrorDrive) -> None:
    for n in range(4):
        drive.mkdir(f"d{n}")
        for m in range(6):
            drive.put(f"d{n}/f{m}", f"{n} {m}".encode())
    drive.settle_down()
    for n in range(3):
        drive.move(f"d{n}", f"d{n + 1}/into")
        drive.mkdir(f"d{n}")
        drive.move(f"d{n + 1}/f0", f"d{n}/f0")
        drive.put(f"d{n + 1}/f1", b"new")
    drive.move("d3/f5", "d3/f6")
    drive.remove("d3/f4")

    def work(owner: str) -> None:
        for _ in range(20):
            drive.drain(owner)
            drive.clock.advance(0.1)

    workers = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    drive.check_mirrored()


def test_a_name_is_taken_over_while_its_first_file_is_on_its_way_there(drive: MirrorDrive) -> None:
    """Both have one stamp, so one NAS name; nothing is recorded there yet, but a worker is about to put something."""
    drive.put("x", b"the one that stays")
    drive.settle_down()
    drive.put("y", b"the one that goes")
    with paused(drive, "move", ".kelp/tmp"):
        drive.move("x", "y", OnConflict.OVERWRITE)
        drive.drain("second worker")
    drive.check_mirrored()
    assert drive.on_nas() == {"y": b"the one that stays"}
    assert not (drive.root / ".kelp/foreign").exists()


def test_a_name_is_taken_over_while_somebody_looks_how_far_its_dead_worker_came(drive: MirrorDrive) -> None:
    drive.put("x", b"the one that stays")
    drive.settle_down()
    drive.put("y", b"the one that goes")

    def die(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "move" and ".kelp/tmp" in arguments[0]:
            raise Killed

    drive.nas.after = die
    with pytest.raises(Killed):
        drive.drain()
    drive.die()
    drive.move("x", "y", OnConflict.OVERWRITE)
    with paused(drive, "checksum"):
        drive.drain("second worker")
    drive.check_mirrored()
    assert drive.on_nas() == {"y": b"the one that stays"}
    assert not (drive.root / ".kelp/foreign").exists()
