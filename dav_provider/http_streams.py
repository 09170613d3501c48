"""A client's socket: it never blocks, and every wait for the client is bounded in time and keeps no thread from others.

Who waits is measured, not what is waited for: time that the server itself takes between two reads costs the client
nothing, and a client that moves too few bytes while somebody waits for it is given up.
"""

from __future__ import annotations

import contextlib
import errno
import io
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from vfs import turns

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError)
_READ_AHEAD = 64 * 1024
_RECORD = 16 * 1024  # bytes, the most that TLS sends at once
_QUICK = 0.01  # seconds of waiting that are not worth another thread


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a client may take, and bytes it must move."""

    head: float = 30.0  # from the first byte of a request, or the beginning of a connection, to the end of the head
    idle: float = 60.0  # between two requests
    window: float = 60.0  # of waiting inside a body or an answer, in which at least …
    least: int = 16 * 1024  # … so many bytes must move; a last byte each minute would hold a request for ever
    linger: float = 3.0  # to take an answer that came before the end of the body
    stay: float = 0.002  # a busy connection keeps its thread for so long: measured 3,400 → 5,000 small GETs a second
    finish: float = 6.0  # for running requests when the server stops; their bodies are cut then …
    answer: float = 1.5  # … and so long after, all that is left


class LostError(ConnectionError):
    """The client is gone, or given up."""


class SlowError(LostError):
    """The client moves too few bytes."""


class StoppingError(LostError):
    """The server stops, and the time for what is running is over."""


class TlsSocket(ssl.SSLSocket):
    """For `SSLContext.sslsocket_class`: Python's, but for clients that are gone before TLS begins.

    Python asks a new one for its peer. When there is none any more it reads a byte, and then either forgets a socket
    that is still open or raises an SSLError that looks like a fault of ours (CPython 3.11, SSLSocket._create).
    """

    def getpeername(self) -> Any:
        """Raises ConnectionResetError, and is closed, when the client is gone."""
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "the client is gone") from error


class Wire:
    """A connected socket, from here on its only owner. One thread uses it at a time; `cut` may be called by any."""

    def __init__(
        self, sock: socket.socket, patience: Patience, slow: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`slow` is entered around waits in which the thread does nothing for anybody."""
        sock.setblocking(False)
        self.socket = sock
        self.patience = patience
        self._slow = slow
        self._tls: ssl.SSLSocket | None = None
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._waited = 0.0
        self._moved = 0
        self._stopping = False

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS; the handshake is part of the first reads and never waited for. Raises LostError."""
        try:
            self._tls = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            raise _lost(error) from error
        self.socket = self._tls

    def begin(self) -> None:
        """Another request, another account of the client's pace."""
        self._waited = 0.0
        self._moved = 0

    # --- receiving --------------------------------------------------------------------------------

    def try_receive(self) -> bytes | None:
        """What is there, at most 64 KiB; b"" at the end, None when there is nothing now. Raises LostError."""
        try:
            return self.socket.recv(_READ_AHEAD)
        except _NOT_NOW:
            return None
        except ssl.SSLWantWriteError:
            return None
        except OSError as error:
            raise _lost(error) from error

    def arrives(self, seconds: float) -> bool:
        """Whether there is something to read, waiting for it a moment."""
        return self.has_decrypted or bool(self._poll.poll(seconds * 1000))

    @property
    def has_decrypted(self) -> bool:
        """Bytes that no selector would see."""
        return self._tls is not None and self._tls.pending() > 0

    def receive_into(self, buffer: Any) -> int:
        """Wait for bytes, 0 at the end. Raises LostError; SlowError when the client does not keep up."""
        while True:
            if self._stopping:  # what is sent quickly would still arrive after the cut
                raise StoppingError("the server stops")
            try:
                count = self.socket.recv_into(buffer)
            except _NOT_NOW:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise _lost(error) from error
            else:
                self._moved += count
                if count or not self._stopping:
                    return count

    def discard(self, most: int) -> int | None:
        """Throw away what is there, at most `most` bytes: their number, 0 when there is nothing now, None at the end.

        Below TLS, since nobody reads it.
        """
        gone = 0
        with contextlib.suppress(BlockingIOError):
            while gone < most:
                piece = socket.socket.recv(self.socket, _READ_AHEAD)
                if not piece:
                    return None
                gone += len(piece)
        return gone

    # --- sending ----------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> None:
        """All of `data`. Raises LostError when the client does not take it."""
        if self._tls is None or len(data) <= _RECORD:
            sent = self._send_some(data)
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        left = memoryview(data)
        while left:
            # TLS tells of nothing that went out until all of it has: a slow client would seem to take nothing.
            left = left[self._send_some(left if self._tls is None else left[:_RECORD]) :]

    def try_send(self, data: bytes) -> None:
        """As a last word, if there is room for it."""
        with contextlib.suppress(OSError):
            self.socket.send(data)

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            count = self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait(select.POLLOUT)
            return 0
        except ssl.SSLWantReadError:
            self._wait(select.POLLIN)
            return 0
        except OSError as error:
            raise _lost(error) from error
        self._moved += count
        return count

    # --- waiting and ending -----------------------------------------------------------------------

    def _wait(self, event: int) -> None:
        self._poll.modify(self.socket, event)
        begin = time.monotonic()
        with turns.waiting():
            if not self._poll.poll(_QUICK * 1000):
                with self._slow():
                    self._poll.poll(max(0.0, self.patience.window - self._waited) * 1000)
        self._poll.modify(self.socket, select.POLLIN)
        self._waited += time.monotonic() - begin
        if self._waited >= self.patience.window:
            if self._moved < self.patience.least:
                if event == select.POLLOUT:  # else the kernel keeps what nobody takes, after the end too
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise SlowError("the client is too slow")
            self.begin()

    def finish_sending(self) -> None:
        """Tell the client that no more comes. Raises OSError."""
        if self._tls is not None:
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()  # sends close_notify; that it cannot wait for the client's is no error
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def cut(self, *, sending: bool) -> None:
        """End a wait of another thread: for what is read now, and with `sending` for what is written."""
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR if sending else socket.SHUT_RD)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.finish_sending()
        with contextlib.suppress(OSError):
            self.socket.close()


def _lost(error: OSError) -> LostError:
    return LostError(error.errno, str(error))


class _Source(io.RawIOBase):
    """What was read ahead of a body, then the socket."""

    def __init__(self, wire: Wire, ahead: bytes) -> None:
        self._wire = wire
        self._ahead = memoryview(ahead)
        self.silent = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.silent:
            return None
        if not self._ahead:
            return self._wire.receive_into(buffer)
        count = min(len(self._ahead), len(buffer))
        buffer[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    @property
    def ahead(self) -> bytes:
        return bytes(self._ahead)


class BodyStream(io.BufferedReader):
    """A body that is not here yet, through a buffer in C; long reads go straight from the socket."""

    def __init__(self, wire: Wire, ahead: bytes) -> None:
        self._source = _Source(wire, ahead)
        super().__init__(self._source, _READ_AHEAD)

    def rest(self) -> bytes:
        """What was read beyond the body: the beginning of the next request."""
        self._source.silent = True
        return self.peek() + self._source.ahead
