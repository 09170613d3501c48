"""keep-dated (seeds 002 §6): every registration stays a file on the NAS, beside the others, under its own stamp."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.test_versions import foreign, nas_versions, word_saves
from vfs.model import OnConflict
from vfs.operations import versioning

Tree = dict[str, bytes | None]


@pytest.fixture
def dated(open_drive: Callable[..., MirrorDrive]) -> MirrorDrive:
    return open_drive(drive_duplicates="keep-dated")


def registered(drive: MirrorDrive, below: str = "") -> dict[str, list[bytes | None]]:
    """What people see on the NAS by name without stamps, the oldest stamp first."""
    found: dict[str, list[bytes | None]] = {}
    for path, content in sorted(drive.raw_nas(below).items()):
        found.setdefault(re.sub(r"(^|/)\d{14}__", r"\1", path), []).append(content)
    return found


def check(drive: MirrorDrive) -> None:
    """Nothing is left to do, all is sound, and each name has its versions and what is shown, in their order."""
    drive.settle_down()
    drive.check()
    expected: dict[str, list[bytes | None]] = {}
    for path, content in drive.shown().items():
        older = list(reversed(drive.versions(path))) if content is not None else []
        expected[path] = [*older, content]
    found = registered(drive)
    assert {path: sorted(map(str, contents)) for path, contents in found.items()} == {
        path: sorted(map(str, contents)) for path, contents in expected.items()
    }
    assert foreign(drive) == []


def overwrite(drive: MirrorDrive, path: str, *contents: bytes, seconds: float = 10) -> None:
    for content in contents:
        drive.put(path, content)
        drive.pass_time(seconds)


@pytest.mark.parametrize("mirrored", ["each", "at the end"])
@pytest.mark.parametrize("seconds", [10, 0], ids=["later", "in one second"])
def test_each_registration_stays_a_file_with_a_stamp_of_its_own(
    dated: MirrorDrive, mirrored: str, seconds: int
) -> None:
    dated.mkdir("a")
    for number in range(15):
        overwrite(dated, "a/f.txt", b"%d" % number, seconds=seconds)
        if mirrored == "each":
            dated.settle_down()
    check(dated)
    assert registered(dated)["a/f.txt"] == [b"%d" % number for number in range(15)]
    assert nas_versions(dated) == [] and len(dated.versions("a/f.txt")) == 14, "there is no keep_count"


def test_an_overwrite_leaves_the_file_where_it_is(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"1")
    dated.settle_down()
    (path,) = dated.raw_nas()
    inode = os.stat(dated.root / path).st_ino
    calls: list[tuple[str, ...]] = []
    dated.nas.before = lambda method, arguments: calls.append((method, *map(str, arguments[:2])))
    overwrite(dated, "f", b"2")
    dated.settle_down()
    dated.nas.calm()
    assert os.stat(dated.root / path).st_ino == inode
    assert [call for call in calls if call[0] in ("move", "link", "remove") and path in call] == []
    check(dated)


def test_registrations_do_not_expire(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"1", b"2")
    dated.settle_down()
    with dated.kelp.database.write() as tx:
        assert tx.pruning.versions_due(dated.clock.now_ns() + 400 * 86_400 * 10**9, 100) == []
    check(dated)
    assert registered(dated)["f"] == [b"1", b"2"]


def test_an_empty_file_is_no_registration(dated: MirrorDrive) -> None:
    """Clients make one before they send the bytes."""
    overwrite(dated, "f", b"", b"1")
    check(dated)
    assert registered(dated) == {"f": [b"1"]}
    overwrite(dated, "g", b"")
    dated.settle_down()
    overwrite(dated, "g", b"1")
    check(dated)
    assert registered(dated)["g"] == [b"1"]


def test_a_version_restored_is_another_registration(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"1", b"2")
    dated.settle_down()
    (old,) = versioning.list_versions(dated.kelp, dated.caller, dated.entry("f").id)
    versioning.restore_version(dated.kelp, dated.caller, old.uuid)
    dated.pass_time(10)
    overwrite(dated, "f", b"3")
    check(dated)
    assert registered(dated)["f"] == [b"1", b"2", b"1", b"3"]


@pytest.mark.parametrize("mirrored", [True, False])
def test_older_registrations_go_where_their_file_goes(dated: MirrorDrive, mirrored: bool) -> None:
    def rest() -> None:
        if mirrored:
            check(dated)

    dated.mkdir("a")
    dated.mkdir("b")
    overwrite(dated, "a/f", b"1", b"2", b"3")
    rest()
    stamps = sorted(path.split("__")[0] for path in dated.raw_nas("a")) if mirrored else []
    dated.move("a/f", "a/g")
    rest()
    dated.move("a/g", "b/g")
    rest()
    if mirrored:
        assert sorted(path.split("__")[0] for path in dated.raw_nas("b")) == stamps
    dated.move("b", "c")
    rest()
    uuid = dated.trash("c/g")
    rest()
    dated.restore(uuid)
    check(dated)
    assert registered(dated)["c/g"] == [b"1", b"2", b"3"]
    folder = dated.trash("c")
    rest()
    dated.restore(folder)
    check(dated)
    dated.purge(dated.trash("c/g"))
    check(dated)
    assert registered(dated) == {"a": [None], "c": [None]}
    trash = dated.root / ".trash"
    assert not trash.exists() or list(trash.iterdir()) == []


def test_a_trash_item_has_its_registrations_with_it(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"1", b"2")
    dated.settle_down()
    dated.trash("f")
    dated.settle_down()
    (item,) = (dated.root / ".trash").iterdir()
    assert sorted(path.read_bytes() for path in item.iterdir()) == [b"1", b"2"]
    check(dated)


def test_a_purged_folder_takes_its_registrations_but_not_those_of_what_left_it(dated: MirrorDrive) -> None:
    dated.mkdir("a")
    overwrite(dated, "a/gone", b"1", b"2")
    overwrite(dated, "a/kept", b"3", b"4")
    dated.settle_down()
    dated.move("a/kept", "kept")
    dated.purge(dated.trash("a"))
    check(dated)
    assert registered(dated) == {"kept": [b"3", b"4"]}


def test_two_names_swapped_within_a_second(dated: MirrorDrive) -> None:
    for content in (b"1", b"2"):
        for name in "ab":
            dated.put(name, name.encode() + content)
    dated.settle_down()
    for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
        dated.move(source, target)
        dated.pass_time(70)  # a name that is filled sooner is the same document
    check(dated)
    assert registered(dated) == {"a": [b"b1", b"b2"], "b": [b"a1", b"a2"]}


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_rename_over_the_document_is_a_registration_of_it(dated: MirrorDrive, mirrored: bool) -> None:
    for number in range(4):
        dated.pass_time(10)
        dated.put("f.new", b"%d" % number)
        if mirrored:
            dated.drain()
        dated.move("f.new", "f", OnConflict.OVERWRITE)
        if mirrored:
            dated.drain()
    check(dated)
    assert registered(dated) == {"f": [b"0", b"1", b"2", b"3"]}


@pytest.mark.parametrize("mirrored", [True, False])
def test_word_saves(dated: MirrorDrive, mirrored: bool) -> None:
    dated.put("d.docx", b"0")
    for number in range(1, 4):
        dated.pass_time(10)
        word_saves(dated, b"%d" % number, number)
        if mirrored:
            dated.settle_down()
    dated.pass_time(70)
    check(dated)
    assert registered(dated) == {"d.docx": [b"0", b"1", b"2", b"3"]}


def test_litter_leaves_no_registrations(dated: MirrorDrive) -> None:
    overwrite(dated, "x.tmp", b"1", b"2", b"3", seconds=1)
    dated.pass_time(70)
    check(dated)
    assert registered(dated) == {"x.tmp": [b"3"]}


def test_a_long_name_and_one_that_the_nas_refuses(open_drive: Callable[..., MirrorDrive]) -> None:
    drive = open_drive(drive_duplicates="keep-dated", nas_refused=":")
    overwrite(drive, "é" * 127, b"1", b"2", b"3")
    overwrite(drive, "a:b", b"1", b"2")
    drive.settle_down()
    drive.check()
    assert sorted(map(str, drive.raw_nas().values())) == sorted(map(str, [b"1", b"1", b"2", b"2", b"3"]))
    drive.move("é" * 127, "short")
    drive.settle_down()
    drive.check()
    assert registered(drive)["short"] == [b"1", b"2", b"3"]


def test_the_setting_can_be_switched_both_ways(open_drive: Callable[..., MirrorDrive]) -> None:
    """What was kept before stays under its own rule."""
    drive = open_drive()
    overwrite(drive, "f", b"1", b"2")
    drive.settle_down()
    drive.close()
    drive = open_drive(drive_duplicates="keep-dated", clock=drive.clock)
    overwrite(drive, "f", b"3", b"4")
    drive.settle_down()
    drive.check()
    assert registered(drive)["f"] == [b"2", b"3", b"4"] and nas_versions(drive) == [b"1"]
    drive.close()
    drive = open_drive(versions_keep_count=1, clock=drive.clock)
    overwrite(drive, "f", b"5", b"6")
    drive.settle_down()
    drive.check()
    assert registered(drive)["f"] == [b"2", b"3", b"6"] and nas_versions(drive) == [b"5"]
    drive.move("f", "g")
    drive.settle_down()
    drive.check()
    assert registered(drive) == {"g": [b"2", b"3", b"6"]}
    assert set(drive.versions("g")) == {b"2", b"3", b"5"}


def test_a_registration_changed_by_hand_is_put_aside(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"first")
    dated.settle_down()
    dated.nas_path("f").write_bytes(b"changed by hand")
    overwrite(dated, "f", b"second")
    dated.settle_down()
    dated.check()
    assert registered(dated)["f"] == [b"first", b"second"] and foreign(dated) == [b"changed by hand"]
    old = dated.root / min(dated.raw_nas())
    old.write_bytes(b"again by hand")
    dated.purge(dated.trash("f"))
    dated.settle_down()
    dated.check()
    assert sorted(foreign(dated)) == [b"again by hand", b"changed by hand"]


def test_a_registration_deleted_on_the_nas_is_written_anew_when_it_moves(dated: MirrorDrive) -> None:
    overwrite(dated, "f", b"first", b"second")
    dated.settle_down()
    (dated.root / min(dated.raw_nas())).unlink()
    dated.move("f", "g")
    check(dated)
    assert registered(dated)["g"] == [b"first", b"second"]


@pytest.mark.parametrize("who", ["the file", "its version"])
def test_two_that_chose_one_name_at_the_same_time(dated: MirrorDrive, who: str) -> None:
    """PostgreSQL cannot forbid it between files and versions: the one that comes second takes another second."""
    overwrite(dated, "f", b"1", b"2")
    dated.settle_down()
    taken = min(dated.raw_nas())
    dated.put("g", b"3")
    if who == "its version":
        dated.pass_time(10)
        dated.put("g", b"4")
    stamp, table, key = taken.split("__")[0], "versions", "entry_id"
    if who == "the file":
        table, key = "entries", "id"
    with dated.kelp.database.write() as tx:
        column = "stamp" if table == "versions" else "nas_stamp"
        tx.run(
            f"""UPDATE {table} SET {column} = :stamp, nas_desired_name = :name, nas_desired_key = :name
                WHERE {key} = :id""",
            stamp=stamp, name=taken, id=dated.entry("g").id,
        )  # fmt: skip
    dated.settle_down()
    dated.check()
    expected = [b"1", b"2", b"3"] + ([b"4"] if who == "its version" else [])
    assert sorted(content or b"" for content in dated.raw_nas().values()) == expected
    assert (dated.root / taken).read_bytes() == b"1"
