"""`kelp alerts` and `kelp gc` against a real drive."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.rooms.test_cli import Run, drive, put, run, someone
from tests.services.child import free_port
from tests.services.told import mail_server, web_server
from vfs.core import Kelp
from vfs.model import ROOT_ID, Caller, Place
from vfs.operations import alerts, trashing
from vfs.operations.alerts import AlertKind

__all__ = ["drive", "run", "someone"]  # fixtures


def test_open_alerts_are_listed_and_closed(run: Run, drive: Kelp) -> None:
    assert run("alerts").rows == []
    alerts.open_(drive, AlertKind.NAS_DOWN, "the NAS is down: ESTALE")
    alerts.open_(drive, AlertKind.CONTENT_LOST, "gone", subject="c0ffee")
    (lost, down) = run("alerts").rows
    assert lost[2] == "CONTENT_LOST (c0ffee)" and down[1:4] == ["error", "NAS_DOWN", "1"]
    assert down[-1] == "the NAS is down: ESTALE"
    assert run("alerts", "--close", down[0]).code == 0
    assert len(run("alerts").rows) == 1 and len(run("alerts", "--all").rows) == 2
    facts = json.loads(run("alerts", "--all", "--json").out)
    assert [each["kind"] for each in facts] == ["CONTENT_LOST", "NAS_DOWN"] and facts[0]["closedNs"] is None
    again = run("alerts", "--close", down[0])
    assert again.code == 1 and "no open alert" in again.err


def test_the_test_says_what_is_wrong(run: Run, drive: Kelp, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run("alerts", "--test")
    assert answer.code == 0 and "set alerts.mail_to" in answer.out
    with mail_server() as mail, web_server() as web:
        monkeypatch.setenv("KELP_ALERTS_MAIL_TO", "a@example.org")
        monkeypatch.setenv("KELP_ALERTS_SMTP", f"smtp://{mail.url}")
        monkeypatch.setenv("KELP_ALERTS_WEBHOOK", f"{web.url}/hush")
        answer = run("alerts", "--test")
        assert answer.code == 0 and answer.out == "mail to a@example.org: sent\nwebhook to 127.0.0.1: sent\n"
        assert len(mail.mails) == 1 and web.posts[0]["event"] == "test"
        monkeypatch.setenv("KELP_ALERTS_WEBHOOK", f"http://127.0.0.1:{free_port()}/hush")
        answer = run("alerts", "--test")
        assert answer.code == 1 and "efused" in answer.err and "hush" not in answer.err
        facts = json.loads(run("alerts", "--test", "--json").out)
        assert facts[0] == {"sink": "mail", "target": "a@example.org", "error": None} and facts[1]["error"]
    assert run("alerts", "--test", "--close", "x").code == 2


def test_gc_frees_at_once_and_says_what(run: Run, drive: Kelp, someone: Caller, tmp_path: Path) -> None:
    put(drive, someone, "a", b"12345")
    trashing.remove(drive, someone, Place(ROOT_ID, "a"))
    with drive.database.write() as tx:
        tx.run("UPDATE trash_metadata SET expires_ns = 1")
    for key, age in (("9f1b5cb0-0000-4000-8000-000000000001", 2 * 3600), ("9f1b5cb0-0000-4000-8000-000000000002", 60)):
        drive.cache.put(key, [b"orphan"])
        for path in (tmp_path / "data" / "cache").rglob(f"{key}*"):
            os.utime(path, (time.time() - age,) * 2)
    facts = json.loads(run("gc", "--json").out)
    assert facts["trash"] == {"count": 1, "bytes": 5} and facts["orphans"] == {"count": 1, "bytes": 6}
    assert facts["free"]["count"] == 0, "what was deleted just now may still be read"
    answer = run("gc")
    assert answer.code == 0 and "trash items expired: 0\n" in answer.out and "orphans removed: 0\n" in answer.out
    drive.cache.delete("9f1b5cb0-0000-4000-8000-000000000002")
