"""Rules for names, by examples and by whatever hypothesis thinks of."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nasty_names import NASTY_NAMES
from tests.rooms.core.drive import Drive
from vfs import names
from vfs.errors import InvalidName, NameTooLong

UUID = "0a1b2c3d-0000-4000-8000-000000000000"
REFUSED = frozenset('\\:*?"<>|')


def usable(name: str) -> bool:
    try:
        names.check_segment(name)
    except InvalidName:
        return False
    return True


drive_names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=255)
    .map(lambda text: text.encode()[:255].decode("utf-8", "ignore"))
    .filter(usable)
)


@given(drive_names, st.sampled_from([frozenset[str](), REFUSED]))
def test_a_nas_file_name_fits_and_keeps_stamp_and_extension(name: str, refused: frozenset[str]) -> None:
    made = names.nas_file_name("20260102030405", name, UUID, refused)
    assert len(made.encode()) <= 255 and made.startswith("20260102030405__") and not set(made) & refused
    whole = names.escape(name, refused)
    if len(whole.encode()) <= 255 - 16:
        assert made == f"20260102030405__{whole}"
    else:
        assert re.search(r"~0a1b2c3d(\.[^.]*)?$", made, re.DOTALL) and made.endswith(names.extension(whole))


@given(drive_names, st.booleans())
def test_a_nas_folder_name_fits_and_looks_like_nothing_else(name: str, at_root: bool) -> None:
    made = names.nas_folder_name(name, UUID, REFUSED, at_root)
    taken = names.nas_folder_name_taken(made, UUID)
    for nas_name in (made, taken):
        assert len(nas_name.encode()) <= 255 and not re.match(r"\d{14}__", nas_name)
    assert taken != made and taken.endswith("~0a1b2c3d")
    assert not at_root or made.casefold() not in (".trash", ".kelp")


@pytest.mark.parametrize(
    ("name", "at_root", "made"),
    [
        (".trash", True, "_.trash"),
        (".KELP", True, "_.KELP"),
        (".trash", False, ".trash"),
        ("20260102030405__x", False, "_20260102030405__x"),
        ("2026010203040__x", False, "2026010203040__x"),
        ("20260102030405_x", False, "20260102030405_x"),
        ("a:b", False, "a%3Ab"),
    ],
)
def test_folder_names_with_a_meaning_of_their_own(name: str, at_root: bool, made: str) -> None:
    assert names.nas_folder_name(name, UUID, REFUSED, at_root) == made


@given(drive_names, st.booleans())
def test_numbered_names_are_usable_and_differ(name: str, is_folder: bool) -> None:
    some = list(itertools.islice(names.numbered(name, is_folder), 12))
    assert len(set(some)) == 12 and all(usable(made) for made in some)
    if not is_folder:
        assert all(made.endswith(names.extension(name)) for made in some)


@pytest.mark.parametrize(
    ("name", "is_folder", "first"),
    [
        ("a.txt", False, "a (1).txt"),
        ("a.txt", True, "a.txt (1)"),
        (".bashrc", False, ".bashrc (1)"),
        ("a.tar.gz", False, "a.tar (1).gz"),
        ("a.", False, "a (1)."),
        ("x" * 251 + ".txt", False, "x" * 247 + " (1).txt"),
        ("é" * 127, False, "é" * 125 + " (1)"),
    ],
)
def test_the_first_numbered_name(name: str, is_folder: bool, first: str) -> None:
    assert next(names.numbered(name, is_folder)) == first


@given(st.text(max_size=300))
def test_checking_never_fails_in_another_way(name: str) -> None:
    try:
        assert names.check_segment(name) == name
    except NameTooLong:
        assert len(name.encode()) > 255
    except InvalidName:
        assert name in ("", ".", "..") or re.search("[/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", name)


@pytest.mark.parametrize(
    ("name", "litter"),
    [
        *((name, True) for name in ("~$a.docx", ".~lock.a.odt#", ".DS_Store", "._a", "Thumbs.db", "desktop.ini")),
        *((name, True) for name in (".a.swp", ".a.swo", "a.tmp", "a~", "a.txt.sb-1a2b3c4d-Xy12Za")),
        *((name, False) for name in ("a", "~a", "$a", ".a", "a.swp", "tmp", "a.tmp.x", "DS_Store", "4913", "a.sb-1-2")),
    ],
)
def test_litter_is_what_the_list_says(name: str, litter: bool) -> None:
    assert names.is_litter(name) == litter


def test_nasty_names_reach_the_nas_and_come_back(drive: Drive) -> None:
    listed = [name for name in NASTY_NAMES if usable(name)]
    for name in listed:
        drive.put(name, name.encode())
    assert sorted(drive.names()) == sorted(listed)
    drive.mirror()
    assert sorted(drive.nas_files().values()) == sorted(name.encode() for name in listed)


def test_names_of_one_nas_name_are_kept_apart(drive: Drive) -> None:
    head = "n" * 240
    for number in range(5):
        drive.put(f"{head}{number}.txt", b"x")
        drive.folder(f"{head}{number}")
        drive.put(f"{head}{number}/x")
    drive.folder("20260102030405__x")
    drive.folder("_20260102030405__x")
    rows = drive.sql("SELECT parent_id, nas_desired_key FROM entries WHERE id > 1")
    assert len(set(rows)) == len(rows)


def test_a_folder_may_be_called_like_the_way_out_of_another_collision(drive: Drive) -> None:
    drive.folder("_.kelp")
    second = drive.folder(".kelp")  # is "_.kelp~{8 hex}" on the NAS
    drive.move(".kelp", "away")
    drive.folder(f"_.kelp~{names.short(second.uuid)}")
    drive.move("away", ".kelp")
    assert len(drive.names()) == 3
