"""The worker dies at every single point while it carries a vault, and the NAS fails at every call."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import mirror
from tests import warm_starts
from tests.mirror_drive import CHANGING, Killed, MirrorDrive
from tests.rooms.mirror.sealed_rows import SealedRows
from vfs.errors import NasDown, NasFault
from vfs.operations import nas_outage
from vfs.storage import renaming

Change = Callable[[SealedRows, int, int], None]  # of a file with two parts, in a folder


def _with_a_version(rows: SealedRows, file: int, _: int) -> None:
    rows.overwrite(file, b"third")


def _renamed_and_overwritten(rows: SealedRows, file: int, folder: int) -> None:
    rows.move(file, rows.root)
    rows.overwrite(file, b"third", b"fourth")
    rows.rename(file)
    rows.rename(folder)


def _twice(rows: SealedRows, file: int, _: int) -> None:
    """The second content is a version that the NAS never had as a file."""
    rows.overwrite(file, b"third")
    rows.overwrite(file, b"fourth")


def _purged(rows: SealedRows, file: int, _: int) -> None:
    rows.trash(file)
    rows.purge(file)


CHANGES: dict[str, Change] = {
    "make": lambda rows, file, folder: rows.file(b"new", b"er", parent=rows.folder(folder)) and None,
    "rename": lambda rows, file, folder: rows.rename(file),
    "rename folder": lambda rows, file, folder: rows.rename(folder),
    "recipients": lambda rows, file, folder: rows.describe(rows.root),
    "move": lambda rows, file, folder: rows.move(file, rows.root),
    "overwrite": _with_a_version,
    "move and overwrite": _renamed_and_overwritten,
    "overwrite twice": _twice,
    "trash": lambda rows, file, folder: rows.trash(file),
    "trash folder": lambda rows, file, folder: rows.trash(folder),
    "purge": _purged,
    "purge folder": lambda rows, file, folder: rows.purge(folder),
}


def _dies(drive: MirrorDrive, number: int, when: str) -> list[str]:
    """At the n-th changing call; the list says then which one it was."""
    calls: list[str] = []
    died: list[str] = []

    def count(method: str, _: tuple[object, ...]) -> None:
        if method in CHANGING and not died:
            calls.append(method)
            if len(calls) == number:
                died.append(method)
                raise Killed

    setattr(drive.nas, when, count)
    return died


def _kill_at_every_point(rows: SealedRows, name: str, when: str) -> None:
    drive = rows.drive
    for number in range(1, 100):
        folder = rows.folder()
        file = rows.file(b"first" + bytes([number]), b"second", parent=folder)
        drive.settle_down()
        CHANGES[name](rows, file, folder)
        died = _dies(drive, number, when)
        try:
            drive.settle_down()
        except Killed:
            drive.die()
            mirror.Worker(drive.kelp, "second")._settle()
            drive.check(mirrored=False)
        drive.settle_down()
        mirror.tidy(drive.kelp)
        rows.check()
        assert not drive.raw_nas(".kelp").get("foreign"), "nothing of Kelp's own was taken for a stranger's"
        if not died:
            assert number > 2
            return
        rows.purge(folder)
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize(
    ("name", "when"),
    [*((name, "before") for name in CHANGES), *((name, "after") for name in ("move and overwrite", "purge folder"))],
)
def test_killed_at_every_point(drive: MirrorDrive, name: str, when: str) -> None:
    _kill_at_every_point(SealedRows(drive), name, when)


@pytest.mark.parametrize(("name", "when"), [("overwrite", "before"), ("overwrite", "after")])
def test_killed_at_every_point_on_a_nas_with_neither_links_nor_exchange(
    drive: MirrorDrive, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renaming, "_renameat2", None)
    drive.nas.inner.link = lambda *arguments, **options: False
    _kill_at_every_point(SealedRows(drive), name, when)


@pytest.mark.parametrize("error", [NasFault("a fault of this entry"), NasDown("the NAS went away", "EIO")])
@pytest.mark.parametrize("name", ["make", "move and overwrite", "purge folder"])
def test_every_call_fails_once(drive: MirrorDrive, name: str, error: Exception) -> None:
    rows = SealedRows(drive)
    for number in range(1, 100):
        folder = rows.folder()
        file = rows.file(b"first" + bytes([number]), b"second", parent=folder)
        drive.settle_down()
        CHANGES[name](rows, file, folder)
        left = [number]

        def fail(method: str, _: tuple[object, ...], left: list[int] = left) -> None:
            # Only a NAS that is down fails to sync.
            left[0] -= method in CHANGING and (method != "sync" or isinstance(error, NasDown))
            if left[0] == 0:
                left[0] = -1
                raise error

        drive.nas.before = fail
        for _ in range(3):
            drive.drain()
            drive.pass_time(120)
            if isinstance(error, NasDown):
                break
        drive.nas.calm()
        if isinstance(error, NasDown) and left[0] < 0:
            assert nas_outage.probe(drive.kelp)
        drive.settle_down()
        mirror.tidy(drive.kelp)
        rows.check()
        if left[0] > 0:
            return
        rows.purge(folder)
    raise AssertionError("it never came to an end")


_CHILD = """
import os, signal, sys
from pathlib import Path
from tests.mirror_drive import MirrorDrive
from vfs.storage import bundles, nas_folder, renaming
drive = MirrorDrive(Path(sys.argv[1]))
drive.pass_time(1000)
where = sys.argv[2]
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "parts":
    original, count = nas_folder.FolderNasStore._fill, []
    def fill(*arguments):
        count.append(1)
        return die() if len(count) == 2 else original(*arguments)
    nas_folder.FolderNasStore._fill = fill
elif where == "exchanged":
    bundles.empty = die
elif where == "apart":
    renaming._renameat2 = None
    renaming.rename_new = lambda *arguments: die() if "bundle" not in arguments[1] else None
elif where == "emptying":
    os.rmdir = die
drive.drain("child")
"""


@pytest.mark.parametrize("where", ["parts", "exchanged", "apart", "emptying"])
def test_a_process_really_killed(open_drive: Callable[..., MirrorDrive], tmp_path: Path, where: str) -> None:
    drive = open_drive()
    rows = SealedRows(drive)
    file = rows.file(b"first", b"second")
    rows.check()
    rows.overwrite(file, b"third", b"fourth")
    drive.close()
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "drive"), where]
    assert warm_starts.run(command, os.environ, 60).returncode == -signal.SIGKILL
    rows.drive = drive = open_drive()
    drive.die()
    drive.settle_down()
    drive.pass_time(3600)
    mirror.tidy(drive.kelp)
    rows.check()
