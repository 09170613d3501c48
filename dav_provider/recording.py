"""Records what a client sends and what it gets, anonymised, as a text that the replay tests play back.

A WSGI layer around the whole application: bodies pass through as streams, only small XML is looked at. Requests that
are no HTTP never come here. The format is described in tests/faces/replay_format.py.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dav_provider.http_body import PIECE_SIZE, Body
from dav_provider.paths import MOUNT
from dav_provider.recorded_exchange import Exchange, Session
from dav_provider.request import Environ, Headers, StartResponse, WsgiApp
from vfs.web.contents import close

_log = logging.getLogger(__name__)

_KEPT = 64 * 1024  # bytes of a body that are looked at
_WAITING = 200  # exchanges that wait for a slow one, at most


class Recorder:
    """Appends to one file, for one process. Safe to use from many threads.

    Exchanges are written in the order in which their answers began, so what a client knew when it asked stands before
    it, and of what clients did at once the change that was made first.
    """

    def __init__(self, file: Path) -> None:
        """Raises OSError when the file cannot be written."""
        self._file = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8")
        self._session = Session(secrets.token_bytes(16), MOUNT[0])
        self._guard = threading.Lock()
        self._numbers = itertools.count()
        self._running: set[int] = set()
        self._ended: dict[int, Exchange] = {}  # that wait for one which began before them
        self._file.write("# A recording by `kelp serve --record`.\n")

    def around(self, app: WsgiApp) -> WsgiApp:
        def recorded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            body = environ["wsgi.input"]
            heard = _Overheard(body) if isinstance(body, Body) else None
            if heard is not None:
                environ["wsgi.input"] = heard
            fields = {key: value for key, value in environ.items() if isinstance(value, str)}
            chunked = bool(environ.get("wsgi.input_terminated"))

            def done(number: int, status: str, headers: Headers, said: bytes) -> None:
                self._end(number, Exchange(fields, chunked, heard, status, headers, said))

            return _Answer(app, environ, start_response, self._begin, done)

        return recorded

    def _begin(self) -> int:
        with self._guard:
            number = next(self._numbers)
            self._running.add(number)
            return number

    def _end(self, number: int, exchange: Exchange) -> None:
        """Whatever a client sent, its request is never harmed by being recorded."""
        with self._guard:
            self._running.discard(number)
            self._ended[number] = exchange
            for each in sorted(self._ended):
                if self._running and each > min(self._running) and len(self._ended) < _WAITING:
                    break
                try:
                    self._file.write(self._session.step(self._ended.pop(each)))
                    self._file.flush()
                except Exception as error:
                    _log.warning("an exchange could not be recorded: %s: %s", type(error).__name__, error)


class _Overheard(Body):
    """The same body; it notes how much came, and the first of it."""

    def __init__(self, inner: Body) -> None:
        super().__init__(_Nothing())
        self._inner = inner
        self.complete, self.broken = inner.complete, inner.broken
        self.received = 0
        self.first = b""

    def read(self, size: int = PIECE_SIZE) -> bytes:
        try:
            data = self._inner.read(size)
        finally:
            self.complete, self.broken = self._inner.complete, self._inner.broken
        self.received += len(data)
        if len(self.first) < _KEPT:
            self.first += data[: _KEPT - len(self.first)]
        return data

    @property
    def was_asked_for(self) -> bool:
        return self._inner.was_asked_for


class _Nothing:
    def read(self, size: int, /) -> bytes:
        return b""

    readline = read


class _Answer(Iterator[bytes]):
    """The application's answer; at its end the exchange is complete."""

    def __init__(
        self,
        app: WsgiApp,
        environ: Environ,
        start_response: StartResponse,
        begun: Callable[[], int],
        done: Callable[[int, str, Headers, bytes], None],
    ) -> None:
        self._number: int | None = None
        self._status, self._said = "", b""
        self._headers: Headers = []
        self._start_response, self._begun, self._done = start_response, begun, done
        self._source = app(environ, self._begin)
        self._pieces = iter(self._source)

    def _begin(self, status: str, headers: Headers, *error: Any) -> Any:
        if self._number is None:
            self._number = self._begun()
        self._status, self._headers = status, list(headers)
        return self._start_response(status, headers, *error)

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        if len(self._said) < _KEPT:
            self._said += bytes(piece[: _KEPT - len(self._said)])
        return piece

    def close(self) -> None:
        close(self._source)
        if self._number is not None:
            self._done(self._number, self._status, self._headers, self._said)
            self._number = None
