"""A request from its head to the end of its answer: timed and counted for `/metrics`, and the root of its spans."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from dav_provider.request import Answer, Headers, StartResponse, send
from vfs import metrics, trace

_METHODS = frozenset(
    """OPTIONS GET HEAD PUT PROPFIND PROPPATCH MKCOL DELETE COPY MOVE LOCK UNLOCK POST PATCH REPORT SEARCH""".split()
)
_FAILED = 500


class Counted(trace.Work):
    """One request; `end` is called once, by whoever knows that its answer has ended."""

    __slots__ = ("_begun", "status")

    def __init__(self, method: str) -> None:
        super().__init__(trace.new_id("dav"), "dav", method)
        self.status = _FAILED  # until somebody says otherwise
        self._begun = perf_counter()

    def whole(self, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
        """Send an answer that is made."""
        self.status = answer.status
        body = send(answer, self.method, start_response, self.trace_id)
        self.end()
        return body

    def end(self) -> None:
        method, status = self.method, self.status
        label = method if method in _METHODS else "other"
        metrics.REQUESTS.note(label, status, perf_counter() - self._begun)
        if self.span_id:
            trace.done(self, label, "" if status < _FAILED else str(status), status=status)

    def listening(self, start_response: StartResponse) -> StartResponse:
        """The same `start_response`, which notes the status: of an answer that WsgiDAV gives."""

        def listen(status: str, headers: Headers, exc_info: Any = None) -> Any:
            self.status = int(status[:3])
            return start_response(status, headers, exc_info)

        return listen
