"""A client's connection: heads are gathered as they come, without a thread, and complete requests are served."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING

from dav_provider.http_exchange import Exchange, plain_answer
from dav_provider.http_fields import LARGEST_HEAD, Head, RefusedError, check_beginning, parse_head
from dav_provider.http_streams import LostError, Wire
from vfs import turns

if TYPE_CHECKING:
    from dav_provider.http_server import HttpServer

_log = logging.getLogger(__name__)

_END = b"\r\n\r\n"
_TOO_LONG = "the head of the request took too long"
_LINGER_BYTES = 64 * 1024 * 1024  # read after the last answer, so that a reset does not destroy it on its way


class Fate(Enum):
    WAIT = auto()  # until the client says something, or the deadline
    AGAIN = auto()  # there is more to do, but others wait for the thread
    CLOSE = auto()


class Connection:
    """In the place of cheroot's HTTPConnection. `communicate` does what can be done now and never waits for a head; one
    thread at a time calls it."""

    def __init__(self, server: HttpServer, sock: socket.socket, address: tuple[str, int]) -> None:
        self.remote_addr, self.remote_port = address
        self._server = server
        self._environ = {**server.environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        self._wire = Wire(sock, server.patience, lambda: server.requests)
        self._secured = server.ssl_adapter is None
        self._rest = b""  # received, not yet understood
        self._in_head = True
        self._lingers: int | None = None  # bytes that may still be thrown away before the connection ends
        self.has_more = False  # there is something to do at once, but others wait for the thread
        self.deadline = time.monotonic() + server.patience.head  # while it waits

    @property
    def socket(self) -> socket.socket:
        return self._wire.socket

    def communicate(self) -> bool:
        """Whether the connection stays."""
        fate = self._serve()
        self.has_more = fate is Fate.AGAIN
        return fate is not Fate.CLOSE

    def expire(self) -> None:
        """The client took too long. Never blocks."""
        if self._rest and self._lingers is None:
            self._wire.try_send(plain_answer(HTTPStatus.REQUEST_TIMEOUT, _TOO_LONG))
        self.close()

    def cut(self, *, sending: bool) -> None:
        """From another thread: end what runs."""
        self._wire.cut(sending=sending)

    def close(self) -> None:
        self._wire.close()
        self._server.open_connections.discard(self)

    def _serve(self) -> Fate:
        try:
            if not self._secured:
                self._begin_tls()
            if self._lingers is not None:
                return self._linger()
            return self._serve_requests()
        except RefusedError as error:
            with contextlib.suppress(LostError):
                self._wire.send(plain_answer(error.status, str(error)))
            return self._say_goodbye()
        except LostError as error:
            _log.debug("a connection was lost: %s", error)
            if isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason == "HTTP_REQUEST":
                return self._refuse_plain_http()
            return Fate.CLOSE

    def _serve_requests(self) -> Fate:
        server = self._server
        while True:
            with turns.hold():
                head = self._gather()
                if head is None:
                    return Fate.WAIT
                goes_on = self._exchange(head)
            if not goes_on:
                return self._say_goodbye() if self._lingers else Fate.CLOSE
            self._in_head = False
            if self._rest:
                if server.requests.crowded:
                    return Fate.AGAIN
            elif server.requests.crowded or not self._wire.arrives(server.patience.stay):
                if self._wire.has_decrypted:
                    return Fate.AGAIN
                self.deadline = time.monotonic() + server.patience.idle
                return Fate.WAIT

    def _exchange(self, head: Head) -> bool:
        self._wire.begin()
        exchange = Exchange(self._wire, head, self._rest, self._server.stopping)
        self._rest = b""
        if exchange.run(self._server.wsgi_app, self._environ):
            self._rest = exchange.rest
            return True
        if exchange.client_may_be_sending:
            self._lingers = _LINGER_BYTES
        return False

    def _gather(self) -> Head | None:
        """The next request's head; None when it is not here yet. Raises RefusedError, LostError."""
        seen = 0
        while True:
            while self._rest.startswith(b"\r\n"):  # RFC 9112 §2.2
                self._rest, seen = self._rest[2:], 0
            end = self._rest.find(_END, max(0, seen - 3))
            if 0 <= end <= LARGEST_HEAD:
                head, self._rest = self._rest[:end], self._rest[end + 4 :]
                return parse_head(head)
            if self._rest:
                check_beginning(self._rest[: LARGEST_HEAD + 1])
                self._note_beginning()
            seen = len(self._rest)
            piece = self._wire.try_receive()
            if piece is None:
                self._check_time()
                return None
            if not piece:
                if self._rest:
                    raise RefusedError(HTTPStatus.BAD_REQUEST, "the head of the request is cut")
                raise LostError("the client closed the connection")
            self._rest += piece

    def _note_beginning(self) -> None:
        """From the first byte of a head its time runs."""
        if not self._in_head:
            self._in_head = True
            self.deadline = time.monotonic() + self._server.patience.head

    def _check_time(self) -> None:
        """Who sends a byte now and then is never found waiting."""
        if time.monotonic() > self.deadline:
            if self._rest:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, _TOO_LONG)
            raise LostError("the client was silent for too long")

    def _begin_tls(self) -> None:
        assert self._server.ssl_adapter is not None
        self._secured = True
        self._wire.secure(self._server.ssl_adapter.context)

    def _refuse_plain_http(self) -> Fate:
        text = "This server speaks https only on this port."
        with contextlib.suppress(OSError):
            socket.socket.send(self._wire.socket, plain_answer(HTTPStatus.BAD_REQUEST, text))
        return self._say_goodbye()

    def _say_goodbye(self) -> Fate:
        """Close this direction; what the client is still sending is thrown away for a while."""
        self._lingers = _LINGER_BYTES
        self.deadline = time.monotonic() + self._server.patience.linger
        with contextlib.suppress(OSError):
            self._wire.finish_sending()
            return self._linger()
        return Fate.CLOSE

    def _linger(self) -> Fate:
        """Throw away a share, so that a client that never stops sending keeps no thread."""
        assert self._lingers is not None
        share = min(self._lingers, 1024 * 1024)
        try:
            gone = self._wire.discard(share)
        except OSError:
            return Fate.CLOSE
        if gone is None or self._lingers <= gone or time.monotonic() > self.deadline:
            return Fate.CLOSE
        self._lingers -= gone
        return Fate.AGAIN if gone >= share else Fate.WAIT
