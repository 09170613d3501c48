"""Batches: what expires, and that nothing is freed that a row can still reach."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from jobs import batches
from tests import cache_listing
from tests.rooms.core.drive import SECOND, Drive
from vfs.errors import StoreUnavailable
from vfs.model import ROOT_ID
from vfs.nas_model import Recorded, Spot
from vfs.operations import expiring, freeing, orphans, trashing, versioning, writing

DAY = 86_400


def keys(drive: Drive) -> set[str]:
    return cache_listing.keys(drive.kelp.cache)


def rounds(drive: Drive, count: int = 4) -> None:
    """Rounds of every batch, with the mirror's work and time for readers between them."""
    for _ in range(count):
        batches.run_all(drive.kelp)
        drive.mirror()
        drive.clock.advance(61)


def test_trash_expires(drive: Drive) -> None:
    for name in ("early", "late"):
        drive.put(name, name.encode())
    drive.clock.advance(100)
    drive.remove("early")
    drive.clock.advance(DAY)
    drive.remove("late")
    drive.mirror()
    drive.clock.advance(29 * DAY - 30)
    assert expiring.expire_trash(drive.kelp).count == 1 and drive.trashed() == ["/late"]
    drive.mirror()
    assert [path.name for path in (drive.nas / ".trash").rglob("*__late")] == [
        path.name for path in (drive.nas / ".trash").rglob("*") if path.is_file()
    ]


def test_what_is_below_a_purged_folder_follows_but_not_what_was_trashed_alone(drive: Drive) -> None:
    for path in ("f", "f/g"):
        drive.folder(path)
    drive.put("f/g/x", b"goes")
    drive.put("f/alone", b"stays")
    drive.clock.advance(100)
    alone = drive.entry("f/alone").uuid
    drive.remove("f/alone")
    drive.remove("f")
    drive.mirror()
    trashing.purge(drive.kelp, drive.editor, next(i.entry.uuid for i in drive.trash() if i.original_path == "/f"))
    rounds(drive)
    assert len(keys(drive)) == 1
    trashing.restore(drive.kelp, drive.editor, alone)
    assert drive.read("f/alone") == b"stays"


def test_expired_versions_leave_the_nas_and_the_cache(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.mirror()
    drive.put("a", b"2")
    drive.mirror()
    assert len([path for path in (drive.nas / ".kelp/versions").rglob("*") if path.is_file()]) == 1
    drive.clock.advance(31 * DAY)
    rounds(drive)
    assert [path for path in (drive.nas / ".kelp/versions").rglob("*") if path.is_file()] == []
    assert drive.versions("a") == [] and len(keys(drive)) == 1 and drive.read("a") == b"2"


def test_a_version_that_expires_while_it_is_written_leaves_the_nas_later(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.clock.advance(10)
    drive.put("a", b"2")
    version = versioning.list_versions(drive.kelp, drive.editor, drive.entry("a").id)[0]
    drive.mirror()
    with drive.kelp.database.write() as tx:
        path, size, mtime_ns, inode = tx.one("SELECT nas_path, nas_size, nas_mtime_ns, nas_inode FROM versions")
        tx.run("UPDATE versions SET state = 'purged', nas_path = NULL")  # what the batch does while the job runs
        seen = Recorded(Spot(ROOT_ID, path), version.content_id, size, mtime_ns, inode)
        tx.versions.record(version.uuid, seen, folds_case=False)
    rounds(drive)
    assert not (drive.nas / path).exists()


def test_contents_are_freed_in_two_phases(drive: Drive) -> None:
    drive.put("x.tmp", b"gone")
    drive.remove("x.tmp")
    drive.mirror()
    kept = keys(drive)
    assert freeing.free_contents(drive.kelp).count == 0 and keys(drive) == kept  # marked only
    drive.clock.advance(59)
    assert freeing.free_contents(drive.kelp).count == 0 and keys(drive) == kept  # a reader may hold it
    drive.clock.advance(2)
    assert freeing.free_contents(drive.kelp).count == 1 and keys(drive) == set()


def test_what_a_clock_that_was_ahead_marked_is_freed_all_the_same(drive: Drive) -> None:
    drive.put("x.tmp", b"gone")
    drive.remove("x.tmp")
    drive.mirror()
    drive.clock.advance(86_400)
    freeing.free_contents(drive.kelp)  # marked, a day ahead
    drive.clock.advance(-86_400)
    for _ in range(3):
        drive.clock.advance(700)
        freeing.free_contents(drive.kelp)
    assert keys(drive) == set()


def test_what_is_referred_to_again_is_taken_back(drive: Drive) -> None:
    drive.put("a", b"bytes")
    drive.clock.advance(30)
    drive.remove("a")
    drive.clock.advance(31)
    content_id = drive.sql("SELECT id FROM contents")[0][0]
    with drive.kelp.database.write() as tx:
        tx.freeing.mark([content_id], drive.clock.now)
    drive.clock.advance(20)
    drive.put("a", b"again")  # within a minute of the removal: the old content is a version now
    expected = drive.versions("a")
    drive.clock.advance(100)
    rounds(drive)
    assert drive.versions("a") == expected


@pytest.mark.parametrize("holder", ["copy", "version", "trash", "below a trashed folder"])
def test_a_content_that_a_row_reaches_is_never_freed(drive: Drive, holder: str) -> None:
    big = b"x" * (8 * 1024 * 1024 + 5)
    drive.folder("f")
    drive.put("f/a", big)
    drive.clock.advance(100)
    if holder == "copy":
        drive.copy("f/a", "b")
        drive.remove("f/a")
        trashing.empty_trash(drive.kelp, drive.admin)
    elif holder == "version":
        drive.put("f/a", b"new")
    else:
        drive.remove("f/a" if holder == "trash" else "f")
    rounds(drive)
    if holder in ("trash", "below a trashed folder"):
        trashing.restore(drive.kelp, drive.admin, drive.trash()[0].entry.uuid)
    data = drive.versions("f/a")[0] if holder == "version" else drive.read("b" if holder == "copy" else "f/a")
    assert data == big


def test_an_object_that_two_contents_share_outlives_one_of_them(drive: Drive) -> None:
    """A bigger content may begin with the one object of a smaller one (a random write, design §3)."""
    small = drive.put("small", b"shared").content_id
    with drive.kelp.database.write() as tx:
        tx.run(
            """INSERT INTO contents (id, size, checksum, parts, created_ns) SELECT 'both', 12, checksum, 2, 0
               FROM contents WHERE id = :id""",
            id=small,
        )
        tx.many(
            "INSERT INTO file_parts (content_id, sequence, object_key) VALUES ('both', :n, :key)",
            [{"n": n, "key": small} for n in (0, 1)],
        )
        tx.freeing.forget(["both"], 1)
        assert tx.freeing.pending("", 10) == []


def test_a_cache_that_is_away_keeps_the_object_pending(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    drive.put("x.tmp", b"gone")
    drive.remove("x.tmp")
    drive.clock.advance(61)
    freeing.free_contents(drive.kelp)
    drive.clock.advance(61)

    def away(_self: object, key: str) -> None:
        raise StoreUnavailable(key)

    with monkeypatch.context() as patched:
        patched.setattr(type(drive.kelp.cache), "delete", away)
        assert freeing.free_contents(drive.kelp).count == 0
    assert drive.sql("SELECT status FROM objects") == [("PENDING",)]
    assert freeing.free_contents(drive.kelp).count == 1 and keys(drive) == set()


def test_old_memories_go(drive: Drive) -> None:
    drive.put("a")
    drive.remove("a")
    drive.clock.advance(3601)
    batches.run_all(drive.kelp)
    assert drive.sql("SELECT 1 FROM name_memory") == []
    assert drive.clock.now % SECOND == 0


@pytest.mark.engine(cache="folder", reason="sets the time of its files")
def test_orphans_go_uploads_under_way_stay(drive: Drive) -> None:
    known = drive.put("known", b"k").content_id
    aged(drive, 2 * 3600, "killed", "killed.000001", "slow", known)
    aged(drive, 10, "slow.000001", "fresh")
    assert orphans.remove_orphans(drive.kelp).count == 2
    assert keys(drive) == {known, "slow", "slow.000001", "fresh"}
    aged(drive, 2 * 3600, "fresh", "slow.000001")
    assert orphans.remove_orphans(drive.kelp).count == 0  # the cache is not listed again so soon
    drive.clock.advance(6 * 3600)
    assert orphans.remove_orphans(drive.kelp).count == 3
    assert keys(drive) == {known}


@pytest.mark.engine(cache="folder", reason="an object that is still coming shows in its listing")
def test_an_upload_that_was_taken_for_an_orphan_is_refused(drive: Drive) -> None:
    """The clock jumped (a machine that slept) while its body came: never a file without its bytes."""

    def body() -> Iterator[bytes]:
        yield b"first"
        drive.clock.advance(2 * 3600)
        aged(drive, 2 * 3600, *keys(drive))
        assert orphans.remove_orphans(drive.kelp).count == 1
        yield b"last"

    with pytest.raises(StoreUnavailable):
        writing.put_file(drive.kelp, drive.editor, drive.place("slow"), body())
    assert drive.find("slow") is None and keys(drive) == set()


def aged(drive: Drive, seconds: int, *names: str) -> None:
    """Make these objects, or take those that are there, `seconds` old."""
    then = time.time_ns() - seconds * SECOND
    present = keys(drive)
    for name in names:
        if name not in present:
            drive.kelp.cache.put(name, [b"part"])
        file = next((drive.kelp.settings.data / "cache").rglob(name))
        os.utime(file, ns=(then, then))
