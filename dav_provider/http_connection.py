"""A client's connection: heads are gathered as they come, without a thread, and complete requests are served."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

from dav_provider.http_exchange import Exchange, plain_answer
from dav_provider.http_fields import LARGEST_HEAD, Head, RefusedError, check_beginning, parse_head
from dav_provider.http_streams import LostError, Patience, Wire
from dav_provider.request import Environ, WsgiApp
from vfs import turns

_log = logging.getLogger(__name__)

_END = b"\r\n\r\n"
_TOO_LONG = "the head of the request took too long"
_LINGER_BYTES = 64 * 1024 * 1024  # read after the last answer, so that a reset does not destroy it on its way


class Fate(Enum):
    WAIT = auto()  # until the client says something, or the deadline
    AGAIN = auto()  # there is more to do, but others wait for the thread
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class House:
    """What all connections of a server share."""

    app: WsgiApp
    environ: Environ  # of WSGI, what is the same for all
    patience: Patience
    tls: ssl.SSLContext | None
    slow: Callable[[], AbstractContextManager[None]]  # entered by a thread while it waits for its client
    crowded: Callable[[], bool]  # somebody waits for a thread
    stopping: Callable[[], bool]
    closed: Callable[[Connection], None]  # told about each connection that ended


class Connection:
    """`serve` does what can be done now and never waits for a head; one thread at a time calls it."""

    def __init__(self, house: House, sock: socket.socket, address: tuple[str, int]) -> None:
        self._house = house
        self._environ = {**house.environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        self._wire = Wire(sock, house.patience, house.slow)
        self._secured = house.tls is None
        self._rest = b""  # received, not yet understood
        self._in_head = True
        self._lingers: int | None = None  # bytes that may still be thrown away before the connection ends
        self.deadline = time.monotonic() + house.patience.head

    @property
    def socket(self) -> socket.socket:
        return self._wire.socket

    def serve(self) -> Fate:
        try:
            if not self._secured:
                self._begin_tls()
            if self._lingers is not None:
                return self._linger()
            return self._serve_requests()
        except RefusedError as error:
            self._wire.send(plain_answer(error.status, str(error)))
            return self._say_goodbye()
        except LostError as error:
            _log.debug("a connection was lost: %s", error)
            if isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason == "HTTP_REQUEST":
                return self._refuse_plain_http()
            return Fate.CLOSE

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
        self._house.closed(self)

    def _serve_requests(self) -> Fate:
        house = self._house
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
                if house.crowded():
                    return Fate.AGAIN
            elif house.crowded() or not self._wire.arrives(house.patience.stay):
                if self._wire.has_decrypted:
                    return Fate.AGAIN
                self.deadline = time.monotonic() + house.patience.idle
                return Fate.WAIT

    def _exchange(self, head: Head) -> bool:
        self._wire.begin()
        exchange = Exchange(self._wire, head, self._rest, self._house.stopping)
        self._rest = b""
        if exchange.run(self._house.app, self._environ):
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
            self.deadline = time.monotonic() + self._house.patience.head

    def _check_time(self) -> None:
        """Who sends a byte now and then is never found waiting."""
        if time.monotonic() > self.deadline:
            if self._rest:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, _TOO_LONG)
            raise LostError("the client was silent for too long")

    def _begin_tls(self) -> None:
        assert self._house.tls is not None
        self._secured = True
        self._wire.secure(self._house.tls)

    def _refuse_plain_http(self) -> Fate:
        text = "This server speaks https only on this port."
        with contextlib.suppress(OSError):
            socket.socket.send(self._wire.socket, plain_answer(HTTPStatus.BAD_REQUEST, text))
        return self._say_goodbye()

    def _say_goodbye(self) -> Fate:
        """Close this direction; what the client is still sending is thrown away for a while."""
        self._lingers = _LINGER_BYTES
        self.deadline = time.monotonic() + self._house.patience.linger
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
