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
from vfs.operations.nas_state import NasState

HEALTHY, READY = "/healthz", "/readyz"
_AWAY = "away"


class Health:
    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._database = Look("database", partial(readiness.ask_database, kelp))
        self._cache = Look("cache", partial(readiness.ask_cache, kelp))

    def answer(self, path: str, method: str) -> Answer:
        if path == HEALTHY:
            return Answer(200, [("Content-Type", "text/plain")], b"ok")
        if method not in ("GET", "HEAD"):
            return text_answer(405, f"{method} is not supported here", ("Allow", "GET, HEAD"))
        return self._readiness()

    def _readiness(self) -> Answer:
        until = time.monotonic() + PATIENCE
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


def _queue_in_words(state: QueueState) -> str:
    return f"away since {_time(state.since_ns)} (changes wait in the database)" if state.away else "ok"


def _nas_in_words(state: NasState) -> str:
    """Without the reason, which names folders and files of people: `kelp status` tells it."""
    return "up" if state.up else f"down since {_time(state.since_ns)}{' (full)' if state.full else ''}"


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
