"""Objects that come back to the cache: once, verified, within its limit, and whatever dies meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.adopted import unlearn
from tests.rooms.core.drive import Clock, Drive
from tests.rooms.core.rot import (
    SIZES,
    alerts,
    content_of,
    in_cache,
    mirrored,
    rot_cache,
    rot_nas,
    settle,
    some_bytes,
    statuses,
    whole_in_cache,
)
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, ContentLost, NoSpace, ObjectMissing, StoreUnavailable
from vfs.model import PART_SIZE, ByteRange, Content, Done
from vfs.operations import contents, healing, restoring
from vfs.operations.restoring import Outcome, Restored
from vfs.storage.wrappers import FailingObjectStore, Failure, When

DATA = some_bytes(SIZES["many parts"])
GONE = ObjectMissing("gone")


@pytest.fixture
def content(drive: Drive) -> Content:
    return mirrored(drive, "f", DATA)


def lose(drive: Drive, content: Content) -> None:
    for part in content.parts:
        drive.spoil(part.key, None)


def set_status(drive: Drive, status: str, since_ns: int | None = None) -> None:
    drive.damage("UPDATE objects SET status = :status, status_ns = :since", status=status, since=since_ns)


def test_in_the_foreground(drive: Drive, content: Content) -> None:
    assert restoring.restore(drive.kelp, content) == Restored()
    lose(drive, content)
    assert restoring.restore(drive.kelp, content) == Restored(3, len(DATA), 0)
    assert whole_in_cache(drive, content) == DATA and statuses(drive, content) == {"AVAILABLE"}
    rot_cache(drive, content, PART_SIZE)
    assert restoring.restore_part(drive.kelp, content, 1, ContentCorrupt("seen")) is Outcome.RESTORED
    assert restoring.restore_part(drive.kelp, content, 1, ContentCorrupt("seen")) is Outcome.PRESENT
    assert whole_in_cache(drive, content) == DATA


@pytest.mark.parametrize("status", ["EVICTING", "PENDING", "SYNCING"])
def test_what_is_somebody_elses_is_left_alone(drive: Drive, content: Content, status: str) -> None:
    lose(drive, content)
    set_status(drive, status, drive.clock.now)
    assert restoring.restore(drive.kelp, content) == Restored(left=3)
    assert statuses(drive, content) == {status} and drive.objects() == []


@pytest.mark.parametrize("left", [None, DATA[: PART_SIZE // 2], DATA[:PART_SIZE]])
def test_who_died_at_it_is_followed(drive: Drive, content: Content, left: bytes | None) -> None:
    lose(drive, content)
    drive.spoil(content.parts[0].key, left)
    set_status(drive, "SYNCING", drive.clock.now)
    assert restoring.give_up_stale(drive.kelp) == Done()
    drive.clock.advance(601)
    assert restoring.give_up_stale(drive.kelp) == Done(3)
    assert statuses(drive, content) == {"MISSING"}
    assert restoring.restore(drive.kelp, content).objects == 3
    assert whole_in_cache(drive, content) == DATA


def test_who_was_given_up_does_not_say_that_it_is_there(drive: Drive, content: Content) -> None:
    lose(drive, content)
    set_status(drive, "MISSING")

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(drive.kelp.cache, name)

        def put(self, key: str, chunks: Any, **how: bool) -> Any:
            drive.clock.advance(700)
            restoring.give_up_stale(drive.kelp)  # on a busy machine the lease of the restore has expired, too
            assert statuses(drive, content) == {"MISSING"}
            return drive.kelp.cache.put(key, chunks, **how)

    slow = replace(drive.kelp, cache=Slow())  # type: ignore[arg-type]
    assert restoring.restore_part(slow, content, 0, None) is Outcome.BUSY
    assert statuses(drive, content) == {"MISSING"}
    assert restoring.restore_part(drive.kelp, content, 0, None) is Outcome.RESTORED, "what is there is good"


def test_who_was_given_up_does_not_delete_what_another_brought(drive: Drive, content: Content) -> None:
    """It would be gone for good, were this one to die then: the mirror relies on what is AVAILABLE."""
    lose(drive, content)
    set_status(drive, "MISSING")
    deleted: list[str] = []

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(drive.kelp.cache, name)

        def put(self, key: str, chunks: Any, **how: bool) -> Any:
            drive.clock.advance(700)
            restoring.give_up_stale(drive.kelp)
            assert restoring.restore_part(drive.kelp, content, 0, None) is Outcome.RESTORED
            return drive.kelp.cache.put(key, chunks, **how)

        def delete(self, key: str) -> None:
            deleted.append(key)
            drive.kelp.cache.delete(key)

    slow = replace(drive.kelp, cache=Slow())  # type: ignore[arg-type]
    assert restoring.restore_part(slow, content, 0, None) is Outcome.BUSY
    assert deleted == []


def test_what_began_by_a_clock_that_was_ahead_is_given_up(drive: Drive, content: Content) -> None:
    ahead = drive.clock.now + 365 * 86400 * 10**9
    lose(drive, content)
    set_status(drive, "SYNCING", ahead)
    with drive.kelp.database.write(quiet=True) as tx:
        tx.reading.publish("dead:1:x", [content.id], ahead)
    assert restoring.give_up_stale(drive.kelp) == Done(4)
    assert statuses(drive, content) == {"MISSING"}
    with drive.kelp.database.read() as tx:
        assert not tx.reading.leased(content.id, drive.clock.now)


def test_what_was_given_up_is_found_again(drive: Drive) -> None:
    """The cache's disk was not mounted: what only it has is not lost, and becomes a version when it is replaced."""
    drive.put("f", b"only here")
    content = content_of(drive, "f")
    lose(drive, content)
    with pytest.raises(ContentLost):
        restoring.restore(drive.kelp, content)
    assert statuses(drive, content) == {"ERROR"} and len(alerts(drive)) > 0
    drive.clock.advance(601)
    assert restoring.find_again(drive.kelp) == Done()
    drive.spoil(content.id, b"only here")
    assert restoring.find_again(drive.kelp) == Done(), "not so soon again"
    drive.clock.advance(601)
    assert restoring.find_again(drive.kelp) == Done(1)
    assert statuses(drive, content) == {"AVAILABLE"}
    assert [kind for kind, _, _ in alerts(drive)] == ["CACHE_EMPTIED"]
    drive.put("f", b"newer")
    assert drive.versions("f") == [b"only here"]


def test_what_cannot_be_read_is_replaced(drive: Drive, content: Content) -> None:
    """A bad place of the disk; but not when all of the cache is away."""
    bad = content.parts[0].key
    away = False

    class Bad:
        def __getattr__(self, name: str) -> Any:
            return getattr(drive.kelp.cache, name)

        def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
            if key == bad:
                raise StoreUnavailable("EIO")
            return drive.kelp.cache.get(key, byte_range)

        def stat(self, key: str) -> int:
            if away:
                raise StoreUnavailable("EIO")
            return drive.kelp.cache.stat(key)

        def put(self, key: str, chunks: Any, **how: bool) -> Any:
            nonlocal bad
            stored = drive.kelp.cache.put(key, chunks, **how)
            bad = ""
            return stored

    kelp = replace(drive.kelp, cache=Bad())  # type: ignore[arg-type]
    away = True
    with pytest.raises(StoreUnavailable):
        restoring.restore_part(kelp, content, 0, ContentCorrupt("seen"))
    away = False
    assert statuses(drive, content) == {"AVAILABLE"}
    assert restoring.restore_part(kelp, content, 0, ContentCorrupt("seen")) is Outcome.RESTORED
    assert bad == "" and whole_in_cache(drive, content) == DATA


def test_what_came_back_before_it_was_told_is_not_lost(drive: Drive, content: Content) -> None:
    drive.damage("UPDATE entries SET nas_content_id = NULL")
    restoring.lose(drive.kelp, content, content.parts[0], None)
    assert statuses(drive, content) == {"AVAILABLE"} and alerts(drive) == []


@pytest.mark.parametrize("error", [StoreUnavailable("away"), NoSpace("full"), RuntimeError("unheard of")])
@pytest.mark.parametrize("when", [When.BEFORE, When.MIDSTREAM])
def test_a_failure_leaves_it_missing(drive: Drive, content: Content, error: Exception, when: When) -> None:
    lose(drive, content)
    set_status(drive, "MISSING")
    cache = FailingObjectStore(drive.kelp.cache)
    cache.failures.plan(Failure("put", error, 1, when))
    with pytest.raises(type(error)):
        restoring.restore(replace(drive.kelp, cache=cache), content)
    assert statuses(drive, content) == {"MISSING"} and drive.objects() == []
    assert restoring.restore(drive.kelp, content).objects == 3


def test_what_the_nas_has_wrong_is_never_restored(drive: Drive, content: Content) -> None:
    lose(drive, content)
    set_status(drive, "MISSING")
    rot_nas(drive, "f", PART_SIZE + 9)
    with pytest.raises(ContentLost):
        restoring.restore(drive.kelp, content)
    assert drive.objects() == [content.parts[0].key]
    assert statuses(drive, content) == {"AVAILABLE", "ERROR", "MISSING"}
    assert alerts(drive) == [("CONTENT_LOST", content.id, 1)]


def test_what_each_store_has_good_is_put_together(drive: Drive, content: Content) -> None:
    rot_cache(drive, content, 10)
    rot_nas(drive, "f", content.parts[0].size - 10)
    assert restoring.restore_part(drive.kelp, content, 0, ContentCorrupt("cache: bad")) is Outcome.RESTORED
    rot_nas(drive, "f", content.parts[0].size - 10)  # as it was
    assert in_cache(drive, content.parts[0].key) == DATA[: content.parts[0].size]
    drive.damaged = False


def test_many_lost_contents_are_few_alerts(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_MOST_ALERTS", 3)
    for n in range(8):
        drive.put(f"f{n}", b"%d" % n)
    for key in drive.objects():
        drive.spoil(key, None)
    for n in range(8):
        with pytest.raises(ContentLost):
            restoring.restore(drive.kelp, content_of(drive, f"f{n}"))
    lost = [found for found in alerts(drive) if found[0] == "CONTENT_LOST"]
    assert len(lost) == 4 and lost[0] == ("CONTENT_LOST", "", 5)


def test_beyond_the_limit_nothing_comes_back(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(cache_limit="1 MiB")
    whole = some_bytes(SIZES["full part"])  # a smaller last part might fit, once the others are known to be gone
    content = mirrored(drive, "f", whole)
    lose(drive, content)
    assert b"".join(contents.Reader(drive.kelp, content).chunks()) == whole
    settle(drive)
    assert drive.objects() == [] and statuses(drive, content) == {"MISSING"}
    assert restoring.restore(drive.kelp, content) == Restored(left=1)


def test_an_adopted_file_is_learned_first(drive: Drive, content: Content) -> None:
    unlearn(drive.kelp, content.id)
    assert restoring.restore(drive.kelp, content_of(drive, "f")) == Restored(3, len(DATA), 0)
    assert whole_in_cache(drive, content) == DATA and content_of(drive, "f") == content


def test_an_alert_about_the_cache_ends_when_it_is_quiet(drive: Drive, content: Content) -> None:
    lose(drive, content)
    restoring.restore(drive.kelp, content)
    assert alerts(drive) == [("CACHE_EMPTIED", "", 3)]
    drive.clock.advance(3000)
    restoring.give_up_stale(drive.kelp)
    assert len(alerts(drive)) == 1
    drive.clock.advance(1000)
    restoring.give_up_stale(drive.kelp)
    assert alerts(drive) == []


def test_leases_of_the_dead_are_forgotten(drive: Drive) -> None:
    with drive.kelp.database.write(quiet=True) as tx:
        tx.reading.publish("dead:1:x", ["a"], drive.clock.now + 1)
    drive.clock.advance(1)
    assert restoring.give_up_stale(drive.kelp) == Done(1) and restoring.give_up_stale(drive.kelp) == Done()


# --- several at once ------------------------------------------------------------------------------------------------


class Puts:
    """A cache that notes what is put, and takes its time."""

    def __init__(self, inner: Any, keys: list[str]) -> None:
        self._inner, self._keys = inner, keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, key: str, chunks: Any, **how: bool) -> Any:
        self._keys.append(key)
        threading.Event().wait(0.05)
        return self._inner.put(key, chunks, **how)


@pytest.fixture
def node(drive: Drive) -> Iterator[Kelp]:
    """Another process of the same drive."""
    kelp = build(drive.kelp.settings, clock=Clock(drive.clock.now))
    yield kelp
    kelp.close()


@pytest.mark.parametrize("whole", [True, False])
def test_of_two_processes_one_restores(drive: Drive, node: Kelp, content: Content, whole: bool) -> None:
    lose(drive, content)
    keys: list[str] = []
    nodes = [replace(kelp, cache=Puts(kelp.cache, keys)) for kelp in (drive.kelp, node)]  # type: ignore[arg-type]
    wanted = ByteRange(0 if whole else 7, len(DATA) if whole else len(DATA) - 7)
    found: list[bool] = []

    def read(kelp: Kelp) -> None:
        got = b"".join(contents.Reader(kelp, content).chunks(wanted))
        found.append(got == DATA[wanted.start : wanted.stop])

    threads = [threading.Thread(target=read, args=(kelp,)) for kelp in nodes for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drive.kelp.background.wait(30) and node.background.wait(30)
    assert found == [True] * 16
    assert sorted(keys) == [part.key for part in content.parts]
    assert whole_in_cache(drive, content) == DATA and statuses(drive, content) == {"AVAILABLE"}
    assert healing._teed._bytes == 0, "every tee gave its memory back"


def test_readers_that_put_aside_too_much_are_not_waited_for(
    drive: Drive, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "_TEED", PART_SIZE + 1)
    lose(drive, content)
    first, second = (contents.Reader(drive.kelp, content).chunks() for _ in range(2))
    got = [next(first)]
    assert b"".join(second) == DATA
    del second
    assert b"".join([*got, *first]) == DATA
    settle(drive)
    assert in_cache(drive, content.parts[2].key) == DATA[2 * PART_SIZE :]
    assert healing._teed._bytes == 0


def test_a_tee_whose_restore_had_no_turn_gives_its_memory_back(drive: Drive, content: Content) -> None:
    busy, over = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        busy.release()
        over.wait(120)

    for number in range(drive.kelp.background._limit):
        assert drive.kelp.background.submit(("busy", number), wait) and busy.acquire(timeout=60)
    before = healing._teed._bytes
    healing.ask(drive.kelp, content, 0, GONE, healing.tee(content.parts[0]))
    assert healing._teed._bytes == before + content.parts[0].size
    over_at_last = threading.Timer(0.5, over.set)
    over_at_last.start()
    drive.kelp.background.close()
    over_at_last.join()
    assert healing._teed._bytes == before
