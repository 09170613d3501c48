"""A request from its head to the end of its answer: timed and counted for `/metrics`, and the root of its spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from dav_provider.request import Answer, Headers, StartResponse, send
from vfs import metrics, trace

_METHODS = frozenset(
    """OPTIONS GET HEAD PUT PROPFIND PROPPATCH MKCOL DELETE COPY MOVE LOCK UNLOCK POST PATCH REPORT SEARCH""".split()
)
_FAILED = 500

_notes: dict[tuple[str, int], Callable[[float], None]] = {}  # by method and status: labels cost more than counting


class Counted:
    """One request; `end` is called once, by whoever knows that its answer has ended."""

    __slots__ = ("_begun", "status", "work")

    def __init__(self, work: trace.Work) -> None:
        self.work = work
        self.status = _FAILED  # until somebody says otherwise
        self._begun = time.perf_counter()

    def whole(self, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
        """Send an answer that is made."""
        self.status = answer.status
        try:
            return send(answer, self.work.method, start_response, self.work.trace_id)
        finally:
            self.end()

    def end(self) -> None:
        work, status = self.work, self.status
        seconds = time.perf_counter() - self._begun
        label = work.method if work.method in _METHODS else "other"
        note = _notes.get((label, status))
        if note is None:
            note = _notes[label, status] = _note_for(label, status)
        note(seconds)
        if work.span_id:
            trace.done(work, label, "" if status < _FAILED else str(status), status=status)

    def listening(self, start_response: StartResponse) -> StartResponse:
        """The same `start_response`, which notes the status: of an answer that WsgiDAV gives."""

        def listen(status: str, headers: Headers, exc_info: Any = None) -> Any:
            self.status = int(status[:3])
            return start_response(status, headers, exc_info)

        return listen


def _note_for(method: str, status: int) -> Callable[[float], None]:
    seconds = metrics.REQUEST_SECONDS.labels(method)
    count = metrics.RESPONSES.labels(method, f"{status // 100}xx")

    def note(took: float) -> None:
        seconds.observe(took)
        count.inc()

    return note
