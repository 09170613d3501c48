"""O_EXCL on mounts whose files have no rows at first: of all who make a name, by whatever door, one does."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from tests.faces.fuse.conftest import MountedDrive, new_processes
from tests.waiting import until
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import AlreadyExists, PreconditionFailed
from vfs.model import Caller, Entry, Place
from vfs.operations import access, folders, moving, reading, writing
from vfs.settings import Settings

pytestmark = pytest.mark.engine(database="sqlite", reason="elsewhere a file has a row at once")

_NAMES = 1500


@pytest.fixture
def other(mounted: MountedDrive) -> Iterator[MountedDrive]:
    """A second mount of the drive."""
    beside = mounted.beside("other")
    try:
        beside.start()
        yield beside
        beside.unmount()
    finally:
        beside.end()


def _by_mount(folder: Path, who: bytes, count: int, together: Barrier, won: Any, claims: Path | None = None) -> None:
    """Each third file stays open while the next ones are made. `claims`: is removed now and then."""
    still_open: list[int] = []
    for number in range(count):
        together.wait(60)
        if claims is not None and number % 20 == 0:
            claims.unlink(missing_ok=True)
        try:
            fd = os.open(folder / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue
        won.send(number)
        os.write(fd, who)
        still_open.append(fd)
        while number % 3 and still_open:
            os.close(still_open.pop())
    for fd in still_open:
        os.close(fd)
    won.send(-1)


def _none_match(entry: Entry | None, _tokens: frozenset[str]) -> None:
    if entry is not None:
        raise PreconditionFailed("it exists")


def _make(kelp: Kelp, caller: Caller, place: Place, number: int) -> None:
    """As one of those does who must be the only one."""
    if number % 3 == 0:
        folders.make_folder(kelp, caller, place)
    elif number % 3 == 1:
        writing.put_file(kelp, caller, place, [b"core"], condition=_none_match)
    else:
        moving.move(kelp, caller, Place(place.folder_id, f"from {number}"), place)


def _by_core(settings: Settings, folder_id: int, count: int, together: Barrier, won: Any) -> None:
    with closing(build(settings)) as kelp:
        caller = access.caller_named(kelp, "admin", "dav")
        for number in range(count):
            if number % 3 == 2:
                writing.put_file(kelp, caller, Place(folder_id, f"from {number}"), [b"core"])
            together.wait(60)
            try:
                _make(kelp, caller, Place(folder_id, f"{number}"), number)
            except (AlreadyExists, PreconditionFailed):
                continue
            won.send(number)
        won.send(-1)


def _told(won: Any) -> set[int]:
    return set(iter(won.recv, -1))


def _raced(racers: Sequence[BaseProcess], pipes: Sequence[tuple[Any, Any]], count: int) -> tuple[set[int], set[int]]:
    """The names that either has won of so many: each of them one of the two."""
    for racer, (_, sender) in zip(racers, pipes, strict=True):
        racer.start()
        sender.close()  # so that the end of one who fails is seen
    one, two = (_told(receiver) for receiver, _ in pipes)
    for racer in racers:
        racer.join()
    assert not one & two and one | two == set(range(count)) and one and two
    return one, two


@pytest.mark.parametrize("removed", [False, True])
def test_one_of_two_mounts_makes_it(mounted: MountedDrive, other: MountedDrive, removed: bool) -> None:
    (mounted.top / "folder").mkdir()
    until(lambda: (other.top / "folder").is_dir())
    context = new_processes(__name__)
    together, pipes = context.Barrier(2), [context.Pipe(duplex=False) for _ in range(2)]
    removing = (mounted.data / "kelp.claims" if removed else None), None
    racers = [
        context.Process(target=_by_mount, args=(drive.top / "folder", who, _NAMES, together, sender, claims))
        for drive, who, (_, sender), claims in zip((mounted, other), (b"one", b"two"), pipes, removing, strict=True)
    ]
    one, _ = _raced(racers, pipes, _NAMES)
    expected = {f"{number}": b"one" if number in one else b"two" for number in range(_NAMES)}
    assert {path.name: path.read_bytes() for path in (mounted.top / "folder").iterdir()} == expected


def test_one_of_a_mount_and_the_core_makes_it(mounted: MountedDrive) -> None:
    folder = mounted.top / "folder"
    folder.mkdir()
    context = new_processes(__name__)
    together, pipes = context.Barrier(2), [context.Pipe(duplex=False) for _ in range(2)]
    core = mounted.kelp.settings, folder.stat().st_ino, _NAMES // 3, together, pipes[1][1]
    racers = [
        context.Process(target=_by_mount, args=(folder, b"one", _NAMES // 3, together, pipes[0][1])),
        context.Process(target=_by_core, args=core),
    ]
    one, two = _raced(racers, pipes, _NAMES // 3)
    for number in range(_NAMES // 3):
        path = folder / f"{number}"
        if path.is_file():
            assert path.read_bytes() == (b"one" if number in one else b"core")
        else:
            assert number in two and number % 3 == 0


def _is_there(drive: MountedDrive, name: str) -> bool:
    return reading.resolve(drive.kelp, drive.caller(), [*drive.above, name]).entry is not None


def test_a_mount_that_is_stopped_keeps_its_names_and_a_killed_one_does_not(mounted: MountedDrive) -> None:
    folder_id, stopped = mounted.top.stat().st_ino, -1
    for number in range(100):
        fd = os.open(mounted.top / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        mounted.process.send_signal(signal.SIGSTOP)
        stopped = number
        if not _is_there(mounted, f"{number}"):
            break
        mounted.process.send_signal(signal.SIGCONT)
        os.close(fd)
    place = Place(folder_id, f"{stopped}")
    with pytest.raises(AlreadyExists):
        folders.make_folder(mounted.kelp, mounted.caller(), place)
    assert not _is_there(mounted, f"{stopped}")
    mounted.kill()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        os.write(fd, b"1")
    folders.make_folder(mounted.kelp, mounted.caller(), place)
    mounted.start()
    assert (mounted.top / f"{stopped}").is_dir()
