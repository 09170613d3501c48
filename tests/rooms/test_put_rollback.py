"""Every roll-back of the put (design §4): each single step fails, and then the roll-back fails as well.

What must hold afterwards: no row, no event, no version; the old content and its entity tag as they were; nothing in
the cache (or, when the clean-up itself failed, only objects that no row knows, which is what the orphan batch looks
for). The next put of the same name works.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.queue import InProcessQueue
from tests import cache_listing, engines
from tests.broken_table import ERRORS, broken_table
from tests.mirror_drive import MirrorDrive, TestClock
from tests.small_disk import small_disk
from vfs.errors import NoSpace, PreconditionFailed, StoreUnavailable, UploadIncomplete
from vfs.model import PART_SIZE, PIECE_SIZE, Expected, Place
from vfs.operations import mirroring, reserving, writing
from vfs.storage.wrappers import FailingObjectStore, Failure, When

PARTS = 3
BIG = bytes(range(256)) * ((PARTS - 1) * PART_SIZE // 256) + b"the third part"
SMALL = b"one part is enough here"
OLD = b"the old content"
AWAY = StoreUnavailable("the cache is away")


class Drive:
    """A drive whose cache fails on demand."""

    def __init__(self, folder: Path) -> None:
        # Not ahead of the real time, which the cache's files have: they would look old.
        self.whole = MirrorDrive(folder, clock=TestClock(int(time.time()) - 600))
        self.cache = FailingObjectStore(self.whole.kelp.cache)
        self.whole.kelp = dataclasses.replace(self.whole.kelp, cache=self.cache)
        self.kelp = self.whole.kelp

    def put(self, name: str, chunks: Any, **options: Any) -> None:
        writing.put_file(self.kelp, self.whole.caller, Place(1, name), chunks, **options)

    def state(self) -> dict[str, list[Any]]:
        """Every row that a put could leave, times of use apart."""
        tables = (
            "entries",
            "contents",
            "objects",
            "file_parts",
            "versions",
            "sync_events",
            "file_events",
            "name_memory",
        )
        with self.kelp.database.read() as tx:
            return {table: tx.all(f"SELECT * FROM {table}") for table in tables}

    def objects(self) -> set[str]:
        return cache_listing.keys(self.cache)

    def known(self) -> set[str]:
        with self.kelp.database.read() as tx:
            return {row[0] for row in tx.all("SELECT key FROM objects")}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive's folder with the file `old`, written a while ago."""
    folder = tmp_path_factory.mktemp("prepared")
    whole = MirrorDrive(folder, clock=TestClock(int(time.time()) - 6000))
    whole.put("old", OLD)
    whole.check_mirrored()
    whole.close()
    return folder


@pytest.fixture
def drive(tmp_path: Path, prepared: Path) -> Iterator[Drive]:
    engines.copy_drive(prepared, tmp_path / "drive")
    made = Drive(tmp_path / "drive")
    with reserving.reserve(made.kelp, 1):  # the only other commit of a put, once for 64 MiB
        pass
    yield made
    made.whole.check_mirrored()
    made.whole.close()


@pytest.fixture(params=["a new name", "over a file"])
def name(request: pytest.FixtureRequest) -> str:
    return "new" if request.param == "a new name" else "old"


@contextmanager
def nothing_left(drive: Drive, *errors: type[BaseException]) -> Iterator[None]:
    """The put in the block raises one of `errors`, and all is as it was; then a put works."""
    rows, objects = drive.state(), drive.objects()
    with pytest.raises(errors):
        yield
    assert drive.state() == rows
    assert drive.objects() == objects
    _works_again(drive)


@contextmanager
def only_orphans_left(drive: Drive, *errors: type[BaseException]) -> Iterator[None]:
    """As `nothing_left`, but objects may stay that no row knows."""
    rows = drive.state()
    with pytest.raises(errors):
        yield
    assert drive.state() == rows
    assert drive.objects() > drive.known()
    _works_again(drive)


def _works_again(drive: Drive) -> None:
    assert drive.whole.read("old") == OLD
    assert drive.whole.shown() == {"old": OLD}
    drive.put("new", [b"afterwards"])
    assert drive.whole.read("new") == b"afterwards"


def pieces(data: bytes = BIG) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE_SIZE):
        yield data[at : at + PIECE_SIZE]


# --- the cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
@pytest.mark.parametrize(
    "error", [AWAY, NoSpace("full"), RuntimeError("unheard of")], ids=lambda error: type(error).__name__
)
def test_a_part_cannot_be_stored(drive: Drive, name: str, part: int, when: When, error: Exception) -> None:
    drive.cache.failures.plan(Failure("put", error, part, when))
    with nothing_left(drive, type(error)):
        drive.put(name, pieces())


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_part_cannot_be_stored_nor_the_others_removed(drive: Drive, name: str, part: int) -> None:
    drive.cache.failures.plan(Failure("put", AWAY, part, When.AFTER))
    drive.cache.failures.plan(Failure("delete", AWAY, 1))
    with only_orphans_left(drive, StoreUnavailable):
        drive.put(name, pieces())
    assert len(drive.objects() - drive.known()) == 1  # the other parts were removed all the same


# --- the body -------------------------------------------------------------------------------------


def cut(after: int, error: Exception) -> Iterator[bytes]:
    yield from pieces(BIG[:after])
    raise error


@pytest.mark.parametrize("after", [0, 1, PART_SIZE, PART_SIZE + 1, len(BIG)])
def test_the_body_ends_with_an_error(drive: Drive, name: str, after: int) -> None:
    with nothing_left(drive, UploadIncomplete):
        drive.put(name, cut(after, UploadIncomplete("the connection was lost")))


WRONG = {
    "shorter than announced": Expected(length=len(SMALL) + 1),
    "longer than announced": Expected(length=len(SMALL) - 1),
    "longer than nothing": Expected(length=0),
    "another SHA-1": Expected(sha1=hashlib.sha1(b"other").hexdigest()),
    "another MD5": Expected(md5=hashlib.md5(b"other").hexdigest()),
    "right length and SHA-1, another MD5": Expected(len(SMALL), hashlib.sha1(SMALL).hexdigest(), "0" * 32),
}


@pytest.mark.parametrize("expected", WRONG.values(), ids=WRONG)
def test_the_body_is_not_as_announced(drive: Drive, name: str, expected: Expected) -> None:
    with nothing_left(drive, UploadIncomplete):
        drive.put(name, [SMALL], expected=expected)


@pytest.mark.parametrize("case", [case for case in WRONG if "longer" not in case])  # those end inside the store
def test_the_body_is_not_as_announced_and_stays(drive: Drive, name: str, case: str) -> None:
    drive.cache.failures.plan(Failure("delete", AWAY))
    with only_orphans_left(drive, UploadIncomplete):
        drive.put(name, [SMALL], expected=WRONG[case])


# --- the commit -----------------------------------------------------------------------------------


TABLES = ("contents", "objects", "file_parts", "entries", "sync_events", "file_events")
BODIES = {table: [BIG if table == "file_parts" else SMALL] for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_cannot_be_written(drive: Drive, name: str, table: str) -> None:
    with nothing_left(drive, *ERRORS), broken_table(drive.kelp.database, table):
        drive.put(name, BODIES[table])


@pytest.mark.parametrize("table", TABLES)
def test_a_row_cannot_be_written_nor_the_objects_removed(drive: Drive, name: str, table: str) -> None:
    for part in range(1, PARTS + 1):
        drive.cache.failures.plan(Failure("delete", AWAY, part))
    with only_orphans_left(drive, *ERRORS), broken_table(drive.kelp.database, table):
        drive.put(name, BODIES[table])


REFUSED = pytest.mark.engine(database="sqlite", reason="its driver refuses a statement")


@contextmanager
def statement_fails(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, statement: str, *, done: bool = False, times: int = 1
) -> Iterator[None]:
    """The driver refuses a statement, `times` times: before it is carried out, or (`done`) after."""
    left = [None] * times
    engine = drive.kelp.database._engine
    connect = type(engine)._connection

    @contextmanager
    def connection(self: object) -> Iterator[Any]:
        with connect(engine) as real:
            yield _Refusing(real, statement, done, left)

    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "_connection", connection)
        yield


class _Refusing:
    """A connection that refuses one statement with an I/O error, as long as there is something in `left`."""

    def __init__(self, real: sqlite3.Connection, statement: str, done: bool, left: list[None]) -> None:
        self._real, self._statement, self._done, self._left = real, statement, done, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql.startswith(self._statement) and self._left:
            self._left.pop()
            if self._done:
                self._real.execute(sql, *values)
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(sql, *values)


@REFUSED
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "INSERT INTO sync_events", "COMMIT"])
def test_the_transaction_fails(drive: Drive, name: str, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with nothing_left(drive, StoreUnavailable), statement_fails(drive, monkeypatch, statement):
        drive.put(name, [SMALL])


@REFUSED
def test_no_commit_works_any_more(drive: Drive, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose fsync failed may come back after a crash until another one is durable: its objects stay."""
    with only_orphans_left(drive, StoreUnavailable), statement_fails(drive, monkeypatch, "COMMIT", times=2):
        drive.put(name, [SMALL])


@REFUSED
def test_the_commit_is_done_but_says_it_is_not(drive: Drive, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the rows are there, and the objects that they name must stay, whatever the caller is told."""
    with pytest.raises(StoreUnavailable), statement_fails(drive, monkeypatch, "COMMIT", done=True):
        drive.put(name, [SMALL])
    assert drive.whole.read(name) == SMALL


@REFUSED
def test_the_database_does_not_answer_the_roll_back(drive: Drive, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the content is known cannot be asked: the objects stay."""

    def gone() -> Any:
        raise StoreUnavailable("the database is away")

    with only_orphans_left(drive, StoreUnavailable), statement_fails(drive, monkeypatch, "INSERT INTO sync_events"):
        monkeypatch.setattr(type(drive.kelp.database), "read", _read_until_body(drive, gone))
        try:
            drive.put(name, [SMALL])
        finally:
            monkeypatch.undo()


def test_the_condition_fails_only_inside_the_transaction(drive: Drive, name: str) -> None:
    """Somebody else was faster: the second look, on the locked row, refuses what the first let through."""
    looks = []

    def condition(entry: object, tokens: object) -> None:
        looks.append(entry)
        if len(looks) == 2:
            raise PreconditionFailed("changed meanwhile")

    with nothing_left(drive, PreconditionFailed):
        drive.put(name, [SMALL], condition=condition)
    assert len(looks) == 2


def test_the_disk_of_the_database_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        whole = MirrorDrive(tmp_path, database_url=f"sqlite:///{disk / 'kelp.db'}")
        try:
            whole.put("old", OLD)
            whole.settle_down()
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
            objects = cache_listing.keys(whole.kelp.cache)
            with pytest.raises(NoSpace):
                for number in range(1000):  # the log that is there already has room for some
                    whole.put(f"n{number}", b"content")
                    objects |= cache_listing.keys(whole.kelp.cache)
            assert cache_listing.keys(whole.kelp.cache) == objects
            assert whole.read("old") == OLD
            filler.unlink()
            whole.put("old", b"there is room again")
            whole.check_mirrored()
        finally:
            whole.close()


# --- the queue ------------------------------------------------------------------------------------


class DeadQueue(InProcessQueue):
    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        raise ConnectionError("the queue is away")


def test_a_queue_that_fails_does_not_fail_the_put_and_the_sweep_finds_the_event(
    drive: Drive, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    kelp = dataclasses.replace(drive.kelp, queue=DeadQueue())
    writing.put_file(kelp, drive.whole.caller, Place(1, name), [SMALL])
    assert drive.whole.read(name) == SMALL and "the sweep will" in caplog.text
    assert mirroring.sweep(drive.kelp)  # something is due, and the mirror is rung for


_Read = Callable[[Any], Any]


def _read_until_body(drive: Drive, gone: Callable[[], Any]) -> _Read:
    """Reads work before the body is stored, and fail after."""
    read = type(drive.kelp.database).read
    before = len(drive.objects())

    @contextmanager
    def failing(self: Any) -> Iterator[Any]:
        if len(drive.objects()) > before:
            gone()
        with read(self) as tx:
            yield tx

    return failing
