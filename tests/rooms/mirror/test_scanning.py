"""What somebody changed on the NAS behind Kelp's back is found, and taken in where that is wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror import adopted
from vfs.errors import NotFound
from vfs.model import Scope
from vfs.operations import locking, scanning, taking_in, trashing
from vfs.operations.scanning import Scan

TREE: dict[str, bytes | None] = {"a/x.txt": b"x", "a/b/deep": b"deep", "c/y": b"y", "z": b"z"}


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    with closing(adopted.opened(tmp_path, TREE)) as drive:
        drive.mkdir("k")
        drive.put("k/ours", b"written by Kelp")
        drive.settle_down()
        yield drive


def scan(drive: MirrorDrive, *path: str) -> Scan:
    return scanning.scan(drive.kelp, path, settled=0)


def found(drive: MirrorDrive, *path: str) -> dict[str, str]:
    return {each.path: each.what.value for each in scan(drive, *path).findings}


def follow(drive: MirrorDrive, *, restore: bool = False) -> dict[str, str]:
    """Take in what is found; path → why something was left."""
    outcomes = taking_in.take_in(drive.kelp, drive.caller, scan(drive).findings, restore=restore)
    return {each.finding.path: each.why for each in outcomes if not each.done}


def end(drive: MirrorDrive) -> None:
    drive.settle_down()
    assert drive.on_nas() == drive.shown()
    assert found(drive) == {}


def ours(drive: MirrorDrive) -> Path:
    return drive.nas_path("k/ours")


def test_nothing_was_changed(drive: MirrorDrive) -> None:
    looked = scan(drive)
    assert (looked.findings, looked.looked) == ([], 9)


def test_new_files_and_folders(drive: MirrorDrive) -> None:
    adopted.make(drive.root, {"a/new": b"new", "new folder/inside/file": b"1", "new folder/empty": None})
    (drive.root / "new folder" / "link").symlink_to("x")
    new = ("new folder", *(f"new folder/{name}" for name in ("inside", "inside/file", "empty")))
    assert found(drive) == {**dict.fromkeys(("a/new", *new), "new"), "new folder/link": "left alone"}
    assert found(drive, "a") == {"a/new": "new"}
    assert follow(drive) == {"new folder/link": "a symlink, device, pipe or socket, or not to be read"}
    (drive.root / "new folder" / "link").unlink()
    assert drive.read("new folder/inside/file") == b"1"
    end(drive)
    drive.put("new folder/inside/file", b"2")
    end(drive)
    assert (drive.root / "new folder/inside/file").read_bytes() == b"2"


def test_a_new_name_that_the_drive_has_already(drive: MirrorDrive) -> None:
    """`ours` is stamped on the NAS; somebody puts a plain `ours` beside it."""
    adopted.make(drive.root, {"k/ours": b"theirs"})
    assert follow(drive) == {}
    assert drive.shown()["k/ours"] == b"written by Kelp" and drive.shown()["k/ours (1)"] == b"theirs"
    drive.settle_down()
    assert (drive.root / "k" / "ours").read_bytes() == b"theirs"
    end(drive)


def test_a_changed_file_and_its_version(drive: MirrorDrive) -> None:
    path = ours(drive)
    path.write_bytes(b"changed by somebody else")
    (drive.root / "z").write_bytes(b"changed, and never in the cache before")
    assert found(drive) == {path.relative_to(drive.root).as_posix(): "changed", "z": "changed"}
    assert follow(drive) == {}
    assert drive.read("k/ours") == b"changed by somebody else"
    assert drive.read("z") == b"changed, and never in the cache before"
    assert drive.versions("k/ours") == [b"written by Kelp"]
    assert drive.versions("z") == []
    end(drive)


def test_missing_goes_to_the_trash_while_the_cache_has_it(drive: MirrorDrive) -> None:
    ours(drive).unlink()
    (drive.root / "z").unlink()
    assert set(found(drive).values()) == {"missing"}
    left = follow(drive)
    assert list(left) == ["z"] and "no more" in left["z"]
    assert [item.original_path for item in trashing.list_trash(drive.kelp, drive.caller)] == ["/k/ours"]
    drive.settle_down()
    drive.restore(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)
    drive.settle_down()
    assert ours(drive).read_bytes() == b"written by Kelp"
    (drive.root / "z").write_bytes(b"put back")
    assert follow(drive) == {}
    end(drive)


def test_a_missing_folder_is_one_item_of_the_trash(drive: MirrorDrive) -> None:
    drive.put("k/second", b"2")
    drive.settle_down()
    shutil.rmtree(drive.root / "k")
    assert follow(drive) == {}
    (item,) = trashing.list_trash(drive.kelp, drive.caller)
    assert item.original_path == "/k"
    drive.settle_down()
    drive.restore(item.entry.uuid)
    drive.settle_down()
    assert drive.shown()["k/ours"] == b"written by Kelp" and drive.shown()["k/second"] == b"2"
    end(drive)


def test_missing_is_written_again_from_the_cache(drive: MirrorDrive) -> None:
    shutil.rmtree(drive.root / "k")
    assert follow(drive, restore=True) == {}
    drive.settle_down()
    assert drive.shown()["k/ours"] == b"written by Kelp"
    end(drive)


def test_a_trash_item_that_is_gone(drive: MirrorDrive) -> None:
    drive.trash("k/ours")
    drive.settle_down()
    shutil.rmtree(drive.root / ".trash")
    assert set(found(drive).values()) == {"missing"}
    assert follow(drive) == {}
    drive.settle_down()
    assert found(drive) == {}
    assert [content for path, content in drive.raw_nas(private=True).items() if path.startswith(".trash") and content]


def test_moved_files_and_folders(drive: MirrorDrive) -> None:
    stamped = ours(drive)
    (drive.root / "a" / "b").rename(drive.root / "c" / "b2")
    stamped.rename(drive.root / "c" / f"{stamped.name[:16]}renamed")
    (drive.root / "z").rename(drive.root / "a" / "zz")
    assert set(found(drive).values()) == {"moved"} and len(found(drive)) == 3
    ids = {path: drive.entry(path).id for path in ("a/b", "a/b/deep", "k/ours", "z")}
    assert follow(drive) == {}
    assert {path: drive.entry(path).id for path in ("c/b2", "c/b2/deep", "c/renamed", "a/zz")} == dict(
        zip(("c/b2", "c/b2/deep", "c/renamed", "a/zz"), ids.values(), strict=True)
    )
    end(drive)


def test_files_of_a_folder_that_kelp_made_are_moved_one_by_one(drive: MirrorDrive) -> None:
    """Nobody recorded the folder's number."""
    id = drive.entry("k/ours").id
    (drive.root / "k").rename(drive.root / "c" / "k")
    assert follow(drive) == {}
    assert drive.entry("c/k/ours").id == id
    end(drive)


def test_of_another_kind(drive: MirrorDrive) -> None:
    (drive.root / "z").unlink()
    (drive.root / "z").mkdir()
    assert found(drive) == {"z": "of another kind"}
    assert list(follow(drive)) == ["z"]


def test_another_inode_alone_is_no_change(drive: MirrorDrive) -> None:
    """As after a NAS was put back from its backup."""
    info = (drive.root / "z").stat()
    (drive.root / "copy").write_bytes(b"z")
    os.utime(drive.root / "copy", ns=(info.st_atime_ns, info.st_mtime_ns))
    (drive.root / "copy").rename(drive.root / "z")
    content = drive.entry("z").content_id
    assert found(drive) == {"z": "renumbered"}
    assert follow(drive) == {}
    assert drive.entry("z").content_id == content
    end(drive)


def test_what_the_drive_changes_just_now_is_left_to_it(drive: MirrorDrive) -> None:
    ours(drive).write_bytes(b"by somebody else")
    drive.put("k/ours", b"by somebody on the drive")
    assert found(drive) == {}
    drive.settle_down()
    assert drive.read("k/ours") == b"by somebody on the drive"
    end(drive)


def test_what_a_job_has_in_its_hands_is_left(drive: MirrorDrive) -> None:
    path = drive.nas_path("k/ours")
    seen: list[dict[str, str]] = []

    def look(method: str, arguments: tuple[object, ...]) -> None:
        if method == "move":
            drive.nas.calm()
            path.write_bytes(b"by somebody else")
            seen.append(found(drive))

    drive.move("k/ours", "c/ours")
    drive.nas.before = look
    drive.settle_down()
    assert seen == [{}]


def test_what_changed_since_the_scan_is_left(drive: MirrorDrive) -> None:
    adopted.make(drive.root, {"a/new": b"new"})
    (drive.root / "z").write_bytes(b"changed")
    findings = scan(drive).findings
    (drive.root / "a" / "new").write_bytes(b"it still grows")
    drive.put("z", b"meanwhile")
    outcomes = taking_in.take_in(drive.kelp, drive.caller, findings)
    assert not any(each.done for each in outcomes)
    assert "a/new" not in drive.shown() and drive.read("z") == b"meanwhile"


def test_a_file_that_grows_between_the_looks_is_not_told(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    (drive.root / "grows").write_bytes(b"1")
    monkeypatch.setattr(scanning.time, "sleep", lambda seconds: (drive.root / "grows").write_bytes(b"12"))
    assert scanning.scan(drive.kelp).findings == []


def test_locked_is_left(drive: MirrorDrive) -> None:
    locking.lock(
        drive.kelp, drive.caller, drive.place("z"), scope=Scope.EXCLUSIVE, infinite=False, owner="", timeout=600
    )
    (drive.root / "z").write_bytes(b"changed")
    assert "locked" in follow(drive)["z"]


def test_a_folder_that_is_not_there(drive: MirrorDrive) -> None:
    with pytest.raises(NotFound):
        scan(drive, "missing")
    with pytest.raises(NotFound):
        scan(drive, "z")


def test_twice_is_as_once(drive: MirrorDrive) -> None:
    adopted.make(drive.root, {"new/file": b"new"})
    ours(drive).write_bytes(b"changed")
    findings = scan(drive).findings
    assert all(each.done for each in taking_in.take_in(drive.kelp, drive.caller, findings))
    assert not any(each.done for each in taking_in.take_in(drive.kelp, drive.caller, findings))
    end(drive)
