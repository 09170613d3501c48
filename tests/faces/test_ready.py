"""`/readyz`: what balancers and monitors are told, and how soon, while a part of the drive is away or hangs."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dav_provider.app import make_app
from tests import engines, new_drive
from vfs.bootstrap import build
from vfs.core import Kelp, QueueState
from vfs.errors import NasDown, StoreUnavailable
from vfs.model import Place, Role
from vfs.operations import access, alerts, looks, nas_health, nas_outage, writing
from vfs.operations.alerts import AlertKind


class Part:
    """Stands before a part of the drive: `meet` is called before each of its methods."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.meet: Callable[[], None] = lambda: None
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            self.meet()
            return value(*arguments, **options)

        return call


class StatedQueue:
    def __init__(self) -> None:
        self.now = QueueState()

    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        return

    def state(self) -> QueueState:
        return self.now


class Asked:
    def __init__(self, folder: Path) -> None:
        kelp = build(engines.load(folder / "data", nas_root=folder / "nas"), queue=StatedQueue())
        self.database, self.cache = Part(kelp.database), Part(kelp.cache)
        self.kelp: Kelp = replace(kelp, database=self.database, cache=self.cache)  # type: ignore[arg-type]
        self.app = make_app(self.kelp)

    def ask(self, method: str = "GET", path: str = "/readyz") -> tuple[int, dict[str, str], bytes]:
        seen: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "192.0.2.7", "wsgi.url_scheme": "http"}
        body = b"".join(self.app(environ, lambda status, headers, error=None: seen.append((status, headers))))
        status, headers = seen[0]
        return int(status[:3]), dict(headers), body

    def facts(self) -> tuple[int, dict[str, Any]]:
        time.sleep(1.1)  # what was seen is said again for a second
        status, _, body = self.ask()
        return status, json.loads(body)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(tmp_path)
    with closing(asked.kelp):
        yield asked


@contextmanager
def hanging(part: Part) -> Iterator[None]:
    end = threading.Event()
    part.meet = lambda: end.wait(30) and None  # type: ignore[func-returns-value, assignment]
    try:
        yield
    finally:
        part.meet = lambda: None
        end.set()


def test_a_drive_that_works(asked: Asked) -> None:
    status, headers, body = asked.ask()
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "database": "ok", "cache": "ok", "queue": "ok", "nas": "up",
        "backlog": 0, "backlogSeconds": 0, "failed": 0,
        "cacheRoom": "ok", "nasRoom": "ok", "jobs": "running", "alerts": 0,
    }  # fmt: skip
    assert asked.ask("HEAD") == (200, headers, b"")
    assert asked.ask(path="/readyz?from=balancer")[0] == 200
    assert asked.ask("PUT")[0] == 405


def test_nobody_logs_in_to_ask_and_healthz_asks_no_part(asked: Asked) -> None:
    before = asked.database.calls, asked.cache.calls
    assert asked.ask(path="/healthz")[::2] == (200, b"ok")
    assert (asked.database.calls, asked.cache.calls) == before


def test_the_backlog_is_told(asked: Asked) -> None:
    new_drive.invite(asked.kelp, "admin", Role.ADMIN)
    caller = access.system_caller(asked.kelp, "dav")
    for name in "abc":
        writing.put_file(asked.kelp, caller, Place(1, name), [b"x"])
    facts = asked.facts()[1]
    assert facts["backlog"] == 3 and 0 <= facts["backlogSeconds"] < 60


def test_the_daily_life_of_the_drive_is_told(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """… and makes it not ready in no case: files can be had and given all the same."""
    alerts.open_(asked.kelp, AlertKind.CACHE_NEARLY_FULL, "Salaries.xlsx")
    nas_health.check(asked.kelp)
    later = asked.kelp.clock.now_ns() + 600 * 1_000_000_000
    monkeypatch.setattr(type(asked.kelp.clock), "now_ns", lambda self: later)
    status, facts = asked.facts()
    assert (status, facts["cacheRoom"], facts["alerts"]) == (200, "nearly full", 1)
    assert facts["jobs"].startswith("nobody runs them since 20")
    nas_outage.declare(asked.kelp, NasDown("NAS: Salaries/May.xlsx: No space left", "ENOSPC"))
    status, facts = asked.facts()
    assert (status, facts["nasRoom"]) == (200, "full") and facts["nas"].endswith("(full)")
    assert "Salaries" not in json.dumps(facts)


def test_without_nas_or_queue_changes_are_taken(asked: Asked) -> None:
    nas_outage.declare(asked.kelp, NasDown("NAS: Salaries/May.xlsx: Stale file handle", "ESTALE"))
    asked.kelp.queue.now = QueueState("connection refused by 10.1.2.3", 1_700_000_060_000_000_000)  # type: ignore[attr-defined]
    status, facts = asked.facts()
    assert status == 200
    assert re.fullmatch(r"down since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts["nas"])  # and not why, nor of which file
    assert "Salaries" not in json.dumps(facts)
    assert facts["queue"] == "away since 2023-11-14T22:14:20Z (changes wait in the database)"


@pytest.mark.parametrize("part", ["database", "cache"])
def test_without_database_or_cache_it_is_not_ready(asked: Asked, part: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise StoreUnavailable("host 10.1.2.3 refuses the password s3cret")

    getattr(asked, part).meet = fail
    for _ in range(2):
        status, facts = asked.facts()
        assert (status, facts[part]) == (503, "away")
    assert "s3cret" not in json.dumps(facts)
    assert len(caplog.records) == 1, "one line, however often it is asked"
    getattr(asked, part).meet = lambda: None
    assert asked.facts()[0] == 200


@pytest.mark.parametrize("part", ["database", "cache"])
def test_a_part_that_hangs_keeps_nobody_waiting(asked: Asked, part: str) -> None:
    """One thread hangs in it, however many ask; the others are told at once, once that is known."""
    with hanging(getattr(asked, part)):
        answers = [asked.facts() for _ in range(3)]
        assert [(status, facts[part]) for status, facts in answers] == [(503, "away")] * 3
        assert sum(thread.name == f"ready-{part}" for thread in threading.enumerate()) == 1
    assert asked.facts()[0] == 200


def test_what_took_long_is_not_believed_for_long(asked: Asked) -> None:
    """A database that was slow once, or silent for a while, does not make the drive say for minutes what was then."""

    def slowly() -> None:
        time.sleep(0.3)

    asked.database.meet = slowly
    assert asked.ask()[0] == 200
    asked.database.meet = lambda: None
    nas_outage.declare(asked.kelp, NasDown("gone", "ESTALE"))
    assert asked.facts()[1]["nas"].startswith("down")


def test_what_could_not_be_counted_is_counted_as_soon_as_it_can(asked: Asked) -> None:
    def fail_slowly() -> None:
        time.sleep(0.3)
        raise StoreUnavailable("no answer")

    asked.database.meet = fail_slowly
    assert asked.facts()[1]["backlog"] is None
    asked.database.meet = lambda: None
    assert asked.facts()[1]["backlog"] == 0


def test_however_many_ask_the_parts_are_looked_at_once(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_FRESH", 600.0)
    asked.ask()
    before = asked.database.calls, asked.cache.calls
    for _ in range(20):
        asked.ask()
    assert (asked.database.calls, asked.cache.calls) == before
