"""A tree that was there before Kelp becomes a drive; nothing there is rewritten, renamed or copied."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.mirror_drive import Killed, MirrorDrive
from tests.nasty_names import NASTY_NAMES
from tests.rooms.mirror import adopted
from tests.rooms.mirror.adopted import STAMP, adopt, look, make, settings_of
from tests.symbolic_links import leads_to
from vfs import bootstrap, links, names
from vfs.errors import ConfigurationError, InvalidName
from vfs.metadata import taking
from vfs.model import PART_SIZE, OnConflict
from vfs.operations import adopting, nas_walk, scrubbing
from vfs.operations.nas_walk import Taken

BIG = bytes(range(256)) * 4096 * 9 + b"the end"  # two parts
TREE: dict[str, bytes | None] = {
    "read me.txt": b"read",
    "empty": b"",
    "big": BIG,
    "empty folder": None,
    "a/b/c/deep": b"deep",
    "a/b/twin": b"1",
    "a/twin": b"2",
    **{f"wide/{n:03d}": b"%d" % n for n in range(40)},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nas").mkdir()
    return tmp_path


@pytest.fixture
def drive_of(folder: Path) -> Iterator[Callable[..., MirrorDrive]]:
    """A function that adopts a tree and opens its drive."""
    with ExitStack() as stack:
        yield lambda tree: stack.enter_context(closing(adopted.opened(folder, tree)))


def rows(drive: MirrorDrive) -> dict[str, tuple[object, ...]]:
    """Path → what its row says, of all but the root."""
    with drive.kelp.database.read() as tx:
        found = tx.all(
            """SELECT id, kind, state, size, mtime_ns, nas_stamp, nas_desired_name, nas_name, nas_size, nas_mtime_ns,
                      nas_inode, nas_status, nas_content_id = content_id FROM entries WHERE id <> 1"""
        )
        return {"/".join(tx.entries.path(row[0])): tuple(row[1:]) for row in found}


def test_everything_is_shown_and_nothing_is_touched(folder: Path, drive_of: Callable[..., MirrorDrive]) -> None:
    make(folder / "nas", TREE)
    before = look(folder / "nas")
    drive = drive_of({})
    assert look(folder / "nas") == before
    assert drive.shown() == {**drive.raw_nas()}
    assert drive.events() == []
    drive.settle_down()
    assert look(folder / "nas") == before
    for path, row in rows(drive).items():
        inode, mtime, _, content = before[path]
        assert row[4:8] == (None, path.rpartition("/")[2], path.rpartition("/")[2], row[7])
        assert (row[2], row[3], row[9]) == (len(content or b""), mtime, inode)


def test_parts_are_as_those_of_an_upload(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"big": BIG, "empty": b"", "just one": bytes(PART_SIZE)})
    found = {}
    for name in ("big", "empty", "just one"):
        content_id = drive.entry(name).content_id
        assert content_id is not None
        with drive.kelp.database.read() as tx:
            content = tx.contents.get(content_id)
            assert content is not None
        found[name] = (content.checksum == "", [part.key.removeprefix(content.id) for part in content.parts])
    assert found == {"big": (True, ["", ".000001"]), "empty": (False, []), "just one": (True, [""])}


def test_nasty_names_are_kept_or_told(folder: Path) -> None:
    nas = folder / "nas"
    for name in NASTY_NAMES:
        (nas / name).write_bytes(name.encode())
    (nas / os.fsdecode(b"no utf-8 \xff")).write_bytes(b"?")
    (nas / "link").symlink_to("/etc/passwd")
    (nas / "linked folder").symlink_to("/etc")
    os.mkfifo(nas / "pipe")
    (nas / ".trash").mkdir()
    (nas / ".trash" / "mine").write_bytes(b"?")
    (nas / "line\nbreak folder").mkdir()
    (nas / "line\nbreak folder" / "inside").write_bytes(b"?")
    os.utime(nas / "CON", (1 << 33, 1 << 33))  # year 2242
    taken = adopt(folder)
    legal = [name for name in NASTY_NAMES if _is_legal(name)]
    assert taken.files == len(legal)
    left = {path for path, _ in taken.left}
    assert left >= {"link", "linked folder", "pipe", ".trash", "line\nbreak folder", os.fsdecode(b"no utf-8 \xff")}
    assert taken.left_count == len(left) == 6 + len(NASTY_NAMES) - len(legal)
    with closing(MirrorDrive(folder)) as drive:
        assert drive.shown() == {name: name.encode() for name in legal}


def _is_legal(name: str) -> bool:
    with suppress(InvalidName):
        return bool(names.check_segment(name))
    return False


def test_two_names_that_are_one_for_the_drive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they come in different commits."""
    monkeypatch.setattr(nas_walk, "_BATCH", 1)
    nas, name = folder / "nas", "ça và où"
    for form in ("NFC", "NFD"):
        (nas / unicodedata.normalize(form, name)).write_bytes(form.encode())  # type: ignore[arg-type]
    if len(os.listdir(nas)) < 2:
        pytest.skip("this file system knows one form of a name only")
    taken = adopt(folder)
    assert (taken.files, taken.left_count) == (1, 1)
    assert "same name" in taken.left[0][1]


def test_a_drive_that_ignores_case(folder: Path) -> None:
    make(folder / "nas", {"Read Me": b"1", "README": b"2", "read me": b"3"})
    taken = adopt(folder, drive_case_sensitive=False)
    assert (taken.files, taken.left_count) == (2, 1)


def test_a_dry_run_finds_the_same_and_makes_nothing(folder: Path) -> None:
    make(folder / "nas", TREE)
    (folder / "nas" / "a" / "link").symlink_to("x")
    before = look(folder / "nas")
    settings = settings_of(folder)
    seen = adopting.look_through(settings)
    assert not (folder / "nas" / ".kelp").exists() and look(folder / "nas") == before
    taken = adopt(folder)
    counts = [(each.files, each.folders, each.bytes, each.left, each.walked) for each in (seen, taken)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_killed_at_any_moment_it_goes_on_there(folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(nas_walk, "_BATCH", batch)
    make(folder / "nas", TREE)
    (folder / "nas" / "wide" / "link").symlink_to("000")
    before = look(folder / "nas")
    number = 1
    while adopted.die_in_survey(folder, min(number, 4)):
        number += 1
        with pytest.raises(ConfigurationError, match="nas adopt"):
            bootstrap.build(settings_of(folder))
        assert number < 30
    with closing(MirrorDrive(folder)) as drive:
        assert drive.shown() == {path: drive.raw_nas()[path] for path in drive.raw_nas() if path != "wide/link"}
        with drive.kelp.database.read() as tx:
            assert taking.progress(tx) is None
    assert look(folder / "nas") == before


@pytest.mark.parametrize("dies_at", [1, 2, 5, 9, 14])
def test_killed_in_a_wide_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    """Of a folder a part is committed; what is left alone is told once."""
    monkeypatch.setattr(nas_walk, "_BATCH", 3)
    make(folder / "nas", TREE)
    (folder / "nas" / "wide" / "link").symlink_to("000")
    reports = 0

    def die(taken: Taken) -> None:
        nonlocal reports
        reports += 1
        if reports == dies_at:
            raise Killed

    with suppress(Killed):
        adopt(folder, die)
    taken = adopt(folder)
    assert taken.left == [("wide/link", "a symlink, device, pipe or socket, or not to be read")]
    assert (taken.files, taken.folders, taken.left_count) == (46, 5, 1)
    with closing(MirrorDrive(folder)) as drive:
        assert drive.shown() == {path: drive.raw_nas()[path] for path in drive.raw_nas() if path != "wide/link"}


def test_an_unmounted_nas_is_not_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas_walk, "_BATCH", 3)
    make(folder / "nas", TREE)
    assert adopted.die_in_survey(folder, 3)
    (folder / "nas").rename(folder / "mounted elsewhere")
    (folder / "nas").mkdir()
    for tree in ({}, {"of the mount point": b"?"}):
        make(folder / "nas", tree)
        with pytest.raises(ConfigurationError, match="is the NAS mounted"):
            adopt(folder)
        assert not (folder / "nas" / ".kelp").exists()
    shutil.rmtree(folder / "nas")
    (folder / "mounted elsewhere").rename(folder / "nas")
    assert adopt(folder).files == 46


def test_of_two_at_once_one_finds_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas_walk, "_BATCH", 3)
    make(folder / "nas", TREE)
    settings = settings_of(folder)
    settings.data.mkdir(parents=True, exist_ok=True)
    with bootstrap.opened_for_taking(settings, adopting.begin) as first:
        adopt(folder)
        with pytest.raises((ConfigurationError, AssertionError)):
            adopting.adopt(first)
    with closing(MirrorDrive(folder)) as drive:
        assert drive.shown() == drive.raw_nas()


def test_what_cannot_be_adopted(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is the NAS mounted"):
        adopt(folder)
    make(folder / "nas", TREE)
    adopt(folder)
    with pytest.raises(ConfigurationError, match="files already"):
        adopt(folder)
    with pytest.raises(ConfigurationError, match="cannot open"):
        adopt(folder / "other", nas_root=folder / "missing")
    marker = folder / "nas" / ".kelp" / "drive.json"
    marker.write_text(marker.read_text().replace('"installation": "', '"installation": "another-'))
    with pytest.raises(ConfigurationError, match="another installation"):
        adopt(folder / "other", nas_root=folder / "nas")


def test_a_first_start_on_a_tree_says_how(folder: Path) -> None:
    """It leaves a database without files behind, which may adopt the tree then."""
    make(folder / "nas", TREE)
    with pytest.raises(ConfigurationError, match="kelp nas adopt"):
        bootstrap.build(settings_of(folder))
    assert adopt(folder).files == 46


# --- names that they keep, and those that they get ---


def test_an_overwrite_keeps_the_name(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"a/x.txt": b"old"})
    drive.read("a/x.txt")
    drive.put("a/x.txt", b"new")
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, "a/x.txt": b"new"}


def test_a_move_keeps_the_name_and_a_rename_stamps_it(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"a/x.txt": b"x", "b": None})
    drive.move("a/x.txt", "b/x.txt")
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, "b": None, "b/x.txt": b"x"}
    drive.move("b/x.txt", "b/y.txt")
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, "b": None, f"b/{STAMP}__y.txt": b"x"}
    drive.move("b/y.txt", "a/y.txt")
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, "b": None, f"a/{STAMP}__y.txt": b"x"}


def test_a_name_that_is_taken_becomes_the_stamped_one(drive_of: Callable[..., MirrorDrive]) -> None:
    """`x` on the drive is called so on the NAS in one folder; in the other that is the name of something else there."""
    drive = drive_of({"a/x": b"adopted", f"b/{STAMP}__x": b"looks stamped"})
    drive.move(f"b/{STAMP}__x", f"a/{STAMP}__x")
    drive.move("a/x", "b/z")
    drive.move("b/z", "a/x")
    drive.settle_down()
    assert drive.raw_nas() == {
        "a": None,
        "b": None,
        f"a/{STAMP}__x": b"looks stamped",
        "a/20200913122641__x": b"adopted",
    }


def test_into_the_trash_and_back(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"a/x.txt": b"x"})
    uuid = drive.trash("a/x.txt")
    drive.settle_down()
    (item,) = (path for path in drive.raw_nas(private=True) if path.endswith("x.txt"))
    assert item.startswith(".trash/") and item.endswith(f"__{uuid}/x.txt")
    drive.restore(uuid)
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, "a/x.txt": b"x"}


def test_a_young_file_that_was_adopted_goes_to_the_trash(folder: Path) -> None:
    """Nobody made it on the drive just to remove it, as editors do."""
    (folder / "nas" / "young").write_bytes(b"the only copy")
    adopt(folder)
    with closing(MirrorDrive(folder)) as drive:
        os.utime(folder / "nas" / "young")
        drive.clock._now = drive.entry("young").mtime_ns + 1_000_000_000
        drive.remove("young")
        drive.settle_down()
        assert [
            content for path, content in drive.raw_nas(private=True).items() if path.startswith(".trash/") and content
        ]


def test_the_full_name_is_noted_where_the_nas_cannot_tell_it(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({f"{STAMP}__x": b"x", "plain": b"p"})
    drive.settle_down()
    assert drive.shown() == {f"{STAMP}__x": b"x", "plain": b"p"}
    notes = {
        path: note for path, note in drive.raw_nas(private=True).items() if path.startswith(".kelp/names/") and note
    }
    assert len(notes) == 1 and f'"name": "{STAMP}__x"'.encode() in notes.popitem()[1]


def test_reserved_names_do_not_come_to_the_root(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"a/.trash": b"a file"})
    drive.move("a/.trash", ".trash")
    drive.settle_down()
    assert drive.raw_nas() == {"a": None, f"{STAMP}__.trash": b"a file"}


def test_a_move_over_an_adopted_file(drive_of: Callable[..., MirrorDrive]) -> None:
    drive = drive_of({"x.txt": b"old", "y.txt": b"new"})
    drive.move("y.txt", "x.txt", OnConflict.OVERWRITE)
    drive.settle_down()
    assert drive.shown() == {"x.txt": b"new"}
    assert drive.raw_nas() == {f"{STAMP}__x.txt": b"new"}
    assert drive.versions("x.txt") == [b"old"]


def test_links_of_others_are_links_once_the_scrub_has_read_them(
    folder: Path, drive_of: Callable[..., MirrorDrive]
) -> None:
    """As a Mac or Linux leaves them on a share."""
    tree = {"a/link": links.packed(b"../read me.txt"), "read me.txt": b"read", "no link": b"x" * links.SIZE}
    make(folder / "nas", tree)
    drive = drive_of({})
    assert drive.shown() == {**tree, "a": None}
    drive.copy("a", "copy")
    drive.move("a/link", "moved.txt")
    assert [leads_to(drive.kelp, drive.entry(path)) for path in ("moved.txt", "copy/link")] == [None, None]
    scrubbing.run(drive.kelp)
    found = [leads_to(drive.kelp, drive.entry(path)) for path in ("moved.txt", "copy/link", "no link")]
    assert found == [b"../read me.txt", b"../read me.txt", None]
    drive.settle_down()
    assert drive.on_nas() == drive.shown() and drive.shown()["moved.txt"] == tree["a/link"]
