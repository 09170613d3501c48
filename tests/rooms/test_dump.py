"""Dump and load: nothing is lost, nothing is taken for whole that is not, and an interrupted load goes on."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.adopted import unlearn
from tests.mirror_drive import MirrorDrive
from tests.symbolic_links import leads_to
from tests.whole_drive import BIG, LEADS_TO, TARGETS, all_rows, contents, dumped, fill, load_into, new_place
from vfs import bootstrap
from vfs.errors import ConfigurationError, ContentCorrupt, ContentLost, InvalidRequest, KelpError
from vfs.metadata import transfer
from vfs.metadata.sqlite_tx import SqliteTx
from vfs.operations import dump_format, dumping, freeing, loading, trashing
from vfs.settings import Settings
from vfs.storage.folder import FolderObjectStore

Place = Callable[..., Settings]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    with closing(MirrorDrive(tmp_path / "old")) as drive:
        yield drive


@pytest.fixture
def full(drive: MirrorDrive) -> MirrorDrive:
    fill(drive)
    return drive


@pytest.fixture
def place(drive: MirrorDrive, tmp_path: Path) -> Iterator[Place]:
    """Where a new embedded drive shall be."""
    with new_place("embedded", tmp_path / "new" / "data", drive.root) as place:
        yield place


def opened(place: Place, old: MirrorDrive) -> closing[MirrorDrive]:
    settings = place()
    return closing(
        MirrorDrive(
            settings.data.parent,
            clock=old.clock,
            nas_root=settings.nas_root,
            database_url=settings.database.url,
            cache_url=settings.cache.url,
            cache_access_key=settings.cache.access_key,
            cache_secret_key=settings.cache.secret_key,
        )
    )


def require_alike(old: MirrorDrive, place: Place, *, same_cache: bool = False) -> None:
    """The new drive has all of the old one, and is sound; then the mirror goes on where it was."""
    rows, objects = all_rows(old, loaded=True, same_cache=same_cache), contents(old)
    with opened(place, old) as new:
        assert all_rows(new) == rows
        assert contents(new) == objects
        assert {info.key for info in new.kelp.cache.list()} >= objects.keys()
        new.check(mirrored=False)
        shown = new.shown()
        new.pass_time(3600)
        new.check_mirrored()
        assert new.shown() == shown
        assert new.versions("written again") == old.versions("written again")
        assert leads_to(new.kelp, new.entry("younger/nested/link")) == LEADS_TO


def members(dump: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(dump)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


@pytest.mark.parametrize("target", TARGETS)
def test_everything_travels(full: MirrorDrive, tmp_path: Path, target: str) -> None:
    dump = dumped(full)
    assert all_rows(full)["mirror_leases"], "the worker that died is a part of it"
    assert any(row[2] and row[2] > row[0] for row in all_rows(full)["entries"]), "so is a child older than its parent"
    with new_place(target, tmp_path / "new" / "data", full.root) as place:
        done = load_into(place(), dump)
        assert done.bytes >= sum(map(len, contents(full).values()))
        assert (done.kept, done.absent) == (0, 0)
        require_alike(full, place)


def test_a_dump_of_a_loaded_drive_is_the_same(full: MirrorDrive, place: Place) -> None:
    first = dumped(full)
    load_into(place(), first)
    with opened(place, full) as new:
        again = dumped(new)
    of_rows = [{n: d for n, d in members(dump).items() if n.startswith(("rows/", "obj"))} for dump in (first, again)]
    assert of_rows[0] == of_rows[1]


def test_numbers_that_were_given_are_not_given_again(full: MirrorDrive, place: Place) -> None:
    with full.kelp.database.read() as tx:
        last = transfer.counters(tx)
    load_into(place(), dumped(full))
    with opened(place, full) as new, new.kelp.database.write() as tx:
        assert transfer.counters(tx) == last
        number = tx.insert("INSERT INTO groups (name, name_key, uuid) VALUES ('new', 'new', 'new')")
        assert number == last["groups"] + 1
    with full.kelp.database.read() as tx:
        assert last["users"] > tx.one("SELECT MAX(id) FROM users")[0], "the last user was removed"


def test_in_small_pieces(full: MirrorDrive, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumping, "_PIECE_ROWS", 3)
    monkeypatch.setattr(dumping, "_BATCH", 2)
    monkeypatch.setattr(loading, "_BATCH", 3)
    load_into(place(), dumped(full))
    require_alike(full, place)


def test_an_empty_drive(drive: MirrorDrive, place: Place) -> None:
    load_into(place(), dumped(drive))
    with opened(place, drive) as new:
        assert all_rows(new) == all_rows(drive)


def test_anybody_can_look_into_it(full: MirrorDrive) -> None:
    found = members(dumped(full))
    assert next(iter(found)) == "manifest.json"
    assert list(found)[-1] == "trailer.json"
    assert b"written again" in next(data for name, data in found.items() if name.endswith(".entries.jsonl"))


# --- what the cache does not have ---


def test_only_unmirrored(full: MirrorDrive, place: Place) -> None:
    objects = contents(full)
    done = load_into(place(), dumped(full, only_unmirrored=True))
    assert 0 < done.objects < len(objects)
    with opened(place, full) as new:
        assert {info.key for info in new.kelp.cache.list()} < objects.keys()
        assert new.read("big") == BIG
        assert new.read("younger/nested/deeper/text") == b"deep"
        assert new.read("not on the NAS") == BIG[::-1]
        assert new.versions("written again") == full.versions("written again")
        new.check(mirrored=False)
        shown = new.shown()
        new.put("same content", b"something else")  # what it had is now the big file's alone
        new.remove("big")
        new.pass_time(3600)
        new.check_mirrored()
        del shown["big"]
        assert new.shown() == {**shown, "same content": b"something else"}
        (uuid,) = [item.entry.uuid for item in trashing.list_trash(new.kelp, new.caller) if item.entry.name == "big"]
        new.restore(uuid)
        assert new.read("big") == BIG


@pytest.mark.parametrize("damage", ["lost", "corrupt"])
def test_what_the_cache_lost_comes_from_the_nas(full: MirrorDrive, place: Place, damage: str) -> None:
    rows = all_rows(full, loaded=True)
    for key in _objects_of(full, "big") + _objects_of(full, "younger/nested/deeper/text"):
        size = full.kelp.cache.stat(key)
        full.kelp.cache.delete(key)
        if damage == "corrupt":
            full.kelp.cache.put(key, [b"x" * size])
    load_into(place(), dumped(full))
    with opened(place, full) as new:
        assert all_rows(new) == rows
        assert new.read("big") == BIG
        new.check(mirrored=False)


def test_what_was_adopted_and_never_read_stays_on_the_nas(full: MirrorDrive, place: Place) -> None:
    for path in ("big", "younger/nested/deeper/text"):
        content_id = full.entry(path).content_id
        assert content_id is not None
        unlearn(full.kelp, content_id)
    out = io.BytesIO()
    assert dumping.dump(full.kelp, out.write).absent == 0
    assert load_into(place(), out.getvalue()).absent == 0
    with opened(place, full) as new:
        assert new.read("big") == BIG and new.read("younger/nested/deeper/text") == b"deep"


def test_what_is_nowhere_is_told(full: MirrorDrive, place: Place) -> None:
    (*_, last) = _objects_of(full, "not on the NAS")
    full.kelp.cache.delete(last)
    out = io.BytesIO()
    assert dumping.dump(full.kelp, out.write).absent == 1
    assert load_into(place(), out.getvalue()).absent == 1
    with opened(place, full) as new:
        assert new.read("big") == BIG
        with pytest.raises(ContentLost):
            new.read("not on the NAS")


@pytest.mark.parametrize("shared", [b"small", BIG])
def test_contents_that_share_objects(full: MirrorDrive, place: Place, shared: bytes) -> None:
    """As a big file will that was changed in the middle: its other parts are those of the content before."""
    full.put("one", shared)
    full.put("two", b"another" * 2_000_000)
    with full.kelp.database.write() as tx:
        tx.run(
            "UPDATE contents SET size = :size, checksum = :checksum, parts = :parts WHERE id = :id",
            parts=2 + len(_objects_of(full, "one")),
            size=14_000_000 + len(shared),
            checksum=blake3(b"another" * 2_000_000 + shared).hexdigest(),
            id=full.entry("two").content_id,
        )
        tx.run("UPDATE entries SET size = :size WHERE id = :id", size=14_000_000 + len(shared), id=full.entry("two").id)
        for number, key in enumerate(_objects_of(full, "one")):
            sql = "INSERT INTO file_parts (content_id, sequence, object_key) VALUES (:id, :number, :key)"
            tx.run(sql, id=full.entry("two").content_id, number=2 + number, key=key)
    load_into(place(), dumped(full))
    require_alike(full, place)
    with opened(place, full) as new:
        assert new.read("two") == b"another" * 2_000_000 + shared


def _objects_of(drive: MirrorDrive, path: str) -> list[str]:
    content_id = drive.entry(path).content_id
    assert content_id is not None
    with drive.kelp.database.read() as tx:
        content = tx.contents.get(content_id)
    assert content is not None
    return [part.key for part in content.parts]


# --- while the drive is used ---


def test_whoever_takes_the_rows_may_be_slow(drive: MirrorDrive) -> None:
    """PostgreSQL ends a transaction that nobody goes on with for a minute, but not this one."""
    with drive.kelp.database.scan() as tx:
        transfer.be_patient(tx)
        if not isinstance(tx, SqliteTx):
            assert tx.one("SHOW idle_in_transaction_session_timeout")[0] == "0"
        assert next(transfer.rows(tx, "users"))


def test_a_dump_shows_one_moment(full: MirrorDrive, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything changes while rows and objects are written; what was there at the start arrives."""
    monkeypatch.setattr(dumping, "_PIECE_ROWS", 5)
    rows, objects = all_rows(full, loaded=True), contents(full)
    out, count = io.BytesIO(), 0

    def write(run: bytes) -> None:
        nonlocal count
        count += 1
        if count % 7 == 0:
            full.put(f"new {count}", b"new")
            full.put("written again", b"%d" % count)
        out.write(run)

    assert dumping.dump(full.kelp, write).absent == 0
    load_into(place(), out.getvalue())
    with opened(place, full) as new:
        assert all_rows(new) == rows
        assert contents(new) == objects


def _free_all(drive: MirrorDrive) -> None:
    for _ in range(3):
        drive.pass_time(100)
        drive.kelp.holds.flush()  # which the time does by itself
        freeing.free_contents(drive.kelp)


def test_nothing_is_freed_meanwhile(full: MirrorDrive, place: Place) -> None:
    out = io.BytesIO()

    def write(run: bytes) -> None:
        if out.tell() == 0:
            out.write(run)
            full.purge(full.trash("not on the NAS"))
            _free_all(full)
            return
        out.write(run)

    before = len(list(full.kelp.cache.list()))
    assert dumping.dump(full.kelp, write).absent == 0
    _free_all(full)
    assert len(list(full.kelp.cache.list())) < before, "now it may go"
    load_into(place(), out.getvalue())
    with opened(place, full) as new:
        assert new.entry("not on the NAS").size == len(BIG)
        assert new.read("big") == BIG


# --- what is no whole dump ---


def refused(place: Place, dump: bytes, kind: type[KelpError] = ContentCorrupt) -> None:
    with pytest.raises(kind) as caught:
        load_into(place(), dump)
    assert "\n" not in str(caught.value)


def require_unusable(place: Place) -> None:
    """Whatever was loaded, nobody may serve it."""
    with bootstrap.opened_for_load(place()) as (database, _), database.read() as tx:
        begun = transfer.progress(tx) is not None
    if begun:
        with pytest.raises(ConfigurationError, match="kelp load"):
            bootstrap.build(place())


def _somewhere(dump: bytes, count: int) -> list[int]:
    """Offsets in every kind of member, at their borders, and anywhere."""
    with tarfile.open(fileobj=io.BytesIO(dump)) as tar:
        borders = [at for info in tar for at in (info.offset, info.offset_data, info.offset_data + info.size)]
    near = [at + by for at in borders for by in (-1, 0, 1)]
    anywhere = random.Random(7)
    chosen = anywhere.sample(near, min(count, len(near))) + anywhere.sample(range(len(dump)), count)
    return [at for at in chosen if 0 <= at < len(dump)]


def test_a_cut_dump_is_refused_and_the_whole_one_goes_on(drive: MirrorDrive, place: Place) -> None:
    for number in range(8):
        drive.put(f"file {number}", b"some content %d" % number)
    dump = dumped(drive)
    for at in sorted({*_somewhere(dump, 40), len(dump) - 1, len(dump) - 1024, len(dump) - 1025}):
        refused(place, dump[:at])
        if at > 4096:
            require_unusable(place)
    load_into(place(), dump)
    with opened(place, drive) as new:
        assert all_rows(new) == all_rows(drive)
        assert contents(new) == contents(drive)


def test_a_flipped_bit_is_found_and_the_whole_one_goes_on(drive: MirrorDrive, place: Place) -> None:
    for number in range(8):
        drive.put(f"file {number}", b"some content %d" % number)
    dump = dumped(drive)
    flips = random.Random(11)
    for at in _somewhere(dump, 60):
        damaged = bytearray(dump)
        damaged[at] ^= 1 << flips.randrange(8)
        with pytest.raises((ContentCorrupt, InvalidRequest)):
            load_into(place(), bytes(damaged))
    load_into(place(), dump)
    with opened(place, drive) as new:
        assert all_rows(new) == all_rows(drive)
        assert contents(new) == contents(drive)


def test_members_that_are_missing_or_come_twice(full: MirrorDrive, tmp_path: Path) -> None:
    found = members(dumped(full))
    names = list(found)
    for number, name in enumerate(names[1:-1]):
        for kept in ([each for each in names if each != name], [*names[:-1], name, names[-1]]):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for each in kept:
                    info = tarfile.TarInfo(each)
                    info.size = len(found[each])
                    tar.addfile(info, io.BytesIO(found[each]))
            if number % 9 == 0:
                with new_place("embedded", tmp_path / f"{number}-{len(kept)}" / "data", full.root) as place:
                    refused(place, out.getvalue())
                    require_unusable(place)


@pytest.mark.parametrize("junk", [b"", b"\0" * 2048, b"PK\x03\x04" * 300, b"nonsense\n" * 200])
def test_what_is_no_dump(place: Place, junk: bytes) -> None:
    refused(place, junk, ContentCorrupt if len(junk) < 512 else InvalidRequest)
    assert not place().data.exists()


def test_another_tar(place: Place) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("photos/1.jpg"))
    refused(place, out.getvalue(), InvalidRequest)


@pytest.mark.parametrize(("attribute", "module"), [("FORMAT", loading), ("REVISION", transfer)])
def test_of_another_kelp(drive: MirrorDrive, place: Place, attribute: str, module: Any) -> None:
    dump = dumped(drive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, attribute, 99)
        with pytest.raises(InvalidRequest, match="the Kelp that made it"):
            load_into(place(), dump)
    assert not place().data.exists()


# --- where it may go ---


def test_not_into_a_drive(drive: MirrorDrive) -> None:
    dump = dumped(drive)
    before = all_rows(drive)
    with pytest.raises(ConfigurationError, match="has a drive already"):
        load_into(drive.settings, dump)
    assert all_rows(drive) == before


def test_not_into_a_part_of_another(drive: MirrorDrive, place: Place) -> None:
    drive.put("file", b"some")
    dump = dumped(drive)
    refused(place, dump[: len(dump) // 2])
    refused(place, dumped(drive), ConfigurationError)
    load_into(place(), dump)


def test_not_into_a_cache_in_use(drive: MirrorDrive, place: Place) -> None:
    drive.put("file", b"some")
    FolderObjectStore(Path(place().cache.url)).put("11111111-1111-4111-8111-111111111111", [b"another drive's"])
    refused(place, dumped(drive), ConfigurationError)


def test_two_at_once(drive: MirrorDrive, place: Place) -> None:
    """The one that began later goes on; the other finds out with its next commit."""
    drive.put("file", b"some")
    dump = dumped(drive)
    one = loading.open_dump(io.BytesIO(dump))
    first = next(one.members)

    def other_comes() -> Iterator[Any]:
        yield first
        load_into(place(), dump)
        yield from one.members

    settings = place()
    settings.data.mkdir(parents=True)
    with (
        bootstrap.opened_for_load(settings) as (database, cache),
        pytest.raises(ConfigurationError, match="another `kelp load`"),
    ):
        loading.load(database, cache, loading.Dump(one.manifest, other_comes()))
    with opened(place, drive) as new:
        assert all_rows(new) == all_rows(drive)


def test_the_same_cache(full: MirrorDrive, tmp_path: Path) -> None:
    """Only the database is a new one: what the cache has is compared and kept."""
    before = contents(full)
    dump = dumped(full)
    with new_place("embedded", tmp_path / "new" / "data", full.root) as place:
        settings = full.settings
        same = {"cache_url": settings.cache.url, "cache_access_key": settings.cache.access_key}
        same["cache_secret_key"] = settings.cache.secret_key
        done = load_into(place(**same), dump, same_cache=True)
        assert done.kept >= len(before)
        require_alike(full, lambda **more: place(**{**same, **more}), same_cache=True)


# --- interrupted ---


class Interrupted(BaseException):
    """Nothing in Kelp may catch it."""


class Interruptions:
    """Ends the load at the n-th thing that it is about to do, or has just done."""

    def __init__(self, patch: pytest.MonkeyPatch, cache: type = FolderObjectStore) -> None:
        self._left = 0
        for owner, name in ((transfer, "advance"), (transfer, "insert"), (transfer, "mark_stored"), (cache, "put")):
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def after(self, number: int) -> None:
        self._left = number

    def _around(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._count()
            result = inner(*arguments, **options)
            self._count()
            return result

        return call

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Interrupted


def test_interrupted_again_and_again(full: MirrorDrive, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run gets a little further than the one before, or not; the last one finds what is missing."""
    monkeypatch.setattr(dumping, "_PIECE_ROWS", 20)
    monkeypatch.setattr(loading, "_BATCH", 4)
    dump = dumped(full)
    interruptions = Interruptions(monkeypatch)
    runs = 0
    for number in range(3, 200, 4):
        interruptions.after(number)
        runs += 1
        try:
            done = load_into(place(), dump)
            break
        except Interrupted:
            require_unusable(place)
    else:
        raise AssertionError("it never came to an end")
    assert runs > 5
    assert done.kept > 0
    require_alike(full, place)


def test_an_object_that_was_half_written_is_written_again(full: MirrorDrive, place: Place) -> None:
    dump = dumped(full)
    names = [name for name in members(dump) if name.startswith(dump_format.OBJECTS_FOLDER)]
    refused(place, dump[: dump.index(names[0].encode()) + 100])
    store = FolderObjectStore(Path(place().cache.url))
    for name, data in ((names[0], b""), (names[1], b"x"), (names[2], members(dump)[names[2]])):
        store.put(name.removeprefix(dump_format.OBJECTS_FOLDER), [data])
    assert load_into(place(), dump).kept == 1
    require_alike(full, place)
