"""Small files of a batch are written to the NAS together; what is not as usual goes alone, a kill leaves no half."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from jobs import mirror
from tests.mirror_drive import Killed, MirrorDrive, Pause
from vfs.errors import NasDown
from vfs.storage.nas_store import NasFile
from vfs.storage.small_contents import SMALL

pytestmark = pytest.mark.engine(cache="folder", reason="what is far away goes alone")

CONTENTS = {f"f{number}": b"%d" % number * (number + 1) * 100 for number in range(12)}


class _Calls:
    """Which methods of the NAS were called."""

    def __init__(self, drive: MirrorDrive) -> None:
        self.methods: list[str] = []
        drive.nas.before = lambda method, _arguments: self.methods.append(method)

    def count(self, method: str) -> int:
        return self.methods.count(method)


def _fill(drive: MirrorDrive) -> None:
    drive.mkdir("d")
    drive.settle_down()
    for name, content in CONTENTS.items():
        drive.put(f"d/{name}", content)


def _shown(drive: MirrorDrive) -> dict[str, bytes]:
    folder = next(path for path in drive.root.iterdir() if path.name == "d")
    return {path.name.partition("__")[2]: path.read_bytes() for path in folder.iterdir()}


def test_small_files_go_together_and_large_ones_alone(drive: MirrorDrive) -> None:
    _fill(drive)
    large, calls = bytes(SMALL + 1), _Calls(drive)
    drive.put("d/large", large)
    drive.settle_down()
    assert calls.count("write_together") == 1 and calls.count("write") == 1
    assert _shown(drive) == CONTENTS | {"large": large} and drive.raw_nas(".kelp/tmp") == {}


def test_overwritten_and_moved_ones_too(drive: MirrorDrive) -> None:
    _fill(drive)
    drive.settle_down()
    drive.pass_time(70)
    for name in CONTENTS:
        drive.put(f"d/{name}", b"new " + name.encode())
    drive.move("d/f1", "d/moved")
    drive.settle_down()
    expected = {name: b"new " + name.encode() for name in CONTENTS}
    expected["moved"] = expected.pop("f1")
    assert _shown(drive) == expected and drive.versions("d/moved") == [CONTENTS["f1"]]


def test_what_the_cache_has_not_whole_is_left_to_the_usual_way(drive: MirrorDrive) -> None:
    _fill(drive)
    drive.settle_down()
    drive.pass_time(70)
    copies = {name: drive.copy(f"d/{name}", f"d/copy-{name}") for name in ("f0", "f1", "f2")}
    assert len(copies) == 3
    for name, damage in (("f0", b"bad bytes"), ("f1", None)):
        key = drive.entry(f"d/{name}").content_id
        assert key is not None
        file = next((drive.settings.data / "cache").rglob(key))
        file.write_bytes(damage) if damage is not None else file.unlink()
    calls = _Calls(drive)
    drive.settle_down()
    assert calls.count("write_together") == 1 and calls.count("write") == 2, "they are read from the NAS"
    shown = _shown(drive)
    assert all(shown[f"copy-{name}"] == CONTENTS[name] for name in copies)


@pytest.mark.parametrize("done", range(0, len(CONTENTS) + 1, 4))
def test_killed_in_the_middle(drive: MirrorDrive, done: int) -> None:
    """Some are whole, one is half, and no place in the tree shows any of it."""
    _fill(drive)
    real = drive.nas.inner.write_together

    def dies(folder: str, files: list[Any]) -> dict[str, NasFile]:
        real(folder, files[:done])
        for file in files[done : done + 1]:
            (drive.root / folder / file.name).write_bytes(file.data[:50])
        raise Killed

    drive.nas.inner.write_together = dies
    with pytest.raises(Killed):
        drive.drain()
    assert _shown(drive) == {} and len(drive.raw_nas(".kelp/tmp")) == min(done + 1, len(CONTENTS))
    drive.nas.inner.write_together = real
    drive.die()
    drive.settle_down()
    assert _shown(drive) == CONTENTS and drive.raw_nas(".kelp/tmp") == {}


def test_a_nas_that_goes_away_meanwhile_costs_no_retry(drive: MirrorDrive) -> None:
    _fill(drive)
    real = drive.nas.inner.write_together

    def away(folder: str, files: list[Any]) -> dict[str, NasFile]:
        real(folder, files[:3])
        raise NasDown("NAS: gone", "EIO")

    drive.nas.inner.write_together = away
    assert drive.drain() == 0 and _shown(drive) == {}
    drive.nas.inner.write_together = real
    drive.pass_time(60)
    with drive.kelp.database.read() as tx:
        assert all(tx.events.retries(drive.entry(f"d/{name}").id) == 0 for name in CONTENTS)


def test_what_nobody_foresaw_keeps_no_entry_of_the_batch_back(drive: MirrorDrive) -> None:
    _fill(drive)

    def broken(folder: str, files: list[Any]) -> dict[str, NasFile]:
        raise RuntimeError("a mistake of ours")

    drive.nas.inner.write_together = broken
    drive.drain()
    assert _shown(drive) == CONTENTS and drive.raw_nas(".kelp/tmp") == {}


@pytest.mark.parametrize("method", ["before write_together", "after write_together", "before move"])
def test_who_was_taken_over_meanwhile_changes_nothing_any_more(drive: MirrorDrive, method: str) -> None:
    """It slept (a laptop, a hung NAS) beyond its lease; by then others have carried the files, and newer ones."""
    _fill(drive)
    place, _, called = method.partition(" ")
    pause = Pause(lambda method, _arguments: method == called)
    setattr(drive.nas, place, pause)
    sleeper = threading.Thread(target=drive.drain, args=("sleeper",))
    sleeper.start()
    pause.wait()
    drive.pass_time(60)
    drive.settle_down("other")
    for name in CONTENTS:
        drive.put(f"d/{name}", b"newer " + name.encode())
    drive.remove("d/f3")
    drive.settle_down("other")
    pause.resume()
    sleeper.join(30)
    assert not sleeper.is_alive()
    drive.nas.calm()
    drive.settle_down()
    assert _shown(drive) == {name: b"newer " + name.encode() for name in CONTENTS if name != "f3"}
    mirror.tidy(drive.kelp)
    assert drive.raw_nas(".kelp/tmp") == {}
