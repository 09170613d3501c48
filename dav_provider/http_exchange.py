"""One request and its answer on a connection: from a parsed head through the WSGI application to the socket.

Refused bodies are never read into memory, 100-continue is sent when somebody wants the body, and a small answer is
one packet.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from dav_provider.http_body import Body, ChunkedBody, SizedBody
from dav_provider.http_fields import Head
from dav_provider.http_streams import BodyStream, LostError, Wire
from dav_provider.paths import origin_form
from dav_provider.request import Environ, Headers, WsgiApp, logged

_log = logging.getLogger(__name__)

SERVER_NAME = "Kelp"
_DRAINED = 64 * 1024  # bytes of a refused body that are read to keep the connection
_JOINED = 64 * 1024  # bytes of a body's piece that goes out together with the head; joining copies
_BODILESS = (204, 304)


class Exchange:
    """Used once. `ahead` is what came after the head already."""

    def __init__(self, wire: Wire, head: Head, ahead: bytes, closing: Callable[[], bool]) -> None:
        """`closing`: whether connections end with their next answer, whatever the client wishes."""
        self._wire = wire
        self._head = head
        wish = head.fields.get("HTTP_CONNECTION", "").lower()
        self._closing = closing
        self._close = "close" in wish or (not head.minor and "keep-alive" not in wish)
        self._expects = bool(head.minor) and head.fields.get("HTTP_EXPECT", "").lower() == "100-continue"
        self._stream: BodyStream | None = None
        self._ahead = ahead
        self._body = self._open_body()
        self._status = ""
        self._headers: Headers = []
        self._sent = False  # the head of the answer
        self._left: int | None = None  # bytes of the answer that its Content-Length still promises
        self._chunks = False
        self._bodiless = False

    def _open_body(self) -> Body:
        head = self._head
        ask = self._continue if self._expects else _nothing
        if not head.chunked and head.length <= len(self._ahead):  # small bodies mostly come with their head
            here, self._ahead = self._ahead[: head.length], self._ahead[head.length :]
            return SizedBody(io.BytesIO(here), head.length, ask)
        self._stream = BodyStream(self._wire, self._ahead)
        return ChunkedBody(self._stream, ask) if head.chunked else SizedBody(self._stream, head.length, ask)

    def _continue(self) -> None:
        self._wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def run(self, app: WsgiApp, environ: Environ) -> bool:
        """Serve it; `environ` holds what is the same for all requests of the connection. True: another may follow."""
        head = self._head
        path = origin_form(head.target).partition("?")
        environ = {
            **environ,
            **head.fields,
            "REQUEST_METHOD": head.method,
            "REQUEST_URI": head.target,
            "PATH_INFO": unquote_to_bytes(path[0]).decode("latin-1") if "%" in path[0] else path[0],
            "QUERY_STRING": path[2],
            "SERVER_PROTOCOL": "HTTP/1.1" if head.minor else "HTTP/1.0",
            "wsgi.input": self._body,
            "wsgi.input_terminated": head.chunked,
        }
        try:
            self._send_all(app(environ, self._start_response))
        except LostError as error:
            _log.debug("%s %s: %s", head.method, logged(environ, head.target), error)
            return False
        except ConnectionAbortedError as error:  # the application cannot complete what it began
            _log.info("%s %s: %s", head.method, logged(environ, head.target), error)
            return False
        except Exception:
            _log.exception("%s %s failed", head.method, logged(environ, head.target))
            if not self._sent:
                self._wire.send(plain_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here."))
            return False
        return self._leave_clean()

    @property
    def rest(self) -> bytes:
        """What came after the request: the beginning of the next one."""
        return self._stream.rest() if self._stream is not None else self._ahead

    @property
    def client_may_be_sending(self) -> bool:
        """Whether a body is still on its way, which would destroy the answer if the connection just ended."""
        body = self._body
        return not (body.complete or body.broken or (self._expects and not body.was_asked_for))

    def _leave_clean(self) -> bool:
        """Bring the connection to the next request; False when it has to end."""
        if self._close:
            return False
        if not self._body.complete and not (self._may_stay() and self._body.drain(_DRAINED)):
            self._close = True
        return not self._close

    def _may_stay(self) -> bool:
        """Whether the rest of the body, if any, is small enough to be read for the next request's sake."""
        body = self._body
        if body.complete:
            return True
        if body.broken or (self._expects and not body.was_asked_for):
            return False  # whether the body still comes is then not known (RFC 9110 §10.1.1)
        return isinstance(body, SizedBody) and body.remaining <= _DRAINED

    # --- the answer -------------------------------------------------------------------------------

    def _start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """WSGI's (PEP 3333)."""
        if self._sent and exc_info:
            raise exc_info[1]
        if self._status and not exc_info:
            raise RuntimeError("start_response was called twice")
        self._status, self._headers = status, headers
        return self._write

    def _send_all(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                if piece:
                    self._write(piece)
            if not self._sent:
                self._wire.send(self._first(b""))
            if self._chunks:
                self._wire.send(b"0\r\n\r\n")
            elif self._left:
                raise ConnectionAbortedError("the answer is shorter than it said")
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _write(self, piece: bytes) -> None:
        if self._sent:
            self._wire.send(self._framed(piece))
            return
        first = self._first(piece)
        if self._bodiless:
            self._wire.send(first)
        elif len(piece) > _JOINED:
            self._wire.send(first)
            self._wire.send(self._framed(piece))
        else:
            self._wire.send(first + self._framed(piece))

    def _framed(self, piece: bytes) -> bytes:
        if self._bodiless:
            return b""
        if self._chunks:
            return b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._left is not None:
            if len(piece) > self._left:
                raise ConnectionAbortedError("the answer is longer than it said")
            self._left -= len(piece)
        return piece

    def _first(self, piece: bytes) -> bytes:
        """The head of the answer, which goes out with the first piece of its body."""
        if not self._status:
            raise RuntimeError("start_response was not called")
        self._sent = True
        lines = [f"HTTP/1.1 {self._status}"]
        code = int(self._status[:3])
        self._bodiless = self._head.method == "HEAD" or code in _BODILESS
        measured = False
        for name, value in self._headers:
            lower = name.lower()
            if lower == "content-length":
                measured = True
                self._left = None if self._bodiless else int(value)
            elif lower == "connection":  # said below, once
                self._close = self._close or value.lower() == "close"
                continue
            lines.append(f"{name}: {value}")
        self._close = self._close or self._closing() or not self._may_stay()
        if not (measured or self._bodiless):
            if self._head.minor:
                self._chunks = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self._close = True
        if self._close:
            lines.append("Connection: close")
        elif not self._head.minor:
            lines.append("Connection: Keep-Alive")
        lines.append(_date_and_server())
        return "\r\n".join(lines).encode("latin-1")


def plain_answer(status: HTTPStatus, text: str) -> bytes:
    """An answer to what is not even a request, or instead of a proper one; the connection ends with it."""
    body = text.encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n{_date_and_server()}"
    )
    return head.encode("latin-1") + body


_date = (0, "")  # second and line: the same for all answers of a second


def _date_and_server() -> str:
    global _date
    now = int(time.time())
    second, line = _date
    if second != now:
        line = f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_NAME}\r\n\r\n"
        _date = (now, line)
    return line


def _nothing() -> None:
    return None
