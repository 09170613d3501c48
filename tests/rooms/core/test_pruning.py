"""What was kept long enough goes, in small steps; what anything refers to stays."""

from __future__ import annotations

import pytest

from jobs import batches
from tests.rooms.core.drive import Drive
from vfs.operations import alerts, expiring, history, purging, tokens, trashing
from vfs.operations.alerts import AlertKind
from vfs.people import TokenKind

DAY = 86_400


def count(drive: Drive, table: str, where: str = "TRUE") -> int:
    return int(drive.sql(f"SELECT COUNT(*) FROM {table} WHERE {where}")[0][0])


def rounds(drive: Drive, number: int = 4) -> None:
    for _ in range(number):
        batches.run_all(drive.kelp)
        drive.mirror()
        drive.clock.advance(61)


def test_rounds_that_find_nothing_commit_nothing(drive: Drive) -> None:
    drive.folder("f")
    for path in ("f/a", "f/b"):
        drive.put(path, b"1")
    drive.put("f/a", b"2")
    drive.remove("f/b")
    drive.mirror()
    rounds(drive, 6)
    before = drive.kelp.database.version()
    batches.run_all(drive.kelp, [batch for batch in batches.BATCHES if batch.frees and batch.name != "orphans"])
    assert drive.kelp.database.version() == before


def test_history_goes_after_its_days(drive: Drive) -> None:
    for name in "abc":
        drive.put(name, b"old")
    drive.clock.advance(200 * DAY)
    drive.put("d", b"new")
    drive.clock.advance(166 * DAY)
    assert history.forget_history(drive.kelp).count == 3 and count(drive, "file_events") == 1


def test_finished_changes_go_what_failed_stays(drive: Drive) -> None:
    for name in "abc":
        drive.put(name, b"old")
    drive.mirror()
    with drive.kelp.database.write() as tx:
        first = tx.one("SELECT MIN(id) FROM sync_events")[0]
        tx.run("UPDATE sync_events SET status = 'FAILED' WHERE id = :id", id=first)
    drive.clock.advance(29 * DAY)
    drive.put("d", b"new")
    drive.mirror()
    assert history.forget_events(drive.kelp).count == 0
    drive.clock.advance(2 * DAY)
    assert history.forget_events(drive.kelp).count == 2
    assert drive.sql("SELECT status FROM sync_events ORDER BY id") == [("FAILED",), ("DONE",)]
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE sync_events SET status = 'DONE'")


def test_a_wrong_clock_does_not_keep_what_is_behind_it(drive: Drive) -> None:
    """Rows dated to come stand at the head; more than one look takes in."""
    with drive.kelp.database.write() as tx:
        for number in range(700):
            far = drive.clock.now + 10**18 if number < 600 and number % 2 else drive.clock.now
            tx.entries.log(1, "write", 1, "dav", str(number), "t", far)
    drive.clock.advance(400 * DAY)
    assert history.forget_history(drive.kelp).count == 400 and count(drive, "file_events") == 300


def test_many_rows_go_in_small_transactions(drive: Drive) -> None:
    with drive.kelp.database.write() as tx:
        for number in range(1300):
            tx.entries.log(1, "write", 1, "dav", str(number), "t", drive.clock.now)
    drive.clock.advance(400 * DAY)
    rounds = [history.forget_history(drive.kelp)]  # on a slow machine one round has not the time for all of them
    while rounds[-1].more:
        rounds.append(history.forget_history(drive.kelp))
    assert sum(done.count for done in rounds) == 1300


def test_alerts_that_are_over_go_open_ones_stay(drive: Drive) -> None:
    alerts.open_(drive.kelp, AlertKind.NAS_SLOW, "x")
    alerts.open_(drive.kelp, AlertKind.CACHE_AWAY, "x")
    alerts.close(drive.kelp, AlertKind.CACHE_AWAY, "y")
    drive.clock.advance(366 * DAY)
    assert history.forget_alerts(drive.kelp).count == 1
    assert [each.kind for each in alerts.listing(drive.kelp, only_open=False)] == ["NAS_SLOW"]


def test_tokens_that_ended_go_after_thirty_days(drive: Drive) -> None:
    def issue(name: str, days: int | None = None) -> str:
        until = None if days is None else drive.clock.now + days * DAY * 10**9
        return tokens.issue(drive.kelp, drive.editor, name, TokenKind.BEARER, ("read",), expires_ns=until).token.uuid

    issue("for ever"), issue("for days", 5), issue("for months", 100)
    tokens.revoke(drive.kelp, drive.editor, issue("revoked"))
    drive.clock.advance(29 * DAY)
    assert tokens.forget(drive.kelp).count == 0
    drive.clock.advance(2 * DAY)
    assert tokens.forget(drive.kelp).count == 1
    drive.clock.advance(5 * DAY)
    assert tokens.forget(drive.kelp).count == 1
    assert [each.name for each in tokens.list_tokens(drive.kelp, drive.editor)] == ["for ever", "for months"]


def purge_all(drive: Drive) -> None:
    for item in drive.trash():
        trashing.purge(drive.kelp, drive.editor, item.entry.uuid)


def test_rows_of_deleted_files_stay_ninety_days(drive: Drive) -> None:
    drive.folder("f")
    drive.folder("f/g")
    for path in ("f/a", "f/g/b", "kept"):
        drive.put(path, b"1")
        drive.put(path, path.encode())
    drive.mirror()
    drive.clock.advance(100)
    drive.remove("f")
    drive.mirror()
    purge_all(drive)
    rounds(drive)
    assert count(drive, "entries", "state = 'DELETED' AND deleted_ns IS NOT NULL") == 4
    drive.clock.advance(89 * DAY)
    rounds(drive)
    assert count(drive, "entries", "state = 'DELETED'") == 4
    drive.clock.advance(1 * DAY)
    rounds(drive)
    assert count(drive, "entries", "state = 'DELETED'") == 0
    assert drive.read("kept") == b"kept"


def test_what_is_still_in_the_trash_keeps_the_rows_above_it(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/alone", b"stays")
    drive.clock.advance(100)
    drive.remove("f/alone")
    drive.remove("f")
    drive.mirror()
    trashing.purge(drive.kelp, drive.editor, next(i.entry.uuid for i in drive.trash() if i.original_path == "/f"))
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE trash_metadata SET expires_ns = expires_ns + :more", more=400 * DAY * 10**9)
    rounds(drive)
    drive.clock.advance(100 * DAY)
    rounds(drive)
    assert count(drive, "entries", "state = 'DELETED'") == 1
    drive.clock.advance(400 * DAY)
    rounds(drive)
    drive.clock.advance(100 * DAY)
    rounds(drive)
    assert count(drive, "entries", "id <> 1") == 0


def test_what_the_nas_still_has_keeps_its_row(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.mirror()
    drive.clock.advance(100)
    drive.remove("a")
    purge_all(drive)
    purging.spread_deletion(drive.kelp)
    drive.clock.advance(100 * DAY)
    assert purging.forget_deleted(drive.kelp).count == 0, "the mirror has not carried it"
    drive.mirror()
    assert purging.forget_deleted(drive.kelp).count == 1


def test_a_big_purged_folder_follows_in_small_steps(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_LIMIT", 3)
    monkeypatch.setattr(purging, "_ROUND", 0.0)
    drive.folder("f")
    for number in range(5):
        drive.folder(f"f/{number}")
        drive.put(f"f/{number}/x", b"1")
    drive.clock.advance(100)
    drive.remove("f")
    purge_all(drive)
    steps = 0
    while purging.spread_deletion(drive.kelp).more:
        steps += 1
    assert steps > 4 and count(drive, "entries", "state = 'DELETED' AND deleted_ns IS NOT NULL") == 11


def test_trash_of_thousands_expires_in_rounds(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring, "LIMIT", 2)
    for name in "abcde":
        drive.put(name, name.encode())
    drive.clock.advance(100)
    for name in "abcde":
        drive.remove(name)
    drive.clock.advance(31 * DAY)
    outcomes = [expiring.expire_trash(drive.kelp) for _ in range(3)]
    assert [(done.count, done.bytes, done.more) for done in outcomes] == [(2, 2, True), (2, 2, True), (1, 1, False)]
    assert drive.trashed() == []


def test_names_are_forgotten_after_an_hour(drive: Drive) -> None:
    drive.put("a", b"1")
    drive.clock.advance(100)
    drive.remove("a")
    drive.clock.advance(3500)
    assert expiring.forget_names(drive.kelp).count == 0
    drive.clock.advance(200)
    assert expiring.forget_names(drive.kelp).count == 1 and count(drive, "name_memory") == 0
