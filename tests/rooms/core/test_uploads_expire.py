"""Multipart uploads that nobody ended. Their rows are made by hand: the face that makes them comes later."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.rooms.core.drive import SECOND, Drive
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, StoreUnavailable
from vfs.model import ROOT_ID
from vfs.operations import alerts, session_expiry

HOUR = 3600
DAY = 24 * HOUR


class Uploads:
    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.kelp = drive.kelp

    def begin(self, parts: int = 2, *, lives: float = 72 * HOUR, status: str = "UPLOADING", rows: bool = True) -> str:
        """An upload with so many parts of ten bytes; its content id. `rows` False: killed before they were recorded."""
        content_id = str(uuid.uuid4())
        now = self.drive.clock.now
        with self.kelp.database.write() as tx:
            id = tx.insert(
                """INSERT INTO upload_sessions (uuid, content_id, folder_id, name, size, mime_type, on_conflict, status,
                                                trace_id, created_ns, expires_ns)
                   VALUES (:uuid, :content, :folder, 'big.bin', 100, '', 'ERROR', :status, 't', :now, :expires)""",
                uuid=str(uuid.uuid4()), content=content_id, folder=ROOT_ID, status=status, now=now,
                expires=now + int(lives * SECOND),
            )  # fmt: skip
            for number in range(parts if rows else 0):
                tx.run(
                    """INSERT INTO upload_parts (session_id, number, object_key, size, checksum, created_ns)
                       VALUES (:id, :number, :key, 10, 'x', :now)""",
                    id=id, number=number, key=f"{content_id}.{number:06}", now=now,
                )  # fmt: skip
        for number in range(parts):
            self.kelp.cache.put(f"{content_id}.{number:06}", [b"0123456789"])
        return content_id

    def status(self, content_id: str) -> tuple[str, bool, int]:
        """(status, are its parts gone, rows of parts)."""
        with self.kelp.database.read() as tx:
            row = tx.one(
                """SELECT status, cleaned_ns, (SELECT COUNT(*) FROM upload_parts p WHERE p.session_id = s.id)
                   FROM upload_sessions s WHERE content_id = :id""",
                id=content_id,
            )
        return row[0], row[1] is not None, row[2]

    def objects(self, content_id: str) -> int:
        return len(list(self.kelp.cache.list(content_id)))

    def open_alerts(self) -> list[tuple[str, str]]:
        return [(each.kind, each.message) for each in alerts.listing(self.kelp)]


@pytest.fixture
def uploads(drive: Drive) -> Iterator[Uploads]:
    yield Uploads(drive)


class Faulty:
    """A cache whose `delete` or `list` does what a test wants."""

    def __init__(self, inner: Any, method: str, fault: Any) -> None:
        self._inner, self._method, self._fault = inner, method, fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def call(*arguments: Any) -> Any:
            self._fault(*arguments)
            return found(*arguments)

        return call


def faulty(kelp: Kelp, method: str, fault: Any) -> Kelp:
    return replace(kelp, cache=Faulty(kelp.cache, method, fault))


def test_what_nobody_ended_expires_and_its_parts_go(uploads: Uploads) -> None:
    sent, begun = uploads.begin(3), uploads.begin(0, lives=DAY, status="INIT")
    fresh = uploads.begin(2, lives=200 * HOUR)
    uploads.drive.clock.advance(71 * HOUR)
    done = session_expiry.expire(uploads.kelp)
    assert (done.count, done.bytes) == (1, 0) and uploads.status(begun) == ("EXPIRED", True, 0)
    uploads.drive.clock.advance(HOUR)
    done = session_expiry.expire(uploads.kelp)
    assert (done.count, done.bytes) == (1, 30) and uploads.status(sent) == ("EXPIRED", True, 0)
    assert uploads.objects(sent) == 0
    assert uploads.status(fresh) == ("UPLOADING", False, 2) and uploads.objects(fresh) == 2
    before = uploads.kelp.database.version()
    assert session_expiry.expire(uploads.kelp).count == 0 and uploads.kelp.database.version() == before


def test_what_was_ended_otherwise_stays_as_it_is(uploads: Uploads) -> None:
    completed = uploads.begin(1, lives=1, status="COMPLETED")
    aborted = uploads.begin(2, lives=1, status="ABORTED")
    uploads.drive.clock.advance(2)
    assert session_expiry.expire(uploads.kelp).bytes == 20
    assert uploads.status(completed)[0] == "COMPLETED" and uploads.objects(completed) == 1
    assert uploads.status(aborted) == ("ABORTED", True, 0) and uploads.objects(aborted) == 0


def test_objects_of_a_content_are_never_taken(uploads: Uploads) -> None:
    """Whatever the session says."""
    uploads.drive.put("a", b"bytes")
    content = uploads.drive.entry("a").content_id
    uploads.begin(0, lives=-1)
    with uploads.kelp.database.write() as tx:
        tx.run("UPDATE upload_sessions SET content_id = :id", id=content)
    assert session_expiry.expire(uploads.kelp).bytes == 0
    assert uploads.drive.read("a") == b"bytes"


def test_a_hundred_a_round(uploads: Uploads) -> None:
    for _ in range(130):
        uploads.begin(0, lives=-1)
    assert session_expiry.expire(uploads.kelp).count == 100
    assert session_expiry.expire(uploads.kelp).count == 30


def test_what_failed_is_tried_again_and_many_failures_are_told(uploads: Uploads) -> None:
    ids = [uploads.begin(1, lives=-1) for _ in range(12)]
    bad = set(ids)

    def fault(key: str) -> None:
        if key.partition(".")[0] in bad:
            raise ContentCorrupt("cannot be deleted")

    broken = faulty(uploads.kelp, "delete", fault)
    assert session_expiry.expire(broken).count == 0
    assert all(uploads.status(id) == ("EXPIRED", False, 1) for id in ids)
    assert uploads.open_alerts() == [
        ("CLEANUP_FAILED", "the parts of 12 expired uploads could not be removed: cannot be deleted")
    ]
    bad -= set(ids[:5])
    assert session_expiry.expire(broken).count == 5 and len(uploads.open_alerts()) == 1
    bad.clear()
    assert session_expiry.expire(broken).bytes == 70 and uploads.open_alerts() == []
    assert not any(uploads.objects(id) for id in ids)


def test_a_cache_that_is_away_is_asked_once(uploads: Uploads) -> None:
    for _ in range(20):
        uploads.begin(1, lives=-1)
    asked: list[str] = []

    def fault(prefix: str = "") -> None:
        asked.append(prefix)
        raise StoreUnavailable("away")

    assert session_expiry.expire(faulty(uploads.kelp, "list", fault)).count == 0
    assert len(asked) == 1 and len(uploads.open_alerts()) == 1
    assert session_expiry.expire(uploads.kelp).count == 20


def test_a_cache_that_hangs_is_left_after_some_seconds(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_expiry, "_CALL", 0.2)
    held = threading.Event()
    hung = uploads.begin(2, lives=-1)
    assert session_expiry.expire(faulty(uploads.kelp, "delete", lambda key: held.wait(60))).count == 0
    held.set()
    monkeypatch.setattr(session_expiry, "_CALL", 60.0)
    assert uploads.status(hung) == ("EXPIRED", False, 2)
    assert session_expiry.expire(uploads.kelp).count == 1 and uploads.objects(hung) == 0


def test_killed_in_the_middle(uploads: Uploads) -> None:
    hung = uploads.begin(3, lives=-1)
    count = 0

    def die(key: str) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session_expiry.expire(faulty(uploads.kelp, "delete", die))
    assert uploads.status(hung) == ("EXPIRED", False, 3) and uploads.objects(hung) == 2
    assert session_expiry.expire(uploads.kelp).bytes == 20 and uploads.status(hung) == ("EXPIRED", True, 0)


def test_a_part_that_comes_while_it_expires_keeps_it(uploads: Uploads) -> None:
    here = uploads.begin(1, lives=-1)
    with uploads.kelp.database.read() as tx:
        due = tx.uploads.expired(uploads.drive.clock.now, 10)
    with uploads.kelp.database.write() as tx:
        tx.run("UPDATE upload_sessions SET expires_ns = :later", later=uploads.drive.clock.now + DAY * SECOND)
    session_expiry._expire_one(uploads.kelp, due[0], uploads.drive.clock.now)
    assert uploads.status(here)[0] == "UPLOADING"


# --- reminders ---


@pytest.fixture
def reminding(uploads: Uploads) -> Uploads:
    settings = uploads.kelp.settings
    told = replace(settings.alerts, webhook="http://127.0.0.1:1/")
    uploads.kelp = replace(uploads.kelp, settings=replace(settings, alerts=told))
    return uploads


def test_six_hours_before_there_is_one_reminder(reminding: Uploads) -> None:
    reminding.begin(2)
    reminding.drive.clock.advance(65 * HOUR)
    session_expiry.expire(reminding.kelp)
    assert reminding.open_alerts() == []
    reminding.drive.clock.advance(2 * HOUR)
    for _ in range(2):
        session_expiry.expire(reminding.kelp)
    ((kind, message),) = reminding.open_alerts()
    assert kind == "UPLOAD_EXPIRES" and "'big.bin'" in message and "20 of 100 bytes" in message
    reminding.drive.clock.advance(6 * HOUR)
    session_expiry.expire(reminding.kelp)
    assert reminding.open_alerts() == []


def test_an_upload_that_goes_on_is_reminded_of_anew(reminding: Uploads) -> None:
    reminding.begin(2)
    reminding.drive.clock.advance(67 * HOUR)
    session_expiry.expire(reminding.kelp)
    with reminding.kelp.database.write() as tx:
        tx.run("UPDATE upload_sessions SET expires_ns = :ns", ns=reminding.drive.clock.now + 72 * HOUR * SECOND)
    session_expiry.expire(reminding.kelp)
    assert reminding.open_alerts() == []
    reminding.drive.clock.advance(67 * HOUR)
    session_expiry.expire(reminding.kelp)
    assert len(reminding.open_alerts()) == 1 and len(alerts.listing(reminding.kelp, only_open=False)) == 2


def test_without_sinks_nobody_is_reminded(uploads: Uploads) -> None:
    uploads.begin(2)
    uploads.drive.clock.advance(67 * HOUR)
    session_expiry.expire(uploads.kelp)
    assert uploads.open_alerts() == []


def test_rows_of_ended_uploads_go_after_a_month(uploads: Uploads) -> None:
    expired, completed = uploads.begin(1), uploads.begin(0, status="COMPLETED")
    running = uploads.begin(1, lives=400 * DAY)
    uploads.drive.clock.advance(4 * DAY)
    session_expiry.expire(uploads.kelp)
    assert session_expiry.forget(uploads.kelp).count == 0
    uploads.drive.clock.advance(30 * DAY)
    assert session_expiry.forget(uploads.kelp).count == 2
    with uploads.kelp.database.read() as tx:
        assert [row[0] for row in tx.all("SELECT content_id FROM upload_sessions")] == [running]
    assert expired != completed
