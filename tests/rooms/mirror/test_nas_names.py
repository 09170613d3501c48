"""Names as the NAS gets them: long ones, nasty ones, ones that look like Kelp's own, two of one second."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.mirror_drive import MirrorDrive
from tests.nasty_names import NASTY_NAMES
from vfs.errors import InvalidName
from vfs.operations import trashing

LONG = ("x" * 255, "é" * 127 + "x", "🙂" * 63 + "abc", "x" * 251 + ".txt", "보" * 83 + ".hwp.x", "." + "x" * 254)


def usable(name: str) -> bool:
    return "\n" not in name


@pytest.mark.parametrize("at_root", [True, False], ids=["root", "folder"])
def test_nasty_names_of_files_and_folders(drive: MirrorDrive, at_root: bool) -> None:
    drive.mkdir("files")
    drive.mkdir("folders")
    for name in dict.fromkeys((*NASTY_NAMES, *LONG)):
        if not usable(name):
            with pytest.raises(InvalidName):
                drive.put(name)
            continue
        drive.put(name if at_root else f"files/{name}", name.encode())
        drive.mkdir(f"folders/{name}")
        drive.put(f"folders/{name}/{name}", b"inside")
    drive.pass_time(70)  # some look like litter
    drive.check_mirrored()
    assert all(len(part.encode()) <= 255 for path in drive.raw_nas() for part in path.split("/"))


@pytest.mark.parametrize("name", LONG)
def test_a_long_file_name_keeps_stamp_head_and_extension(drive: MirrorDrive, name: str) -> None:
    entry = drive.put(name)
    drive.settle_down()
    (found,) = drive.raw_nas()
    tail = f"~{entry.uuid[:8]}{name[-4:] if name.endswith('.txt') else ''}"
    assert re.match(r"\d{14}__", found) and len(found.encode()) <= 255
    if "." not in name[1:-4]:
        assert found.endswith(tail) and name.startswith(found[16 : -len(tail)])
    note = json.loads((drive.root / ".kelp/names" / str(entry.id)).read_text())
    assert note == {"name": name, "nas_name": found}
    drive.move(name, "short")
    drive.check_mirrored()
    assert set(drive.on_nas()) == {"short"}
    assert not (drive.root / ".kelp/names" / str(entry.id)).exists()


def test_long_names_that_differ_only_at_their_ends(drive: MirrorDrive) -> None:
    for n in range(3):
        drive.put("x" * 254 + str(n), str(n).encode())
    drive.check_mirrored()
    drive.move("x" * 254 + "0", "t")
    drive.move("x" * 254 + "1", "x" * 254 + "0")
    drive.check_mirrored()


def test_names_that_look_like_stamps_or_like_kelps_own(drive: MirrorDrive) -> None:
    drive.mkdir("20260101000000__folder")
    drive.put("20260101000000__file", b"file")
    drive.mkdir("20260101000000__folder/20260101000000__")
    for name in (".trash", ".kelp", ".Trash"):
        drive.mkdir(name)
        drive.put(f"{name}/f", name.encode())
        drive.mkdir(f"20260101000000__folder/{name}")
    drive.mkdir("_.trash")
    drive.check_mirrored()
    raw = drive.raw_nas()
    assert "_20260101000000__folder" in raw and "_20260101000000__folder/_20260101000000__" in raw
    assert "_.trash" in raw and "_.kelp" in raw and "_20260101000000__folder/.trash" in raw
    assert any(re.fullmatch(r"_\.trash~[0-9a-f]{8}", name) for name in raw)
    assert any(re.fullmatch(r"\d{14}__20260101000000__file", name) for name in raw)


def test_kelps_own_names_travel_between_root_and_folders(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("a/.trash")
    drive.put("a/.trash/f", b"f")
    drive.settle_down()
    assert "a/.trash" in drive.raw_nas()
    drive.move("a/.trash", ".trash")
    drive.check_mirrored()
    assert "_.trash" in drive.raw_nas()
    drive.put("plain")
    drive.move("plain", ".kelp")
    drive.move(".kelp", "a/.kelp")
    drive.check_mirrored()


def test_two_files_of_one_name_and_second(drive: MirrorDrive) -> None:
    """The later takes the next free second, wherever it comes from."""
    drive.mkdir("a")
    for n in range(3):
        drive.put("f", str(n).encode())
        drive.move("f", f"a/f{n}")
    for n in range(3):
        drive.move(f"a/f{n}", f"f{n}")
        uuid = drive.trash(f"f{n}")
        drive.mkdir(f"d{n}")
        drive.restore(uuid)
    drive.put("same", b"1")
    drive.settle_down()
    first = drive.nas_path("same").name
    drive.trash("same")
    drive.put("same", b"2")
    drive.check_mirrored()
    # In one folder: swap-like, two rows with one stamp and, for a moment of the drive, one name each.
    drive.put("p", b"p")
    drive.put("q", b"q")
    drive.move("p", "t")
    drive.move("q", "p")
    drive.move("t", "q")
    drive.check_mirrored()
    assert drive.on_nas()["p"] == b"q" and first[:14].isdigit()


def test_a_restored_file_meets_its_successor_of_the_same_second(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("a/f", b"old")
    drive.trash("a/f")
    drive.put("a/f", b"new")  # takes over the document, so what is in the trash has another UUID from now on
    drive.move("a/f", "a/g")
    (item,) = trashing.list_trash(drive.kelp, drive.caller)
    drive.restore(item.entry.uuid)
    drive.move("a/f", "a/h")
    drive.move("a/g", "a/f")
    drive.check_mirrored()
    assert drive.on_nas() == {"a": None, "a/f": b"new", "a/h": b"old"}


def test_a_nas_that_refuses_characters(open_drive: Callable[..., MirrorDrive]) -> None:
    drive = open_drive(nas_refused='<>:"|?*\\')
    drive.mkdir("a:b")
    drive.put("a:b/what?")
    drive.put("a%3Ab")
    drive.mkdir("a%3Ab2")
    drive.settle_down()
    drive.check()
    assert "a%3Ab" in drive.raw_nas() and any(path.endswith("__what%3F") for path in drive.raw_nas())
    assert drive.on_nas() == drive.shown()


@pytest.mark.parametrize("name", ["é" * 127, "x" * 255])
def test_a_long_name_replaced_by_one_that_is_cut_alike(drive: MirrorDrive, name: str) -> None:
    drive.put(name)
    drive.settle_down()
    drive.move(name, name[:-1] + "y")
    drive.check_mirrored()
