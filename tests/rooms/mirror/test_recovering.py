"""The database is lost: a new one is made from what the NAS holds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.mirror_drive import Killed, MirrorDrive
from tests.nasty_names import NASTY_NAMES
from tests.rooms.mirror import adopted
from tests.symbolic_links import leads_to
from vfs import bootstrap
from vfs.errors import ConfigurationError, InvalidName
from vfs.operations import linking, nas_walk, recovering, scrubbing, trashing, versioning
from vfs.operations.nas_walk import Report, Taken, no_report
from vfs.settings import Settings

BIG = bytes(range(256)) * 4096 * 9 + b"the end"


@pytest.fixture
def drive_in(tmp_path: Path) -> Iterator[Callable[..., MirrorDrive]]:
    """A function that opens the drive in `tmp_path/{name}`."""
    with ExitStack() as stack:
        yield lambda name="old", **more: stack.enter_context(closing(MirrorDrive(tmp_path / name, **more)))


def settings_of(folder: Path, nas: Path, **overrides: object) -> Settings:
    return engines.load(folder / "data", nas_root=nas, **overrides)


def recover(folder: Path, nas: Path, report: Report = no_report, **overrides: object) -> Taken:
    """As `kelp nas recover` does."""
    settings = settings_of(folder, nas, **overrides)
    settings.data.mkdir(parents=True, exist_ok=True)
    with bootstrap.opened_for_taking(settings, recovering.begin) as kelp:
        return recovering.recover(kelp, report)


def fill(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("a/b")
    drive.put("a/b/deep.txt", b"deep")
    drive.mkdir("nasty")
    for name in NASTY_NAMES:
        with suppress(InvalidName):
            drive.put(f"nasty/{name}", name.encode())
    drive.mkdir("20200101000000__a folder")
    drive.mkdir(".kelp")
    drive.put("20200101000000__a file", b"stamped twice")
    drive.put("big", BIG)
    drive.put("empty", b"")
    drive.pass_time(61)  # litter waits
    drive.settle_down()


def snapshot(root: Path) -> dict[str, Any]:
    return adopted.look(root)


def test_all_comes_back(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    old = drive_in()
    fill(old)
    shown, nas = old.shown(), old.root
    old.close()
    before = snapshot(nas)
    taken = recover(tmp_path / "new", nas)
    assert taken.left == []
    new = drive_in("new", nas_root=nas)
    assert new.shown() == shown
    assert snapshot(nas) == before
    new.settle_down()
    assert snapshot(nas) == before
    new.put("a/b/deep.txt", b"deeper")
    new.move("a", "nasty/a")
    new.put("nasty/" + "x" * 255, b"again")
    new.settle_down()
    assert new.on_nas() == new.shown()


def test_adopted_names_too(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    tree = {"x.txt": b"x", f"{adopted.STAMP}__y": b"y", "a/x.txt": b"another", "a/plain": b"p"}
    with closing(adopted.opened(tmp_path / "old", tree)) as old:
        old.settle_down()
        old.put("a/new", b"by Kelp")
        old.settle_down()
        shown, nas = old.shown(), old.root
    assert recover(tmp_path / "new", nas).left == []
    assert drive_in("new", nas_root=nas).shown() == shown


def test_the_trash(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    old = drive_in()
    fill(old)
    uuids = {old.trash(path) for path in ("a", "big", "nasty/" + "x" * 255)}
    old.settle_down()
    nas = old.root
    before = snapshot(nas)
    old.close()
    assert recover(tmp_path / "new", nas).left == []
    new = drive_in("new", nas_root=nas)
    items = trashing.list_trash(new.kelp, new.caller)
    assert {item.entry.uuid for item in items} == uuids
    assert {item.original_path for item in items} == {"/a", "/big", "/" + "x" * 255}
    new.settle_down()
    assert snapshot(nas) == before
    for uuid in uuids:
        new.restore(uuid)
    new.settle_down()
    assert new.shown()["a/b/deep.txt"] == b"deep" and new.shown()["big"] == BIG
    assert new.on_nas() == new.shown()


def test_versions_find_their_file(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    old = drive_in()
    old.mkdir("a")
    for text in (b"first", b"second", b"third"):
        old.put("a/text", text)
        old.pass_time(70)
        old.settle_down()
    old.move("a", "moved")
    old.put("other", b"1")
    old.pass_time(70)
    old.put("other", b"2")
    old.settle_down()
    nas = old.root
    old.close()
    (unknown := nas / ".kelp" / "versions" / "4711").mkdir()
    (unknown / "20200101000000~0123abcd.txt").write_bytes(b"whose?")
    taken = recover(tmp_path / "new", nas)
    assert [path for path, _ in taken.left] == [".kelp/versions/4711"]
    new = drive_in("new", nas_root=nas)
    assert new.versions("moved/text") == [b"second", b"first"]
    assert new.versions("other") == [b"1"]
    new.put("other", b"3")
    new.pass_time(70)
    new.settle_down()
    assert new.versions("other") == [b"2", b"1"]
    assert new.put("fresh").id > 4711


def test_every_registration_that_is_a_file(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    """Two files of one name and different stamps: the newer is the file, the older its version."""
    old = drive_in()
    old.put("x.txt", b"new")
    old.settle_down()
    nas = old.root
    old.close()
    (nas / "20200101000000__x.txt").write_bytes(b"oldest")
    (nas / "20210101000000__x.txt").write_bytes(b"older")
    assert recover(tmp_path / "new", nas).left == []
    new = drive_in("new", nas_root=nas)
    assert new.read("x.txt") == b"new"
    assert new.versions("x.txt") == [b"older", b"oldest"]


def test_what_was_on_its_way_is_kept(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    old = drive_in()
    old.put("x", b"1")
    old.settle_down()
    nas = old.root
    old.close()
    (nas / ".kelp" / "tmp").mkdir(exist_ok=True)
    (nas / ".kelp" / "tmp" / "held-7-12").write_bytes(b"in somebody's way")
    (nas / ".kelp" / "tmp" / "13-0").write_bytes(b"half written")
    taken = recover(tmp_path / "new", nas)
    assert [path for path, _ in taken.left] == [".kelp/foreign/recovered/held-7-12"]
    assert (nas / taken.left[0][0]).read_bytes() == b"in somebody's way"


@pytest.mark.parametrize("dies_at", [1, 2, 3, 5, 8, 12, 15])
def test_killed_it_goes_on(
    tmp_path: Path, drive_in: Callable[..., MirrorDrive], monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    monkeypatch.setattr(nas_walk, "_BATCH", 3)
    old = drive_in()
    fill(old)
    old.put("a/text", b"first")
    old.pass_time(70)
    old.put("a/text", b"second")
    old.trash("big")
    old.settle_down()
    shown, nas = old.shown(), old.root
    old.close()
    reports = 0

    def die(taken: Taken) -> None:
        nonlocal reports
        reports += 1
        if reports == dies_at:
            raise Killed

    with suppress(Killed):
        recover(tmp_path / "new", nas, die)
        raise AssertionError("it was to die")
    with pytest.raises(ConfigurationError, match="nas recover"):
        bootstrap.build(settings_of(tmp_path / "new", nas))
    assert recover(tmp_path / "new", nas).left == []
    new = drive_in("new", nas_root=nas)
    assert new.shown() == shown
    assert new.versions("a/text") == [b"first"]
    assert len(trashing.list_trash(new.kelp, new.caller)) == 1
    new.settle_down()


def test_a_note_that_is_no_note_harms_nothing(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    old = drive_in()
    old.put("x", b"1")
    old.settle_down()
    shown, nas = old.shown(), old.root
    old.close()
    folder = nas / ".kelp" / "names"
    folder.mkdir(exist_ok=True)
    nas_name = next(name for name in os.listdir(nas) if name.endswith("__x"))
    for number, text in enumerate(
        ("", "[]", '{"name": 7}', json.dumps({"name": "../x", "nas_name": nas_name}), "\xff")
    ):
        (folder / str(900 + number)).write_bytes(text.encode("latin-1"))
    recover(tmp_path / "new", nas)
    assert drive_in("new", nas_root=nas).shown() == shown


def test_what_cannot_be_recovered(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    plain = tmp_path / "plain"
    adopted.make(plain, {"x": b"1"})
    with pytest.raises(ConfigurationError, match="nas adopt"):
        recover(tmp_path / "new", plain)
    old = drive_in()
    old.put("x", b"1")
    old.settle_down()
    with pytest.raises(ConfigurationError, match="files already"):
        recover(tmp_path / "old", old.root)
    copy = tmp_path / "copy"
    shutil.copytree(old.root, copy)
    (copy / ".kelp" / "drive.json").write_text("nonsense")
    with pytest.raises(ConfigurationError, match="cannot be understood"):
        recover(tmp_path / "new", copy)


def test_adopted_files_of_which_every_registration_stays(tmp_path: Path, drive_in: Callable[..., MirrorDrive]) -> None:
    """keep-dated: the first content keeps its place and name, until a rename stamps all of them."""
    dated = {"drive_duplicates": "keep-dated"}
    with closing(adopted.opened(tmp_path / "old", {"x.txt": b"1", "b": None}, **dated)) as old:
        old.read("x.txt")
        for text in (b"2", b"3"):
            old.pass_time(70)
            old.put("x.txt", text)
            old.settle_down()
        old.move("x.txt", "b/x.txt")
        old.settle_down()
        assert (old.root / "b" / "x.txt").read_bytes() == b"1"
        old.move("b/x.txt", "b/y.txt")
        old.settle_down()
        on_nas = old.raw_nas()
        assert on_nas[f"b/{adopted.STAMP}__y.txt"] == b"1" and len(on_nas) == 4
        nas = old.root
        uuid = old.trash("b/y.txt")
        old.settle_down()
        assert len([path for path in old.raw_nas(private=True) if path.startswith(".trash/") and "y.txt" in path]) == 3
    assert recover(tmp_path / "new", nas, **dated).left == []
    new = drive_in("new", nas_root=nas, **dated)
    new.restore(uuid)
    new.settle_down()
    assert (new.read("y.txt"), new.versions("y.txt")) == (b"3", [b"2", b"1"])
    assert {path: content for path, content in new.raw_nas().items() if content} == {
        path.removeprefix("b/"): content for path, content in on_nas.items() if content
    }


def test_links_are_links_again_once_the_scrub_has_read_them(
    tmp_path: Path, drive_in: Callable[..., MirrorDrive]
) -> None:
    """Those in the trash and those that were overwritten too: on the NAS they are files of the format of a link."""
    old = drive_in()
    old.mkdir("a")
    for path, target in (("a/link", b"../there"), ("a/to the trash", b"trash"), ("overwritten", b"version")):
        linking.make_link(old.kelp, old.caller, old.place(path), target)
    old.settle_down()
    uuid = old.trash("a/to the trash")
    old.pass_time(70)
    old.put("overwritten", b"text")
    old.settle_down()
    nas, shown = old.root, old.shown()
    old.close()
    assert recover(tmp_path / "new", nas).left == []
    new = drive_in("new", nas_root=nas)
    assert new.shown() == shown and leads_to(new.kelp, new.entry("a/link")) is None
    new.restore(uuid)
    scrubbing.run(new.kelp)
    assert leads_to(new.kelp, new.entry("a/link")) == b"../there"
    assert leads_to(new.kelp, new.entry("to the trash")) == b"trash"
    (version,) = versioning.list_versions(new.kelp, new.caller, new.entry("overwritten").id)
    versioning.restore_version(new.kelp, new.caller, version.uuid)
    assert leads_to(new.kelp, new.entry("overwritten")) == b"version"
    new.settle_down()
    assert new.on_nas() == new.shown()
