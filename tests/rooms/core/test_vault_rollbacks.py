"""The twelve steps of a vault (seed 000), each failed on its own, and then its roll-back too.

    1 receive    2 seal the name      3 seal the content    4 split    5 name the parts, and their list
    6 upload the parts    7 store the list    8 read the list    9 download the parts
    10 order and join     11 open the name    12 open the content

What must hold after 1 to 7: nothing in cache or database, the file that was there as it was, a line in the log; and,
when the roll-back failed too, only objects that nobody names, which the batch finds and removes. A step of 8 to 12
changes nothing: no wrong byte or name is shown, and the file is there again as soon as the cause is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.broken_table import ERRORS, broken_table
from tests.rooms.core.drive import Drive
from tests.rooms.core.test_sealed_contents import aged
from tests.rooms.core.vault_of_drive import cached, content_of, store_others, stored_bytes
from tests.vaults import make_vault
from vfs.crypto import frames, part_lists, sealed_names
from vfs.crypto.opened_lists import OpenedLists
from vfs.errors import ContentCorrupt, ContentLost, KelpError, NoSpace, StoreUnavailable, UploadIncomplete
from vfs.metadata.schema.base import metadata
from vfs.model import PART_SIZE, Entry, Expected
from vfs.operations import contents, incoming, orphans, reading, reserving, sealed_contents, unsealing
from vfs.storage.small_contents import SmallContents
from vfs.storage.wrappers import FailingObjectStore, Failure, When

PARTS = 3
BIG = random.Random(1).randbytes((PARTS - 1) * PART_SIZE + 1000)
OLD = b"what was there before"
AWAY = StoreUnavailable("the cache is away")


class Broken(Exception):
    """A defect of the step."""


@pytest.fixture
def vault(drive: Drive) -> Iterator[Drive]:
    make_vault(drive.kelp)
    drive.put("vault/old", OLD)
    drive.clock.advance(60)
    with reserving.reserve(drive.kelp, 1, sealed=True):  # the only other commit of a put, once for 64 MiB
        pass
    drive.kelp = replace(drive.kelp, cache=FailingObjectStore(drive.kelp.cache))
    yield drive


@pytest.fixture
def cache(vault: Drive) -> FailingObjectStore:
    assert isinstance(vault.kelp.cache, FailingObjectStore)
    return vault.kelp.cache


@pytest.fixture(params=["a new name", "over a file"])
def name(request: pytest.FixtureRequest) -> str:
    return "vault/new" if request.param == "a new name" else "vault/old"


TABLES = (
    *("entries", "contents", "objects", "file_parts", "versions", "sync_events", "file_events", "name_memory"),
    *("upload_parts", "unfinished_objects"),
)
NOTED = ("last_accessed_ns", "access_count")


def rows(drive: Drive) -> dict[str, list[Any]]:
    """Without what is noted of reads: a thread does that some time later."""
    found: dict[str, list[Any]] = {}
    with drive.kelp.database.read() as tx:
        for table in TABLES:
            columns = [one.name for one in metadata.tables[table].columns if one.name not in NOTED]
            found[table] = tx.all(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2")
    return found


@contextmanager
def fails(drive: Drive, *errors: type[BaseException], stays: bool = False) -> Iterator[None]:
    """The block raises one of `errors`, and all is as it was; with `stays` objects are left that nobody knows, and
    the batch removes those. Then it works."""
    before, objects = rows(drive), cached(drive)
    with pytest.raises(errors):
        yield
    assert rows(drive) == before
    if stays:
        assert cached(drive).keys() > objects.keys()
        left = cached(drive).keys() - objects.keys()
        assert orphans.seek_orphans(aged(drive)).count == len(left)  # type: ignore[arg-type]
    assert cached(drive) == objects
    assert drive.read("vault/old") == OLD
    assert drive.names("vault") == ["old"]
    drive.put("vault/new", b"afterwards")
    assert drive.read("vault/new") == b"afterwards"


def nth(real: Callable[..., Any], number: int, error: BaseException) -> Callable[..., Any]:
    """As `real`, but the call of that number, from 1, fails."""
    calls = iter(range(1, 1_000_000))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            raise error
        return real(*arguments, **named)

    return call


def put(drive: Drive, name: str, data: bytes = BIG, **more: Any) -> Entry:
    return drive.put(name, data, **more)


Break = Callable[[pytest.MonkeyPatch, FailingObjectStore], None]


def _broken(owner: Any, function: str, call: int) -> Break:
    def plan(patch: pytest.MonkeyPatch, cache: FailingObjectStore) -> None:
        patch.setattr(owner, function, nth(getattr(owner, function), call, Broken()))

    return plan


def _upload(when: When) -> Break:
    def plan(patch: pytest.MonkeyPatch, cache: FailingObjectStore) -> None:
        cache.failures.plan(Failure("put", AWAY, 2, when))

    return plan


# What is done is a put of three parts; step 2 fails after all of them are stored.
STEPS: dict[str, tuple[Break, type[BaseException]]] = {
    "2 seal the name": (_broken(sealed_names, "seal_name", 1), Broken),
    "3 seal the content, first part": (_broken(frames, "seal_run", 2), Broken),
    "3 seal the content, third part": (_broken(frames, "seal_run", 18), Broken),
    "4 split": (_broken(incoming.Body, "cut", 2), Broken),
    "5 name a part": (_broken(sealed_contents, "NewPart", 2), Broken),
    "5 make the list": (_broken(part_lists, "seal_parts", 1), Broken),
    "6 upload a part, before": (_upload(When.BEFORE), StoreUnavailable),
    "6 upload a part, midstream": (_upload(When.MIDSTREAM), StoreUnavailable),
    "6 upload a part, after": (_upload(When.AFTER), StoreUnavailable),
}


NOTHING_STORED = {"3 seal the content, first part"}  # the store itself leaves nothing of a put that fails


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_an_upload_fails(
    vault: Drive, cache: FailingObjectStore, name: str, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    make, error = STEPS[step]
    if step == "2 seal the name" and name == "vault/old":
        pytest.skip("a name that is there is not sealed again")
    with fails(vault, error), pytest.MonkeyPatch.context() as patch:
        make(patch, cache)
        put(vault, name)
    assert "removed" in caplog.text


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_an_upload_fails_and_its_roll_back_too(
    vault: Drive, cache: FailingObjectStore, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, error = STEPS[step]
    stays = step not in NOTHING_STORED
    with fails(vault, error, stays=stays), pytest.MonkeyPatch.context() as patch:
        make(patch, cache)
        patch.setattr(cache, "delete", refuse)
        put(vault, "vault/new")
    assert "is left to the orphan batch" in caplog.text


def refuse(key: str) -> None:
    raise AWAY


# --- 1: receive ---


def cut(error: Exception, after: int) -> Iterator[bytes]:
    yield from contents.pieces(BIG[:after])
    raise error


@pytest.mark.parametrize("after", [0, 1, PART_SIZE, PART_SIZE + 1, len(BIG)])
def test_a_body_that_is_cut(vault: Drive, name: str, after: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with fails(vault, UploadIncomplete):
        put_chunks(vault, name, cut(UploadIncomplete("the connection was lost"), after))
    assert "the connection was lost" in caplog.text


def put_chunks(drive: Drive, name: str, chunks: Iterator[bytes], **more: Any) -> None:
    from vfs.operations import writing

    writing.put_file(drive.kelp, drive.editor, drive.place(name), chunks, **more)


@pytest.mark.parametrize("expected", [Expected(length=len(BIG) + 1), Expected(sha1="0" * 40)])
def test_another_body_than_announced(vault: Drive, name: str, expected: Expected) -> None:
    with fails(vault, UploadIncomplete):
        put(vault, name, expected=expected)


def test_a_body_that_is_cut_and_stays(vault: Drive, cache: FailingObjectStore) -> None:
    with fails(vault, UploadIncomplete, stays=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "delete", refuse)
        put_chunks(vault, "vault/new", cut(UploadIncomplete("lost"), len(BIG)))


def test_no_room_for_it(vault: Drive, cache: FailingObjectStore, name: str) -> None:
    cache.failures.plan(Failure("put", NoSpace("full"), 3))
    with fails(vault, NoSpace):
        put(vault, name)


# --- 2: a rename, of which the name is all ---


@pytest.mark.parametrize("function", ["seal_name", "seal_key"])
def test_a_new_name_cannot_be_sealed(vault: Drive, function: str) -> None:
    before, objects = rows(vault), cached(vault)
    with pytest.raises(Broken), pytest.MonkeyPatch.context() as patch:
        for call in range(1, 4):
            patch.setattr(sealed_names, function, nth(getattr(sealed_names, function), call, Broken()))
        vault.move("vault/old", "vault/renamed")
    assert rows(vault) == before and cached(vault) == objects
    assert vault.read("vault/old") == OLD
    vault.move("vault/old", "vault/renamed")
    assert vault.read("vault/renamed") == OLD


# --- 7: store the list ---


@pytest.mark.parametrize("table", ["contents", "file_parts", "objects", "entries"])
def test_the_list_cannot_be_stored(vault: Drive, name: str, table: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with fails(vault, *ERRORS), broken_table(vault.kelp.database, table):
        put(vault, name)
    assert "is not shown after all, and removed" in caplog.text


@pytest.mark.parametrize("table", ["contents", "file_parts"])
def test_the_list_cannot_be_stored_nor_the_parts_removed(
    vault: Drive, cache: FailingObjectStore, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        fails(vault, *ERRORS, stays=True),
        broken_table(vault.kelp.database, table),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(cache, "delete", refuse)
        put(vault, "vault/new")
    assert "is left to the orphan batch" in caplog.text


# --- 8 to 12: reading, which leaves everything as it is ---


@pytest.fixture
def stored(vault: Drive) -> Entry:
    """A file of three parts that nobody has opened yet."""
    entry = put(vault, "vault/big")
    vault.kelp = replace(vault.kelp, opened_lists=OpenedLists(), small=SmallContents())
    return entry


@contextmanager
def not_shown(drive: Drive, entry: Entry, *errors: type[BaseException]) -> Iterator[pytest.MonkeyPatch]:
    """Of `entry` a beginning may be shown, no wrong byte; afterwards all of it, and nothing has changed."""
    before, objects = rows(drive), cached(drive)
    shown = bytearray()
    with pytest.raises(errors), pytest.MonkeyPatch.context() as patch:
        yield patch
        for piece in reading.open_content(drive.kelp, drive.admin, entry).chunks():
            shown += piece
    assert BIG.startswith(shown)
    assert rows(drive) == before and cached(drive) == objects
    assert drive.kelp.holds.count == 0, "nothing is held any more"


def whole_again(drive: Drive) -> None:
    assert drive.read("vault/big") == BIG


def test_the_list_cannot_be_read(vault: Drive, stored: Entry, caplog: pytest.LogCaptureFixture) -> None:
    with not_shown(vault, stored, ContentCorrupt) as patch:
        patch.setattr(part_lists, "open_parts", nth(part_lists.open_parts, 1, ContentCorrupt("part list: changed")))
    assert "part list: changed" in caplog.text
    whole_again(vault)


def test_a_list_that_was_changed(vault: Drive, stored: Entry, caplog: pytest.LogCaptureFixture) -> None:
    content = content_of(vault.kelp, stored)
    assert content.seal is not None
    for bit in (0, 100, len(content.seal.part_list) * 8 - 1):
        spoilt = bytearray(content.seal.part_list)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContentCorrupt):
            unsealing.reader(vault.kelp, replace(content, seal=replace(content.seal, part_list=bytes(spoilt))))
    assert caplog.text.count("part list of") == 3
    whole_again(vault)


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_part_cannot_be_downloaded(vault: Drive, cache: FailingObjectStore, stored: Entry, part: int) -> None:
    """Neither from the cache nor, since it is not there yet, from the NAS."""
    key, get = content_of(vault.kelp, stored).parts[part - 1].key, cache.get

    def refuse_one(wanted: str, *more: Any) -> Iterator[bytes]:
        if wanted == key:
            raise AWAY
        return get(wanted, *more)

    with not_shown(vault, stored, StoreUnavailable, ContentLost) as patch:
        patch.setattr(cache, "get", refuse_one)
    whole_again(vault)


def test_parts_that_are_not_in_order(vault: Drive, stored: Entry) -> None:
    pairs = ((0, 9), (1, 0), (9, 1))
    sql = "UPDATE file_parts SET sequence = :new WHERE content_id = :id AND sequence = :old"

    def turn() -> None:
        with vault.kelp.database.write() as tx:
            for old, new in pairs:
                tx.run(sql, id=stored.content_id, old=old, new=new)

    vault.kelp.database._fixed.__init__(lambda: 0)  # type: ignore[misc]  # as in another process
    turn()
    with pytest.raises(ContentCorrupt, match="another object"):
        reading.open_content(vault.kelp, vault.admin, stored)
    turn()
    vault.kelp.database._fixed.__init__(lambda: 0)  # type: ignore[misc]
    whole_again(vault)


def test_a_name_cannot_be_opened(vault: Drive, stored: Entry) -> None:
    before = rows(vault)
    with vault.kelp.database.write() as tx:
        tx.run("UPDATE entries SET name = :name WHERE id = :id", id=stored.id, name=spoilt_name(vault, stored))
    with pytest.raises(ContentCorrupt, match="a name below"):
        vault.names("vault")
    assert vault.read("vault/old") == OLD
    original = next(row for row in before["entries"] if row[0] == stored.id)
    with vault.kelp.database.write() as tx:
        tx.run("UPDATE entries SET name = :name WHERE id = :id", id=stored.id, name=original[3])
    assert vault.names("vault") == ["big", "old"]
    whole_again(vault)


def spoilt_name(drive: Drive, entry: Entry) -> str:
    ((name,),) = drive.sql("SELECT name FROM entries WHERE id = :id", id=entry.id)
    head, _, sealed = name.rpartition(".")
    return f"{head}.{'B' if sealed[0] != 'B' else 'C'}{sealed[1:]}"


@pytest.mark.parametrize("run", [1, 9, 17])
def test_a_frame_does_not_open(vault: Drive, stored: Entry, run: int, caplog: pytest.LogCaptureFixture) -> None:
    with not_shown(vault, stored, ContentCorrupt) as patch:
        patch.setattr(frames, "open_run", nth(frames.open_run, run, ContentCorrupt("frame 7 was changed")))
    assert "frame 7 was changed" in caplog.text
    whole_again(vault)


def test_bytes_that_were_changed_are_not_shown(vault: Drive, stored: Entry, caplog: pytest.LogCaptureFixture) -> None:
    """In the cache: nobody has them, since the NAS has nothing yet. The part is put back, and all is there."""
    vault.damaged = True
    key = content_of(vault.kelp, stored).parts[1].key
    good = stored_bytes(vault, key)
    store_others(vault, key, good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    shown = bytearray()
    with pytest.raises(KelpError):
        for piece in reading.open_content(vault.kelp, vault.admin, stored).chunks():
            shown += piece
    assert BIG.startswith(shown)
    assert "other bytes than were stored" in caplog.text
    store_others(vault, key, good)
    whole_again(vault)
