"""The worker dies at every single point of every kind of step; the next one finds out how far it came."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import mirror
from tests import warm_starts
from tests.mirror_drive import CHANGING, Killed, MirrorDrive
from vfs.model import OnConflict
from vfs.operations import properties, trashing

Scenario = tuple[Callable[[MirrorDrive, str], None], Callable[[MirrorDrive, str], None]]


def _one_file(drive: MirrorDrive, d: str) -> None:
    drive.put(f"{d}/f", b"first")
    drive.pass_time(70)


def _two_files(drive: MirrorDrive, d: str) -> None:
    drive.put(f"{d}/a", b"A")
    drive.put(f"{d}/b", b"B")


def _full_folder(drive: MirrorDrive, d: str) -> None:
    drive.mkdir(f"{d}/x")
    drive.mkdir(f"{d}/x/y")
    drive.put(f"{d}/x/f", b"F")
    drive.put(f"{d}/x/y/g", b"G")


def _trashed_folder(drive: MirrorDrive, d: str) -> None:
    _full_folder(drive, d)
    drive.settle_down()
    drive.trash(f"{d}/x")


def _swap(drive: MirrorDrive, d: str) -> None:
    drive.move(f"{d}/a", f"{d}/t")
    drive.move(f"{d}/b", f"{d}/a")
    drive.move(f"{d}/t", f"{d}/b")


def _chain(drive: MirrorDrive, d: str) -> None:
    drive.move(f"{d}/f", f"{d}/g")
    drive.move(f"{d}/g", f"{d}/h")


def _rename_folder(drive: MirrorDrive, d: str) -> None:
    drive.move(f"{d}/x", f"{d}/z")
    drive.mkdir(f"{d}/x")


def _rewrite(drive: MirrorDrive, d: str) -> None:
    drive.put(f"{d}/f", b"second")


def _move_and_rewrite(drive: MirrorDrive, d: str) -> None:
    _rewrite(drive, d)
    _chain(drive, d)


def _touch(drive: MirrorDrive, d: str) -> None:
    properties.patch(drive.kelp, drive.caller, drive.entry(f"{d}/f").id, [], mtime_ns=1_000_000_000)


def _forget_versions(drive: MirrorDrive, d: str) -> None:
    with drive.kelp.database.write() as tx:
        tx.versions.expire_all(drive.entry(f"{d}/f").id)
    drive.move(f"{d}/f", f"{d}/g")


def _with_version(drive: MirrorDrive, d: str) -> None:
    _one_file(drive, d)
    drive.settle_down()
    _rewrite(drive, d)


def _restore_newest(drive: MirrorDrive, d: str) -> None:
    drive.restore(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)


def _purge_folder(drive: MirrorDrive, d: str) -> None:
    drive.move(f"{d}/x/y/g", f"{d}/out")
    drive.purge(drive.trash(f"{d}/x"))


def _take_over_the_name(drive: MirrorDrive, d: str) -> None:
    """Safe save: the old content becomes a version of the file that takes the name."""
    drive.move(f"{d}/a", f"{d}/b", OnConflict.OVERWRITE)


def _never_mirrored_version(drive: MirrorDrive, d: str) -> None:
    _one_file(drive, d)
    _rewrite(drive, d)


SCENARIOS: dict[str, Scenario] = {
    "make": (lambda drive, d: None, _full_folder),
    "rename": (_one_file, _chain),
    "rename folder": (_full_folder, _rename_folder),
    "swap": (_two_files, _swap),
    "rewrite": (_one_file, _rewrite),
    "move and rewrite": (_one_file, _move_and_rewrite),
    "version never mirrored": (lambda drive, d: None, _never_mirrored_version),
    "forget versions": (_with_version, _forget_versions),
    "touch": (_one_file, _touch),
    "trash": (_one_file, lambda drive, d: drive.trash(f"{d}/f") and None),
    "purge": (_one_file, lambda drive, d: drive.purge(drive.trash(f"{d}/f"))),
    "trash folder": (_full_folder, lambda drive, d: drive.trash(f"{d}/x") and None),
    "purge folder": (_full_folder, _purge_folder),
    "restore": (_trashed_folder, _restore_newest),
    "take over a name": (_two_files, _take_over_the_name),
    "name too long for the NAS": (_one_file, lambda drive, d: drive.move(f"{d}/f", f"{d}/{'é' * 127}") and None),
}


class _Death:
    """Dies at the n-th changing call, `when` it is 'before' or 'after' it; a second life goes on."""

    def __init__(self, drive: MirrorDrive, number: int, when: str) -> None:
        self._left = number
        self.happened = False
        setattr(drive.nas, when, self)

    def __call__(self, method: str, arguments: tuple[Any, ...]) -> None:
        if method in CHANGING:
            self._left -= 1
            if self._left == 0:
                self.happened = True
                raise Killed


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_point(drive: MirrorDrive, name: str, when: str, caplog: pytest.LogCaptureFixture) -> None:
    kill_at_every_point(drive, name, when)
    assert "planned anew" not in caplog.text, "how far a job came is found out, not given up"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["rewrite", "move and rewrite", "take over a name"])
def test_killed_at_every_point_on_a_nas_without_hard_links(drive: MirrorDrive, name: str, when: str) -> None:
    drive.nas.inner.link = lambda *arguments, **options: False
    kill_at_every_point(drive, name, when)


def _three_registrations(drive: MirrorDrive, d: str) -> None:
    drive.mkdir(f"{d}/x")
    for content in (b"1", b"2", b"3"):
        drive.put(f"{d}/x/f", content)
    drive.pass_time(70)


def _move_registrations(drive: MirrorDrive, d: str) -> None:
    drive.put(f"{d}/x/f", b"4")
    drive.move(f"{d}/x/f", f"{d}/g")


def _swap_registrations(drive: MirrorDrive, d: str) -> None:
    """Names and seconds are such that each stands where another shall come."""
    drive.put(f"{d}/x/g", b"5")
    drive.put(f"{d}/x/g", b"6")
    for source, target in (("f", "t"), ("g", "f"), ("t", "g")):
        drive.move(f"{d}/x/{source}", f"{d}/x/{target}")
        drive.pass_time(70)


def _purge_registrations(drive: MirrorDrive, d: str) -> None:
    drive.move(f"{d}/x/f", f"{d}/kept")
    drive.purge(drive.trash(f"{d}/x"))


def _save_registrations(drive: MirrorDrive, d: str) -> None:
    drive.put(f"{d}/x/new", b"4")
    drive.move(f"{d}/x/new", f"{d}/x/f", OnConflict.OVERWRITE)


def _empty_first(drive: MirrorDrive, d: str) -> None:
    drive.mkdir(f"{d}/x")
    drive.put(f"{d}/x/f", b"")


def _fill_twice(drive: MirrorDrive, d: str) -> None:
    """The empty file's name becomes the first registration's, the file that is there goes on as the second."""
    drive.put(f"{d}/x/f", b"1")
    drive.put(f"{d}/x/f", b"2")


REGISTRATIONS: dict[str, Scenario] = {
    "overwrite": (_three_registrations, lambda drive, d: drive.put(f"{d}/x/f", b"4") and None),
    "move and overwrite": (_three_registrations, _move_registrations),
    "swap": (_three_registrations, _swap_registrations),
    "trash": (_three_registrations, lambda drive, d: drive.trash(f"{d}/x/f") and None),
    "purge": (_three_registrations, lambda drive, d: drive.purge(drive.trash(f"{d}/x/f"))),
    "purge folder": (_three_registrations, _purge_registrations),
    "save": (_three_registrations, _save_registrations),
    "fill": (_empty_first, _fill_twice),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", REGISTRATIONS)
def test_killed_at_every_point_where_registrations_stay(
    open_drive: Callable[..., MirrorDrive], name: str, when: str
) -> None:
    drive = open_drive(drive_duplicates="keep-dated")
    prepare, change = REGISTRATIONS[name]
    for number in range(1, 100):
        folder = f"{name} {number}"
        drive.mkdir(folder)
        prepare(drive, folder)
        drive.settle_down()
        change(drive, folder)
        death = _Death(drive, number, when)
        try:
            drive.settle_down()
        except Killed:
            drive.die()
            mirror.Worker(drive.kelp, "second")._settle()
            drive.check(mirrored=False)  # were it to die here too, what it recorded would be true
        drive.settle_down()
        drive.check()
        assert not drive.raw_nas(".kelp").get("foreign"), "nothing of Kelp's own was taken for a stranger's"
        if not death.happened:
            return
    raise AssertionError("it never came to an end")


def kill_at_every_point(drive: MirrorDrive, name: str, when: str) -> None:
    prepare, change = SCENARIOS[name]
    for number in range(1, 100):
        folder = f"{name} {number}"
        drive.mkdir(folder)
        prepare(drive, folder)
        drive.settle_down()
        change(drive, folder)
        death = _Death(drive, number, when)
        try:
            drive.settle_down()
        except Killed:
            drive.die()
            mirror.Worker(drive.kelp, "second")._settle()
            drive.check(mirrored=False)  # were it to die here too, what it recorded would be true
        drive.check_mirrored()
        assert not drive.raw_nas(".kelp").get("foreign"), "nothing of Kelp's own was taken for a stranger's"
        if not death.happened:
            assert number > 2
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("name", ["rename", "swap", "rewrite", "purge folder", "make"])
def test_killed_twice(drive: MirrorDrive, name: str) -> None:
    """The second worker dies while it settles what the first left."""
    prepare, change = SCENARIOS[name]
    for number in range(1, 8):
        folder = f"{name} {number}"
        drive.mkdir(folder)
        prepare(drive, folder)
        drive.settle_down()
        change(drive, folder)
        for again in (number, 1, 2):
            _Death(drive, again, "after")
            try:
                drive.settle_down()
            except Killed:
                drive.die()
        drive.nas.calm()
        drive.check_mirrored()


_CHILD = """
import os, signal, sys
from pathlib import Path
from tests.mirror_drive import MirrorDrive
drive = MirrorDrive(Path(sys.argv[1]))
method, when, change = sys.argv[2:]
def die(called, arguments):
    if called == method:
        os.kill(os.getpid(), signal.SIGKILL)
for source, target in (pair.split(">") for pair in change.split()):
    drive.move(source, target)
if method == "write":
    drive.put("new", b"new")
setattr(drive.nas, when, die)
drive.drain("child")
"""


@pytest.mark.parametrize(("method", "when"), [("move", "after"), ("sync", "after"), ("write", "after")])
def test_a_process_really_killed_between_the_nas_and_the_record(
    open_drive: Callable[..., MirrorDrive], tmp_path: Path, method: str, when: str
) -> None:
    drive = open_drive()
    drive.put("a", b"content")
    drive.settle_down()
    drive.close()
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "drive"), method, when, "a>b b>c"]
    assert warm_starts.run(command, os.environ, 60).returncode == -signal.SIGKILL
    drive = open_drive()
    drive.die()
    drive.check_mirrored()
    assert drive.on_nas().get("c") == b"content"


def test_a_file_whose_time_was_set_by_a_dead_worker_is_still_known_as_ours(drive: MirrorDrive) -> None:
    drive.put("f", b"first")
    drive.settle_down()
    properties.patch(drive.kelp, drive.caller, drive.entry("f").id, [], mtime_ns=1_000_000_000)

    def die_after_touch(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "touch":
            raise Killed

    drive.nas.after = die_after_touch
    with pytest.raises(Killed):
        drive.drain()
    drive.die()
    drive.put("f", b"second")
    drive.check_mirrored()
    assert not (drive.root / ".kelp" / "foreign").exists()
