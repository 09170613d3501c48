"""Small files of a batch are written to the NAS together; what is not as usual goes alone, a kill leaves no half."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from jobs import mirror, outage
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
    assert calls.count("place_together") == 1 and calls.count("move") == 1
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


@contextmanager
def _slept_through(drive: MirrorDrive, method: str) -> Iterator[None]:
    """A worker sleeps at that call beyond its lease, while others carry what he had, newer files, and the block."""
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
    yield
    drive.settle_down("other")
    pause.resume()
    sleeper.join(30)
    assert not sleeper.is_alive()
    drive.nas.calm()
    drive.settle_down()


@pytest.mark.parametrize(
    "method", ["before write_together", "after write_together", "before place_together", "after place_together"]
)
def test_who_was_taken_over_meanwhile_changes_nothing_any_more(drive: MirrorDrive, method: str) -> None:
    """It slept (a laptop, a hung NAS) beyond its lease; by then others have carried the files, and newer ones."""
    _fill(drive)
    with _slept_through(drive, method):
        drive.remove("d/f3")
    assert _shown(drive) == {name: b"newer " + name.encode() for name in CONTENTS if name != "f3"}
    mirror.tidy(drive.kelp)
    assert drive.raw_nas(".kelp/tmp") == {}


@pytest.mark.parametrize("done", range(0, len(CONTENTS) + 1, 4))
def test_killed_while_they_come_to_their_places(drive: MirrorDrive, done: int) -> None:
    _fill(drive)
    real = drive.nas.inner.place_together

    def dies(source: str, target: str, names: Iterable[Any]) -> set[str]:
        real(source, target, islice(names, done))
        raise Killed

    drive.nas.inner.place_together = dies
    with pytest.raises(Killed):
        drive.drain()
    assert len(_shown(drive)) == done and len(drive.raw_nas(".kelp/tmp")) == len(CONTENTS) - done
    drive.nas.inner.place_together = real
    drive.die()
    drive.settle_down()
    assert _shown(drive) == CONTENTS and drive.raw_nas(".kelp/tmp") == {}
    drive.check_mirrored()


@pytest.mark.parametrize("error", [NasDown("NAS: gone", "EIO"), RuntimeError("a mistake of ours")])
def test_a_fault_while_they_come_to_their_places(drive: MirrorDrive, error: Exception) -> None:
    _fill(drive)
    real = drive.nas.inner.place_together

    def fails(source: str, target: str, names: Iterable[Any]) -> set[str]:
        real(source, target, islice(names, 5))
        raise error

    drive.nas.inner.place_together = fails
    drive.drain()
    drive.nas.inner.place_together = real
    with drive.kelp.database.read() as tx:
        assert all(tx.events.retries(drive.entry(f"d/{name}").id) == 0 for name in CONTENTS)
    drive.pass_time(60)
    outage.probe(drive.kelp)
    drive.settle_down()
    assert _shown(drive) == CONTENTS and drive.raw_nas(".kelp/tmp") == {}
    assert not drive.raw_nas(".kelp").get("foreign"), "what had come is known as Kelp's own"
    drive.check_mirrored()


def test_a_name_that_somebody_took_on_the_nas_keeps_no_other_back(drive: MirrorDrive) -> None:
    _fill(drive)
    taken: list[str] = []

    def take(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "place_together" and not taken:
            names = list(arguments[2])
            taken.append(names[3][1])
            (drive.root / arguments[1] / taken[0]).write_bytes(b"theirs")

    drive.nas.before = take
    drive.settle_down()
    assert _shown(drive) == CONTENTS
    assert [path.read_bytes() for path in drive.root.glob(".kelp/foreign/*/*")] == [b"theirs"]
    drive.check_mirrored()


# --- removals ---


def test_files_of_a_folder_are_removed_together(drive: MirrorDrive) -> None:
    _fill(drive)
    drive.put("lonely", b"the only one of its folder")
    drive.settle_down()
    calls = _Calls(drive)
    for name in CONTENTS:
        drive.remove(f"d/{name}")
    drive.remove("lonely")
    drive.settle_down()
    assert calls.count("remove_together") == 1 and calls.count("remove") == 1
    assert _shown(drive) == {} and "lonely" not in drive.on_nas()
    drive.check_mirrored()


def test_what_somebody_else_did_to_some_of_them_is_kept(drive: MirrorDrive) -> None:
    """On the NAS itself: one was written to, one is a folder now, one a link, one is gone."""
    _fill(drive)
    drive.settle_down()
    places = {path.name.partition("__")[2]: path for path in next(drive.root.glob("d")).iterdir()}
    places["f1"].write_bytes(b"their own bytes")
    for name in ("f2", "f3", "f4"):
        places[name].unlink()
    places["f2"].mkdir()
    (places["f2"] / "inside").write_bytes(b"theirs too")
    places["f3"].symlink_to(drive.root / "d")
    for name in CONTENTS:
        drive.remove(f"d/{name}")
    drive.settle_down()
    assert _shown(drive) == {}
    kept = {path.name.partition("__")[2]: path for path in drive.root.glob(".kelp/foreign/*/*")}
    assert kept.keys() == {"f1", "f2", "f3"} and kept["f1"].read_bytes() == b"their own bytes"
    assert (kept["f2"] / "inside").read_bytes() == b"theirs too" and kept["f3"].is_symlink()


@pytest.mark.parametrize("done", range(0, len(CONTENTS) + 1, 4))
def test_killed_in_the_middle_of_removals(drive: MirrorDrive, done: int) -> None:
    _fill(drive)
    drive.settle_down()
    for name in CONTENTS:
        drive.remove(f"d/{name}")
    drive.put("d/f1", b"another one of that name")
    real = drive.nas.inner.remove_together

    def dies(folder: str, files: Iterable[Any]) -> set[str]:
        real(folder, islice(files, done))
        raise Killed

    drive.nas.inner.remove_together = dies
    with pytest.raises(Killed):
        drive.drain()
    assert len(_shown(drive)) == len(CONTENTS) - done
    drive.nas.inner.remove_together = real
    drive.die()
    drive.settle_down()
    assert _shown(drive) == {"f1": b"another one of that name"}
    drive.check_mirrored()


@pytest.mark.parametrize("done", [0, 5])
def test_a_nas_that_goes_away_among_removals_costs_no_retry(drive: MirrorDrive, done: int) -> None:
    _fill(drive)
    drive.settle_down()
    ids = [drive.entry(f"d/{name}").id for name in CONTENTS]
    for name in CONTENTS:
        drive.remove(f"d/{name}")
    real = drive.nas.inner.remove_together

    def away(folder: str, files: Iterable[Any]) -> set[str]:
        real(folder, islice(files, done))
        raise NasDown("NAS: gone", "EIO")

    drive.nas.inner.remove_together = away
    assert drive.drain() == 0 and len(_shown(drive)) == len(CONTENTS) - done
    drive.nas.inner.remove_together = real
    with drive.kelp.database.read() as tx:
        assert all(tx.events.retries(id) == 0 for id in ids)
    drive.pass_time(60)
    assert outage.probe(drive.kelp)
    drive.settle_down()
    assert _shown(drive) == {}
    drive.check_mirrored()


@pytest.mark.parametrize("method", ["before remove_together", "after remove_together"])
def test_who_was_taken_over_meanwhile_removes_nothing_any_more(drive: MirrorDrive, method: str) -> None:
    _fill(drive)
    drive.settle_down()
    for name in CONTENTS:
        drive.remove(f"d/{name}")
    with _slept_through(drive, method):
        pass
    assert _shown(drive) == {name: b"newer " + name.encode() for name in CONTENTS}
    drive.check_mirrored()
