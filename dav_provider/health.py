"""`/healthz`: the process lives. `/readyz`: the drive takes and gives files; for balancers, monitors and people.

Nobody logs in to ask, so the answers hold no names of hosts and files and no secrets; those are in the log.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

from dav_provider.request import Answer, text_answer
from vfs import trace, turns
from vfs.core import Kelp, QueueState
from vfs.errors import KelpError
from vfs.operations import readiness
from vfs.operations.nas_state import NasState

_log = logging.getLogger(__name__)

_FRESH = 1.0  # seconds that what was seen is said again, however many ask
_PATIENCE = 2.5  # seconds after which a part counts as away; nobody is kept waiting longer
_AWAY = "away"

T = TypeVar("T")


class Health:
    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._database = _Look("database", partial(readiness.ask_database, kelp))
        self._cache = _Look("cache", partial(readiness.ask_cache, kelp))

    def answer(self, target: str, method: str) -> Answer | None:
        """The answer when `target`, a request's, is one of ours."""
        path = target.partition("?")[0]
        if path == "/healthz":
            return Answer(200, [("Content-Type", "text/plain")], b"ok")
        if path != "/readyz":
            return None
        if method not in ("GET", "HEAD"):
            return text_answer(405, f"{method} is not supported here", ("Allow", "GET, HEAD"))
        return self._readiness()

    def _readiness(self) -> Answer:
        until = time.monotonic() + _PATIENCE
        self._database.begin()
        self._cache.begin()
        with turns.waiting():
            known, cache = self._database.result(until), self._cache.result(until)
        parts = {
            "database": "ok" if known else _AWAY,
            "cache": "ok" if cache else _AWAY,
            "queue": _queue_in_words(self._kelp.queue.state()),
            "nas": _nas_in_words(known[0].nas) if known else "unknown",
            "backlog": known[0].waiting if known else None,
        }
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        ready = known is not None and cache is not None
        if not ready:
            headers.append(("Retry-After", "5"))
        return Answer(200 if ready else 503, headers, json.dumps(parts, ensure_ascii=False).encode() + b"\n")


class _Look(Generic[T]):
    """What one part says, asked in a thread of its own, by one at a time: the part may hang for long."""

    def __init__(self, part: str, ask: Callable[[], T]) -> None:
        self._part, self._ask = part, ask
        self._changed = threading.Condition()
        self._asked: float | None = None  # monotonic: since when an answer is waited for
        self._seen_at = float("-inf")
        self._seen: tuple[T] | None = None  # None: away
        self._told = False  # … and the log says so: once, however long it lasts

    def begin(self) -> None:
        """Ask, unless somebody does, or did just now."""
        with self._changed:
            now = time.monotonic()
            if self._asked is None and now - self._seen_at > _FRESH:
                self._asked = now
                threading.Thread(target=self._run, name=f"ready-{self._part}", daemon=True).start()

    def result(self, until: float) -> tuple[T] | None:
        """What it said, or None when it is away, or has not answered `until` then (time.monotonic)."""
        with self._changed:
            if self._asked is not None:
                limit = min(until, self._asked + _PATIENCE) - time.monotonic()
                self._changed.wait_for(lambda: self._asked is None, max(limit, 0.0))
            return self._seen if self._asked is None else None

    def _run(self) -> None:
        seen: tuple[T] | None = None
        try:
            with trace.under(trace.new_id("ready")):
                seen = (self._ask(),)
        except Exception as error:
            if not self._told:
                unforeseen = None if isinstance(error, KelpError) else error
                _log.warning("not ready, the %s is away: %s", self._part, error, exc_info=unforeseen)
        finally:
            self._told = seen is None
            with self._changed:
                self._asked, self._seen, self._seen_at = None, seen, time.monotonic()
                self._changed.notify_all()


def _queue_in_words(state: QueueState) -> str:
    return f"away since {_time(state.since_ns)} (changes wait in the database)" if state.away else "ok"


def _nas_in_words(state: NasState) -> str:
    """Without the reason, which names folders and files of people: `kelp status` tells it."""
    return "up" if state.up else f"down since {_time(state.since_ns)}{' (full)' if state.full else ''}"


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
