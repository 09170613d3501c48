"""Short scripts for crashes at chosen instants: what is there before, and the steps that are interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.mirror_drive import MirrorDrive
from vfs.model import PART_SIZE, OnConflict
from vfs.operations import trashing

Step = Callable[[MirrorDrive], object]


@dataclass(frozen=True)
class Script:
    """`before` is done and mirrored; each of `steps` is acknowledged when it returns. `cut`: the NAS cuts names."""

    before: tuple[Step, ...]
    steps: tuple[Step, ...]
    cut: bool = False


def put(path: str, content: bytes) -> Step:
    return lambda drive: drive.put(path, content)


def mkdir(path: str) -> Step:
    return lambda drive: drive.mkdir(path)


def move(source: str, target: str, on_conflict: OnConflict = OnConflict.ERROR) -> Step:
    return lambda drive: drive.move(source, target, on_conflict)


def copy(source: str, target: str, on_conflict: OnConflict = OnConflict.ERROR) -> Step:
    return lambda drive: drive.copy(source, target, on_conflict)


def trash(path: str) -> Step:
    return lambda drive: drive.trash(path)


def mirror(drive: MirrorDrive) -> None:
    drive.settle_down()


def restore(drive: MirrorDrive) -> None:
    """What was trashed last."""
    drive.restore(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)


def purge(drive: MirrorDrive) -> None:
    """What was trashed last."""
    drive.purge(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)


_OVER = OnConflict.OVERWRITE
_TREE = (mkdir("d"), mkdir("d/e"), put("d/e/f", b"deep"), put("d/g", b"shallow"))
_BIG = bytes(range(256)) * (PART_SIZE // 256) + b"and one more part"

SCRIPTS: dict[str, Script] = {
    "put": Script((), (put("a", b"new"), mirror)),
    "names too long for the NAS": Script(
        (put("n" * 255, b"n"),),
        (move("n" * 255, "k" * 255), put("o" * 255, b"o"), mkdir("20261121000000__" + "m" * 239), mirror),
        cut=True,
    ),
    "put two parts": Script((), (put("a", _BIG), mirror)),
    "overwrite": Script((put("a", b"old"),), (put("a", b"newer"), mirror)),
    "overwrite twice": Script((put("a", b"old"),), (put("a", b"newer"), put("a", b"newest"), mirror)),
    "make a folder and fill it": Script((), (mkdir("d"), put("d/a", b"in it"), mirror)),
    "move a file": Script((put("a", b"a"), mkdir("d")), (move("a", "d/b"), mirror)),
    "move and overwrite": Script((put("a", b"a"),), (move("a", "b"), put("b", b"changed"), mirror)),
    "move over": Script((put("a", b"a"), put("b", b"b")), (move("a", "b", _OVER), mirror)),
    "an editor's save": Script(
        (put("a", b"old"),), (put("t", b"new"), move("a", "a~"), move("t", "a"), trash("a~"), mirror)
    ),
    "rename a folder": Script(_TREE, (move("d", "h"), put("h/e/n", b"new"), mirror)),
    "a chain": Script(
        (put("a", b"a"), put("b", b"b"), put("c", b"c")), (trash("c"), move("b", "c"), move("a", "b"), mirror)
    ),
    "swap two folders": Script(
        (*_TREE, mkdir("x"), put("x/y", b"y")), (move("d", "t"), move("x", "d"), move("t", "x"), mirror)
    ),
    "copy a file": Script((put("a", b"a"),), (copy("a", "b"), mirror)),
    "copy over a file": Script((put("a", b"a"), put("b", b"b")), (copy("a", "b", _OVER), mirror)),
    "copy a folder": Script(_TREE, (copy("d", "h"), mirror)),
    "copy, then overwrite the original": Script((put("a", b"a"),), (copy("a", "b"), put("a", b"later"), mirror)),
    "trash a file": Script((put("a", b"a"),), (trash("a"), mirror)),
    "trash a folder, make it again": Script(_TREE, (trash("d"), mkdir("d"), put("d/g", b"other"), mirror)),
    "restore": Script((*_TREE, trash("d")), (restore, mirror)),
    "purge": Script((*_TREE, put("a", b"a"), put("a", b"b"), trash("d"), trash("a")), (purge, purge, mirror)),
}
