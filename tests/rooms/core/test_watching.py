"""The change feed: every committed change once, in whatever order transactions begin and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests import engines
from tests.rooms.core.drive import Drive
from vfs.bootstrap import build
from vfs.model import ROOT_ID, Level, OnConflict
from vfs.operations import properties, watching
from vfs.operations.watching import Changes, Feed


@pytest.fixture
def feed(drive: Drive) -> Iterator[Feed]:
    """Of another process."""
    other = build(drive.kelp.settings, clock=drive.clock)
    yield Feed(other)
    other.close()


def ids(changes: Changes) -> list[int]:
    assert not changes.everything
    return sorted(each.id for each in changes.entries)


def touch(drive: Drive, id: int) -> None:
    """A change of which there is no history."""
    with drive.kelp.database.write() as tx:
        tx.entries.update(id)


def test_nothing_new(drive: Drive, feed: Feed) -> None:
    assert feed.look() == feed.look() == Changes()
    drive.put("a")
    assert len(feed.look().entries) == 1
    assert feed.look() == Changes()


def test_what_is_told(drive: Drive, feed: Feed) -> None:
    folder, file = drive.folder("f"), drive.put("f/a")
    made = {each.id: each for each in feed.look().entries}
    assert made.keys() == {folder.id, file.id}
    assert made[file.id] == (file.id, folder.id, "a", file.version, file.content_id, True)
    written = drive.put("f/a", b"other")
    (change,) = feed.look().entries
    assert (change.id, change.content_id) == (file.id, written.content_id)
    assert change.version > made[file.id].version
    drive.move("f/a", "b")
    (change,) = feed.look().entries
    assert (change.id, change.parent_id, change.name) == (file.id, ROOT_ID, "b")
    drive.move("f", "g")
    assert ids(feed.look()) == [folder.id]
    properties.patch(drive.kelp, drive.editor, file.id, [], mtime_ns=1)
    assert ids(feed.look()) == [file.id]
    drive.remove("b")
    (change,) = feed.look().entries
    assert (change.id, change.is_active) == (file.id, False)


def test_of_a_new_folder_only_its_top_is_told(drive: Drive, feed: Feed) -> None:
    drive.folder("f")
    drive.put("f/a")
    drive.put("f/b")
    feed.look()
    drive.copy("f", "copy")
    assert ids(feed.look()) == [drive.entry("copy").id]


def test_what_gives_way_is_told_too(drive: Drive, feed: Feed) -> None:
    a, b = drive.put("a"), drive.put("b")
    feed.look()
    drive.move("a", "b", OnConflict.OVERWRITE)
    assert set(ids(feed.look())) == {a.id, b.id}


def test_a_change_of_rights_is_everything(drive: Drive, feed: Feed) -> None:
    folder = drive.folder("f")
    with drive.kelp.database.write() as tx:
        tx.grants.put(folder.id, drive.editor.user_id, None, Level.READ, 1)
    assert feed.look() == Changes(everything=True)
    assert feed.look() == Changes()


def test_a_refused_change_is_not_told(drive: Drive, feed: Feed) -> None:
    with pytest.raises(ZeroDivisionError), drive.kelp.database.write() as tx:
        tx.entries.update(ROOT_ID)
        tx.one("SELECT 1")
        raise ZeroDivisionError
    drive.put("a")
    assert ids(feed.look()) == [drive.entry("a").id]


def test_too_much_is_everything(drive: Drive, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_MOST", 3)
    for name in "abc":
        drive.put(name)
    assert len(feed.look().entries) == 3
    for name in "defg":
        drive.put(name)
    assert feed.look() == Changes(everything=True)
    assert feed.look() == Changes()


def test_a_feed_that_slept_while_the_log_was_pruned_is_told_so(drive: Drive, feed: Feed) -> None:
    files = [drive.put(f"n{number}").id for number in range(10)]
    for number in range(10):
        touch(drive, files[number])
        if number == 4:
            feed.look()
    with drive.kelp.database.write() as tx:
        assert tx.change_log.prune(keep=5) > 0
    assert len(feed.look().entries) == 5  # all that it has not seen is there
    for file in files:
        touch(drive, file)
    with drive.kelp.database.write() as tx:
        tx.change_log.prune(keep=5)
        assert tx.one("SELECT COUNT(*) FROM changes")[0] == 5
    assert feed.look() == Changes(everything=True)


@pytest.mark.parametrize("stays", ["", "the first", "the last"])
def test_a_feed_that_slept_while_history_was_pruned_is_told_so(drive: Drive, feed: Feed, stays: str) -> None:
    drive.put("a")
    feed.look()
    for number in range(5):
        drive.put(f"b{number}")
    with drive.kelp.database.write() as tx:
        lines = [row[0] for row in tx.all("SELECT id FROM file_events ORDER BY id")]
        gone = {"": lines, "the first": lines[1:], "the last": lines[:-1]}[stays]
        tx.pruning.forget_history(gone)
    for number in range(20):  # as many as there were, under numbers that were given before where none was left
        drive.put(f"c{number}")
    told = feed.look()
    assert told == Changes(everything=True) if engines.CHOSEN.database == "sqlite" else len(told.entries) == 25
    drive.put("a", b"again")
    assert ids(feed.look()) == [drive.entry("a").id]


def test_who_hands_over_its_history_is_told(drive: Drive, feed: Feed) -> None:
    """An editor's safe save: unlink, and a new file of that name that takes over its document."""
    old = drive.put("document", b"old")
    feed.look()
    drive.put("document", b"newer")
    drive.remove("document")
    new = drive.put("document", b"newest")
    assert new.uuid == old.uuid and new.id != old.id
    assert ids(feed.look()) == [old.id, new.id]


def test_a_change_is_told_once(drive: Drive, feed: Feed) -> None:
    """By its line of history where there is one, else by the log."""
    file = drive.put("a")
    with drive.kelp.database.write() as tx:
        told, noted = tx.one("SELECT (SELECT COUNT(*) FROM file_events WHERE tells), (SELECT COUNT(*) FROM changes)")
    touch(drive, file.id)
    with drive.kelp.database.write() as tx:
        now = tx.one("SELECT (SELECT COUNT(*) FROM file_events WHERE tells), (SELECT COUNT(*) FROM changes)")
    assert now == (told, noted + 1) and bool(told) == (engines.CHOSEN.database == "sqlite")


def test_pruning_waits_until_it_is_worth_it(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.metadata.change_log.KEPT", 0)
    monkeypatch.setattr("vfs.metadata.change_log._PRUNED_AT_ONCE", 3)
    a = drive.put("a").id
    touch(drive, a)
    assert not watching.prune(drive.kelp).more
    for _ in range(6):
        touch(drive, a)
    assert watching.prune(drive.kelp).count > 0


@pytest.mark.skipif(engines.CHOSEN.database != "postgresql", reason="SQLite has one change at a time")
def test_a_change_that_began_first_and_ended_last_is_told(drive: Drive, feed: Feed) -> None:
    slow, quick = drive.put("slow"), drive.put("quick")
    feed.look()
    began, go_on = threading.Event(), threading.Event()

    def change() -> None:
        with drive.kelp.database.write() as tx:
            tx.entries.update(slow.id)
            tx.change_log.note({slow.id})
            tx.one("SELECT 1")  # it has its number now
            began.set()
            go_on.wait(60)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert began.wait(60)
        drive.put("quick", b"other")
        assert ids(feed.look()) == [quick.id]
        drive.put("quick", b"and another")
        assert ids(feed.look()) == [quick.id]
    finally:
        go_on.set()
        thread.join()
    assert ids(feed.look()) == [slow.id]
    assert feed.look() == Changes()
