"""What only the NAS has, others may need: no step destroys it there before it is somewhere else (design §1.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jobs import mirror
from tests.mirror_drive import CHANGING, Killed, MirrorDrive
from tests.rooms.mirror.test_versions import nas_versions
from vfs.errors import NasFault
from vfs.model import OnConflict
from vfs.operations import purging, trashing, versioning
from vfs.storage.small_contents import SmallContents


class Forgetful(SmallContents):
    def keep(self, content_id: str, content: bytes) -> None:
        """What was read lately is no help."""


def evict(drive: MirrorDrive, *paths: str, told: bool = True) -> None:
    """The cache has no object of these files; `told`: and the database knows."""
    drive.kelp = replace(drive.kelp, small=Forgetful())
    for path in paths:
        content_id = drive.entry(path).content_id
        assert content_id is not None
        with drive.kelp.database.write() as tx:
            content = tx.contents.get(content_id)
            assert content is not None
            for part in content.parts:
                if told:
                    tx.run("UPDATE objects SET status = 'MISSING' WHERE key = :key", key=part.key)
                drive.kelp.cache.delete(part.key)


def put_off(drive: MirrorDrive, path: str, seconds: float = 5) -> None:
    """The mirror comes to this file later than to the others."""
    with drive.kelp.database.write() as tx:
        tx.events.put_off(drive.entry(path).id, drive.clock.now_ns() + int(seconds * 10**9))


def all_good(drive: MirrorDrive, **expected: bytes) -> None:
    """Everything is on the NAS within a while, and can be read, also when the cache has nothing."""
    drive.settle_down()
    drive.pass_time(70)
    drive.settle_down()
    purging.spread_deletion(drive.kelp)
    there = [info.key for info in drive.kelp.cache.list()]
    with drive.kelp.database.write() as tx:  # what was lost and nobody looked for
        for (key,) in tx.all("SELECT key FROM objects WHERE status = 'AVAILABLE'"):
            if key not in there:
                tx.run("UPDATE objects SET status = 'MISSING' WHERE key = :key", key=key)
    drive.check_mirrored()
    assert {path: content for path, content in drive.on_nas().items() if content is not None} == expected


@pytest.fixture(params=["evicted", "lost"])
def one(drive: MirrorDrive, request: pytest.FixtureRequest) -> MirrorDrive:
    """`f` is on the NAS with content A, which the cache does not have, whether anybody knows or not."""
    drive.mkdir("a")
    drive.put("f", b"A")
    drive.put("a/f", b"AA")
    drive.settle_down()
    evict(drive, "f", "a/f", told=request.param == "evicted")
    return drive


def test_an_overwrite_while_a_copy_is_not_mirrored(one: MirrorDrive) -> None:
    one.copy("f", "g")
    put_off(one, "g")
    one.put("f", b"B")
    one.settle_down()
    assert one.read("g") == b"A"
    all_good(one, f=b"B", g=b"A", **{"a/f": b"AA"})


def test_an_overwrite_while_a_copy_is_litter(one: MirrorDrive) -> None:
    one.copy("f", "g.tmp")
    one.put("f", b"B")
    one.settle_down()
    assert one.read("g.tmp") == b"A"
    all_good(one, f=b"B", **{"a/f": b"AA", "g.tmp": b"A"})


def test_an_overwrite_while_the_version_of_another_file_is_not_mirrored(one: MirrorDrive) -> None:
    one.copy("f", "g")
    one.copy("f", "f.tmp")
    one.pass_time(6)
    one.put("g", b"C")
    put_off(one, "g")
    with one.kelp.database.write() as tx:  # as if f had been written a moment ago: no version
        tx.run("UPDATE entries SET content_ns = :now WHERE id = :id", now=one.clock.now_ns(), id=one.entry("f").id)
    one.put("f", b"B")
    assert one.versions("f") == [] and one.versions("g") == [b"A"]
    evict(one, "f.tmp")
    one.settle_down()
    all_good(one, f=b"B", g=b"C", **{"a/f": b"AA", "f.tmp": b"A"})
    assert nas_versions(one) == [b"A"] and one.versions("g") == [b"A"]


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_trash_item_purged_while_a_copy_is_not_mirrored(one: MirrorDrive, mirrored: bool) -> None:
    one.copy("f", "g")
    put_off(one, "g")
    uuid = one.trash("f")
    if mirrored:
        one.drain()
    one.purge(uuid)
    one.settle_down()
    assert one.read("g") == b"A"
    all_good(one, g=b"A", **{"a/f": b"AA"})


def test_a_trash_item_is_the_copy_that_is_not_mirrored(one: MirrorDrive) -> None:
    one.copy("f", "g")
    put_off(one, "g")
    uuid = one.trash("g")
    with one.kelp.database.write() as tx:
        id = tx.one("SELECT id FROM entries WHERE uuid = :uuid", uuid=uuid)[0]
        tx.events.put_off(id, one.clock.now_ns() + 5 * 10**9)
    one.put("f", b"B")
    one.settle_down()
    one.restore(uuid)
    all_good(one, f=b"B", g=b"A", **{"a/f": b"AA"})


def test_a_folder_purged_while_a_copy_of_what_is_below_is_not_mirrored(one: MirrorDrive) -> None:
    one.copy("a/f", "g")
    put_off(one, "g")
    one.purge(one.trash("a"))
    one.settle_down()
    assert one.read("g") == b"AA"
    all_good(one, f=b"A", g=b"AA")


def test_a_folder_purged_that_alone_has_what_another_shows(one: MirrorDrive) -> None:
    """The copy inside it was mirrored, the file itself shows something else by now, and shows it again."""
    one.copy("f", "a/copy")
    one.settle_down()
    one.put("f", b"B")
    one.settle_down()
    one.copy("a/copy", "f", OnConflict.OVERWRITE)
    evict(one, "f")
    put_off(one, "f")
    one.purge(one.trash("a"))
    one.settle_down()
    all_good(one, f=b"A")


def test_contents_swapped_between_two_files(one: MirrorDrive) -> None:
    """Each waits for the other: one has to come back to the cache."""
    one.put("g", b"B")
    one.settle_down()
    evict(one, "g")
    one.copy("f", "t.tmp")
    one.copy("g", "f", OnConflict.OVERWRITE)
    one.copy("t.tmp", "g", OnConflict.OVERWRITE)
    one.remove("t.tmp")
    assert one.versions("f") == one.versions("g") == []
    all_good(one, f=b"B", g=b"A", **{"a/f": b"AA"})


def test_two_copies_overwritten_at_once_while_a_third_is_not_mirrored(one: MirrorDrive) -> None:
    one.copy("f", "g")
    one.settle_down()
    evict(one, "f")  # it came back when g was written
    one.copy("f", "h.tmp")
    for name, content in (("f", b"B"), ("g", b"C")):
        with one.kelp.database.write() as tx:
            tx.run("UPDATE entries SET content_ns = :now WHERE name = :name", now=one.clock.now_ns(), name=name)
        one.put(name, content)
    one.drain()
    one.settle_down()
    assert one.read("h.tmp") == b"A"
    all_good(one, f=b"B", g=b"C", **{"a/f": b"AA", "h.tmp": b"A"})


def test_who_needs_it_cannot_be_carried(one: MirrorDrive) -> None:
    """Then nobody waits for him: what he needs comes back to the cache."""

    def refuse(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "move" and str(arguments[1]).endswith("__g"):
            raise NasFault("this name cannot be")

    one.nas.before = refuse
    one.copy("f", "g")
    for seconds in (5, 10, 20, 1):
        one.drain()
        one.pass_time(seconds)
    assert one.events("FAILED")
    evict(one, "f")
    with one.kelp.database.write() as tx:
        tx.run("UPDATE entries SET content_ns = :now WHERE name = 'f'", now=one.clock.now_ns())
    one.put("f", b"B")
    one.settle_down()
    assert one.on_nas()["f"] == b"B" and "g" not in one.on_nas() and one.read("g") == b"A"
    one.nas.calm()
    one.move("g", "h")
    all_good(one, f=b"B", h=b"A", **{"a/f": b"AA"})


def test_a_version_that_expires_has_what_the_file_shows_again(drive: MirrorDrive) -> None:
    drive.put("f", b"A")
    drive.settle_down()
    evict(drive, "f")
    drive.pass_time(10)
    drive.put("f", b"B")
    drive.settle_down()
    (old,) = versioning.list_versions(drive.kelp, drive.caller, drive.entry("f").id)
    versioning.restore_version(drive.kelp, drive.caller, old.uuid)
    drive.copy("f", "g.tmp")
    with drive.kelp.database.write() as tx:
        tx.versions.expire_all(drive.entry("f").id)
    all_good(drive, f=b"A", **{"g.tmp": b"A"})


def test_a_version_that_expires_has_what_a_copy_shows(drive: MirrorDrive) -> None:
    drive.put("f", b"A")
    drive.copy("f", "g.tmp")
    drive.pass_time(10)
    drive.put("f", b"B")
    drive.settle_down()
    evict(drive, "g.tmp")
    with drive.kelp.database.write() as tx:
        tx.versions.expire_all(drive.entry("f").id)
    drive.move("f", "h")
    drive.settle_down()
    all_good(drive, h=b"B", **{"g.tmp": b"A"})


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no links"])
@pytest.mark.parametrize("duplicates", ["replace", "keep-dated"])
@pytest.mark.parametrize("first", ["the old row", "the new row"])
def test_a_document_handed_over_by_a_safe_save(
    open_drive: Callable[..., MirrorDrive], duplicates: str, first: str, links: bool
) -> None:
    drive = open_drive(drive_duplicates=duplicates)
    if not links:
        drive.nas.inner.link = lambda *arguments, **options: False
    drive.put("d", b"A")
    drive.settle_down()
    evict(drive, "d")
    old = drive.entry("d").id
    drive.pass_time(100)
    drive.put("new", b"B")
    drive.move("new", "d", OnConflict.OVERWRITE)
    with drive.kelp.database.write() as tx:
        later = old if first == "the new row" else drive.entry("d").id
        tx.events.put_off(later, drive.clock.now_ns() + 2 * 10**9)
    drive.settle_down()
    drive.pass_time(3)
    drive.settle_down()
    drive.check()
    assert drive.versions("d") == [b"A"] and drive.read("d") == b"B"


@pytest.mark.parametrize("duplicates", ["replace", "keep-dated"])
def test_several_versions_of_one_content_come_from_the_file_that_has_it(
    open_drive: Callable[..., MirrorDrive], duplicates: str
) -> None:
    drive = open_drive(drive_duplicates=duplicates)
    drive.put("f", b"A")
    drive.settle_down()
    evict(drive, "f")
    drive.pass_time(10)
    drive.put("f", b"B")
    with drive.kelp.database.write() as tx:
        row = tx.one("SELECT content_id, created_ns, replaced_ns FROM versions")
        place = ("20200101000000", "20200101000000__f", "20200101000000__f") if duplicates == "keep-dated" else None
        tx.versions.add("00000000-0000-0000-0000-000000000000", drive.entry("f").id, row[0], 1, row[1] + 1, row[2] - 1,
                        None, place)  # fmt: skip
    drive.move("f", "g")
    drive.drain()
    assert drive.events("PENDING") == [] and drive.events("FAILED") == []
    drive.settle_down()
    drive.check()
    assert drive.versions("g") == [b"A", b"A"]


def test_the_cache_has_no_room_for_what_is_needed(one: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the file waits, and no retry is used up."""
    one.put("g", b"B")
    one.settle_down()
    evict(one, "g")
    one.copy("f", "t.tmp")
    one.copy("g", "f", OnConflict.OVERWRITE)
    one.copy("t.tmp", "g", OnConflict.OVERWRITE)
    one.remove("t.tmp")
    with monkeypatch.context() as patched:
        patched.setattr("vfs.operations.cache_limits.room_for", lambda kelp, size: False)
        for _ in range(20):
            one.drain()
            one.pass_time(3)
    assert {retries for _, _, retries in one.events()} == {0} and one.events("FAILED") == []
    all_good(one, f=b"B", g=b"A", **{"a/f": b"AA"})


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", ["overwrite", "swap", "purge"])
def test_killed_at_every_point(drive: MirrorDrive, change: str, when: str) -> None:
    for number in range(1, 100):
        d = f"{change} {number}"
        drive.mkdir(d)
        drive.put(f"{d}/f", b"A")
        drive.put(f"{d}/g", b"B")
        drive.settle_down()
        evict(drive, f"{d}/f", f"{d}/g")
        drive.copy(f"{d}/f", f"{d}/t")
        put_off(drive, f"{d}/t")
        if change == "purge":
            drive.purge(drive.trash(f"{d}/f"))
        elif change == "swap":
            drive.copy(f"{d}/g", f"{d}/f", OnConflict.OVERWRITE)
            drive.copy(f"{d}/t", f"{d}/g", OnConflict.OVERWRITE)
            drive.remove(f"{d}/t")
        else:
            drive.put(f"{d}/f", b"C")
        left, died = iter(range(number - 1)), []

        def strike(method: str, arguments: tuple[Any, ...], left: Any = left, died: Any = died) -> None:
            if method in CHANGING and next(left, None) is None:
                died.append(method)
                raise Killed

        setattr(drive.nas, when, strike)
        try:
            drive.settle_down()
        except Killed:
            drive.die()
            mirror.Worker(drive.kelp, "second")._settle()
            drive.check(mirrored=False)
        drive.nas.calm()
        drive.check_mirrored()
        if not died:
            assert number > 2
            return
    raise AssertionError("it never came to an end")


def test_what_was_purged_and_evicted_is_nobodys_version(drive: MirrorDrive) -> None:
    """A name that is filled again within a minute takes over the document; not one that nobody has any more."""
    drive.put("b", b"x" * 100)
    drive.pass_time(6)
    drive.settle_down()
    evict(drive, "b")
    item = drive.trash("b")
    drive.settle_down()
    with drive.kelp.database.read() as tx:
        old = tx.entries.by_uuid(item)
    assert old is not None
    with drive.kelp.database.write() as tx:  # by the mirror, not by hand: its name is not settled
        trashing.mark_deleted(drive.kelp, tx, drive.caller, None, old, drive.clock.now_ns())
    drive.settle_down()
    drive.put("b", b"new")
    drive.settle_down()
    assert drive.versions("b") == []
    drive.check()


def test_what_was_purged_by_hand_is_no_version_of_the_next(drive: MirrorDrive) -> None:
    drive.put("b", b"x" * 100)
    drive.pass_time(6)
    drive.purge(drive.trash("b"))
    drive.put("b", b"new")
    assert drive.versions("b") == []
