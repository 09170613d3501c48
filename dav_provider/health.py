"""`/healthz`: the process lives. `/readyz`: the drive takes and gives files; for balancers, monitors and people.

Nobody logs in to ask, so the answers hold no names of hosts and files and no secrets; those are in the log.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial

from dav_provider.request import Answer, text_answer
from vfs import turns
from vfs.core import Kelp, QueueState
from vfs.operations import readiness
from vfs.operations.looks import PATIENCE, Look
from vfs.operations.nas_health import Feeling
from vfs.operations.readiness import Backlog, State

HEALTHY, READY = "/healthz", "/readyz"
_AWAY = "away"
_REST = 20.0  # times as long as it took the backlog is not counted again


class Health:
    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._database = Look("database", partial(readiness.ask_database, kelp))
        self._cache = Look("cache", partial(readiness.ask_cache, kelp))
        self._state = Look("state of the drive", partial(readiness.ask_state, kelp), tells=False)
        self._backlog = Look("backlog", partial(readiness.ask_backlog, kelp), rest=_REST, tells=False)

    def answer(self, path: str, method: str) -> Answer:
        if path == HEALTHY:
            return Answer(200, [("Content-Type", "text/plain")], b"ok")
        if method not in ("GET", "HEAD"):
            return text_answer(405, f"{method} is not supported here", ("Allow", "GET, HEAD"))
        return self._readiness()

    def _readiness(self) -> Answer:
        until = time.monotonic() + PATIENCE
        for look in (self._database, self._cache, self._state, self._backlog):
            look.begin()
        with turns.waiting():
            database, cache = self._database.result(until), self._cache.result(until)
            state, backlog = self._state.result(until), self._backlog.result(until)
        parts = {
            "database": "ok" if database else _AWAY,
            "cache": "ok" if cache else _AWAY,
            "queue": _queue_in_words(self._kelp.queue.state()),
            "nas": _nas_in_words(state[0]) if state else _UNKNOWN,
            **(_counted(backlog[0]) if backlog else _UNCOUNTED),
            **(_in_words(state[0]) if state else _NOTHING_KNOWN),
        }
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        ready = database is not None and cache is not None
        if not ready:
            headers.append(("Retry-After", "5"))
        return Answer(200 if ready else 503, headers, json.dumps(parts, ensure_ascii=False).encode() + b"\n")


# While the database does not answer: it is where all of this is noted, whatever was true before it went.
_UNKNOWN = "unknown"
_UNCOUNTED = dict.fromkeys(("backlog", "backlogSeconds", "failed"))
_NOTHING_KNOWN: dict[str, object] = {
    **dict.fromkeys(("cacheRoom", "nasRoom", "jobs"), _UNKNOWN),
    "alerts": None,
}


def _counted(backlog: Backlog) -> dict[str, object]:
    return {
        "backlog": backlog.waiting.pending + backlog.waiting.processing,
        "backlogSeconds": backlog.oldest_seconds,
        "failed": backlog.waiting.failed,
    }


def _in_words(state: State) -> dict[str, object]:
    return {
        "cacheRoom": state.cache_room,
        "nasRoom": state.nas_room,
        "jobs": f"nobody runs them since {_time(state.silent_ns)}" if state.silent_ns else "running",
        "alerts": state.alerts,
    }


def _queue_in_words(state: QueueState) -> str:
    return f"away since {_time(state.since_ns)} (changes wait in the database)" if state.away else "ok"


def _nas_in_words(state: State) -> str:
    """Without the reason, which names folders and files of people: `kelp status` tells it."""
    feeling, since = state.health.feeling, _time(state.health.since_ns)
    if feeling is Feeling.DOWN:
        return f"down since {since}{' (full)' if state.nas_room == 'full' else ''}"
    return f"slow since {since}" if feeling is Feeling.SLOW else "up"


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
