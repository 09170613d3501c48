"""Room for new bytes: what only the cache has never passes `cache.hard_limit`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rooms.core.drive import Drive
from vfs import bootstrap
from vfs.core import Kelp
from vfs.errors import NoSpace, UploadIncomplete
from vfs.escrow import LIFETIME
from vfs.model import Expected
from vfs.operations import cache_limits, reading, reserving, trashing, writing

KIB = 1024
Opened = Callable[..., Drive]


def dirty(drive: Drive) -> int:
    """Bytes of contents that the NAS lacks, found the slow way."""
    rows = drive.sql(
        """SELECT COALESCE(SUM(c.size), 0) FROM contents c
           WHERE c.id IN (SELECT content_id FROM entries WHERE state <> 'DELETED'
                          UNION SELECT content_id FROM versions WHERE state <> 'purged')
           AND c.id NOT IN (SELECT nas_content_id FROM entries WHERE nas_content_id IS NOT NULL)
           AND c.id NOT IN (SELECT content_id FROM versions WHERE nas_path IS NOT NULL)"""
    )
    return int(rows[0][0])


def fill(drive: Drive, size: int = 8 * KIB, most: int = 1000) -> int:
    """Put files until there is no room; how many."""
    for number in range(most):
        try:
            drive.put(f"file {number}", b"x" * size, expected=Expected(length=size))
        except NoSpace:
            return number
    return most


def cannot_be_put(drive: Drive, size: int = 8 * KIB) -> bool:
    drive.kelp.escrow.refused(1, 0)  # time passes
    drive.kelp.escrow.measured(0)
    try:
        drive.put("one more", b"x" * size, expected=Expected(length=size))
    except NoSpace:
        return True
    return False


def test_the_limit_is_never_passed_and_nearly_reached(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="1 MiB")
    assert fill(drive) in range(120, 129)
    assert dirty(drive) <= 1024 * KIB


def test_at_the_limit_all_else_goes_on(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="256 KiB")
    count = fill(drive)
    drive.copy("file 0", "a copy")  # shares the bytes
    drive.move("file 1", "renamed")
    assert drive.read("renamed") == b"x" * 8 * KIB
    drive.put("empty", b"", expected=Expected(length=0))
    drive.folder("folder")
    assert cannot_be_put(drive)
    drive.remove("file 2")
    drive.remove("renamed")
    assert dirty(drive) <= 256 * KIB
    assert count > 20


def test_what_is_deleted_or_carried_away_makes_room(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="256 KiB")
    fill(drive)
    assert cannot_be_put(drive)
    drive.remove("file 0")  # so young that it skips the trash
    for item in drive.trash():
        trashing.purge(drive.kelp, drive.editor, item.entry.uuid)
    assert not cannot_be_put(drive)
    assert fill(drive) < 10
    drive.mirror()
    assert not cannot_be_put(drive)
    assert cache_limits.measure(drive.kelp).dirty == dirty(drive) == 8 * KIB


def test_an_upload_of_unknown_length_is_cut_off_and_leaves_nothing(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="256 KiB")
    given = []

    def endless() -> Iterator[bytes]:
        while True:
            given.append(16 * KIB)
            yield b"x" * 16 * KIB

    with pytest.raises(NoSpace):
        writing.put_file(drive.kelp, drive.editor, drive.place("endless"), endless())
    assert sum(given) <= 288 * KIB
    assert list(drive.kelp.cache.list()) == []
    assert drive.find("endless") is None
    drive.put("small", b"x" * 200 * KIB)


def test_a_known_length_is_refused_before_the_body_is_read(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="256 KiB")

    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    with pytest.raises(NoSpace):
        expected = Expected(length=300 * KIB)
        writing.put_file(drive.kelp, drive.editor, drive.place("large"), body(), expected=expected)


def test_a_failed_upload_gives_back(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="256 KiB")
    for _ in range(50):
        with pytest.raises(UploadIncomplete):
            drive.put("cut", b"x" * 10 * KIB, expected=Expected(length=200 * KIB))
    drive.put("whole", b"x" * 200 * KIB, expected=Expected(length=200 * KIB))


def test_without_a_limit_nothing_is_written(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="none")
    drive.put("file", b"x" * KIB)
    assert drive.sql("SELECT * FROM byte_grants") == []


def test_small_puts_share_a_grant(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="1 GiB")
    drive.put("first", b"x", expected=Expected(length=1))
    before = drive.sql("SELECT * FROM byte_grants ORDER BY owner")
    for number in range(20):
        drive.put(f"file {number}", b"x" * KIB, expected=Expected(length=KIB))
    assert drive.sql("SELECT * FROM byte_grants ORDER BY owner") == before


@pytest.fixture
def neighbours(drive_with: Opened) -> Iterator[tuple[Drive, list[Drive]]]:
    """A drive with a limit of 1 MiB, and three more processes that serve it."""
    drive = drive_with(cache_hard_limit="1 MiB")
    others = [Drive(_another(drive), drive.clock, drive.nas, drive.admin, drive.editor, drive.other, drive.viewer)
              for _ in range(3)]  # fmt: skip
    yield drive, others
    for other in others:
        other.kelp.close()


def _another(drive: Drive) -> Kelp:
    return bootstrap.build(drive.kelp.settings, clock=drive.clock)


def test_several_processes_at_once(neighbours: tuple[Drive, list[Drive]]) -> None:
    drive, others = neighbours
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(dirty(drive))

    def write(number: int) -> int:
        mine = [drive, *others][number % 4]
        for count in range(60):
            size = (1 + (number * 7 + count * 13) % 24) * KIB
            try:
                mine.put(f"{number}-{count}", b"x" * size, expected=Expected(length=size if count % 2 else None))
            except NoSpace:
                return count
        return 60

    with ThreadPoolExecutor(9) as threads:
        watching = threads.submit(watch)
        written = list(threads.map(write, range(8)))
        done.set()
        watching.result()
    assert max([*seen, dirty(drive)]) <= 1024 * KIB
    assert dirty(drive) > 700 * KIB, written


def test_the_grant_of_a_dead_process_comes_back(neighbours: tuple[Drive, list[Drive]]) -> None:
    drive, (dead, *_) = neighbours
    with pytest.raises(ZeroDivisionError), reserving.reserve(dead.kelp, 1000 * KIB):
        assert cannot_be_put(drive, 100 * KIB)
        raise ZeroDivisionError  # … and never heard of again
    drive.clock.advance(LIFETIME + 1)
    assert not cannot_be_put(drive, 100 * KIB)


def test_a_process_that_slept_too_long_cannot_use_its_grant(neighbours: tuple[Drive, list[Drive]]) -> None:
    drive, (sleeper, *_) = neighbours
    with reserving.reserve(sleeper.kelp, 800 * KIB) as room:
        assert list(room.counted([b"x" * 800 * KIB]))
        drive.clock.advance(LIFETIME + 1)
        sleeper.kelp.escrow.granted(0, 0, -10 * LIFETIME)  # as its own clock tells
        assert not cannot_be_put(drive, 800 * KIB)
        with pytest.raises(NoSpace):
            room.confirm()


def test_the_quota_knows_the_limit(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="10 MiB")
    drive.put("file", b"x" * 1024 * KIB)
    assert reading.usage(drive.kelp).free < 9 * 1024 * KIB
    cache_limits.look(drive.kelp)
    drive.mirror()
    drive.clock.advance(60)
    cache_limits.look(drive.kelp)
    assert reading.usage(drive.kelp).free > 9 * 1024 * KIB


def test_an_alert_begins_and_ends(drive_with: Opened) -> None:
    drive = drive_with(cache_hard_limit="1 MiB")
    open_alerts = "SELECT kind FROM alerts WHERE closed_ns IS NULL"
    drive.put("file", b"x" * 850 * KIB)
    for _ in range(2):
        drive.clock.advance(60)
        cache_limits.look(drive.kelp)
        assert drive.sql(open_alerts) == [("CACHE_NEARLY_FULL",)]
    drive.mirror()
    drive.clock.advance(60)
    cache_limits.look(drive.kelp)
    assert drive.sql(open_alerts) == []


def test_what_cannot_be_known_has_no_limit(drive_with: Opened) -> None:
    drive = drive_with()
    hard = cache_limits.hard_limit(drive.kelp)
    total = drive.kelp.cache.usage().total
    assert hard == (None if total >= 1 << 50 else int(total * 0.9))


def test_restores_stay_within_the_limit(drive_with: Opened) -> None:
    drive = drive_with(cache_limit="1 MiB")
    drive.put("file", b"x" * 900 * KIB)
    drive.mirror()
    cache_limits.look(drive.kelp)
    assert not cache_limits.room_for(drive.kelp, 200 * KIB)
    assert cache_limits.room_for(drive.kelp, 20 * KIB)
    assert not cache_limits.room_for(drive.kelp, 20 * KIB)  # the others have their shares
    drive.clock.advance(60)
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE objects SET status = 'MISSING'")
    cache_limits.look(drive.kelp)
    assert cache_limits.room_for(drive.kelp, 200 * KIB)  # one that is larger than a share
    assert not cache_limits.room_for(drive.kelp, 200 * KIB)
    drive.damaged = True
