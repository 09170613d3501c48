"""HTTP/1.1 to one endpoint over connections that stay open (RFC 9112), no more than an object store needs.

Why not a library: of a small call's processor time most would be the library's (numbers in `s3.py`).
Raises OSError for what the network does (TimeoutError when bytes do not come), ProtocolError for an answer that is not
HTTP; `s3.py` translates. Nothing here tries again, but for a connection that the server had closed while it rested.
"""

from __future__ import annotations

import io
import os
import re
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from vfs.storage.s3_connecting import Way
from vfs.storage.s3_reading import Source

_LINE = 16 * 1024  # bytes of one header line
_LINES = 200
_LENGTH = re.compile(r"[0-9]{1,15}\Z")
_SMALL = 64 * 1024  # bytes of a body that leave together with the head: one packet, one system call
_WHOLE = 8 * 1024 * 1024  # bytes of an answer that is read at once (a listing)
_RESTED = 30.0  # seconds after which an idle connection is not trusted any more (a firewall may have forgotten it)


Body = Sequence[bytes | memoryview]


class ProtocolError(Exception):
    """What came is not an answer by HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the store listens. `label` is what people wrote, without keys."""

    host: str
    port: int
    tls: bool
    label: str

    @property
    def authority(self) -> str:
        """The Host header: without the port when it is the scheme's own (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Connection:
    """One socket. `used`: it has carried an answer before, so the server may close it at any moment."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.source = Source(sock)
        self.reader = io.BufferedReader(self.source)
        self.used = False
        self.usable = True  # False: bytes of a request are missing, so it can carry no other
        self.rested_since = 0.0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def is_fresh(self) -> bool:
        """Nothing has come since the last answer: neither an end nor bytes that belong to nobody."""
        return time.monotonic() - self.rested_since < _RESTED and not (self._poll.poll(0) or self._has_more())

    def _has_more(self) -> bool:
        """Bytes that came along with the last answer: read as the next one, they would say that a put was stored."""
        self.source.shut = True
        try:
            return bool(self.reader.peek(1)) or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0)
        finally:
            self.source.shut = False

    def send(self, head: bytes, body: Body) -> None:
        """An answer that comes before the whole body went out (refused, full) is left for `receive`."""
        try:
            if sum(map(len, body)) <= _SMALL:
                self.sock.sendall(b"".join((head, *body)))
                return
            self.sock.sendall(head)
            for piece in body:
                self.sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            if not self._poll.poll(0):
                raise
            self.usable = False

    def receive(self, method: str) -> Answer:
        """The head of the answer, after any 1xx. Raises ConnectionResetError when the server closed instead."""
        self.source.expect()
        while True:
            status, keep = self._status()
            headers = self._headers()
            if status >= 200:
                # Who refuses a body unread may take the rest of it for requests, and answer those.
                keep = keep and (status < 300 or method != "PUT")
                return Answer(self, method, status, headers, keep)

    def _status(self) -> tuple[int, bool]:
        line = self.reader.readline(_LINE)
        if not line:
            raise ConnectionResetError("the connection was closed instead of an answer")
        version, _, rest = line.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
            raise ProtocolError(f"not an HTTP answer: {line[:40]!r}")
        return int(rest[:3]), version == b"HTTP/1.1"

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_LINES):
            line = self.reader.readline(_LINE)
            if line in (b"\r\n", b"\n"):
                return headers
            if not line.endswith(b"\n"):
                raise ConnectionResetError("the answer's head was cut")
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        raise ProtocolError("the answer's head does not end")

    def close(self) -> None:
        self.reader.close()
        self.sock.close()

    def __del__(self) -> None:
        self.close()


class Answer:
    """Status, headers (names in lower case), and the body while it is not yet read.

    `left`: bytes of the body still to come; None when only its end will tell.
    """

    def __init__(self, connection: Connection, method: str, status: int, headers: dict[str, str], keep: bool) -> None:
        self.connection, self.status, self.headers = connection, status, headers
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.keep = keep and connection.usable and headers.get("connection", "").lower() != "close"
        self.left: int | None = None
        length = headers.get("content-length")
        if length is not None and not _LENGTH.match(length):
            raise ProtocolError("an answer whose length is no number")
        if method == "HEAD" or status in (204, 304):
            self.left, self.chunked = 0, False
        elif not self.chunked and length is not None:
            self.left = int(length)

    def read(self, size: int) -> bytes:
        """The next `size` bytes of a body of known length. Raises ConnectionResetError when it was cut."""
        if self.left is None or self.chunked:
            raise ProtocolError("an answer without its length")
        size = min(size, self.left)
        self.connection.source.expect()
        piece = self.connection.reader.read(size)
        if len(piece) < size:
            raise ConnectionResetError(f"the answer ended {self.left - len(piece)} bytes too early")
        self.left -= size
        return piece

    def whole(self) -> bytes:
        """All of a short body, however it is framed."""
        self.connection.source.expect()
        if self.left is not None:
            if self.left > _WHOLE:
                raise ProtocolError(f"an answer of {self.left} bytes")
            return self.read(self.left)
        if self.chunked:
            body = self._chunks()
            self.left = 0
            return body
        self.keep = False
        body = self.connection.reader.read(_WHOLE)
        self.left = 0
        return body

    def _chunks(self) -> bytes:
        """RFC 9112 §7.1."""
        reader, pieces, total = self.connection.reader, [], 0
        while True:
            line = reader.readline(_LINE).partition(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError as error:
                raise ProtocolError("an answer with broken chunks") from error
            total += size
            if size < 0 or total > _WHOLE:
                raise ProtocolError("an answer of too many bytes")
            piece = reader.read(size)
            if len(piece) < size:
                raise ConnectionResetError("the answer was cut")
            pieces.append(piece)
            if size:
                reader.readline(_LINE)
                continue
            while reader.readline(_LINE) not in (b"\r\n", b"\n", b""):
                pass  # trailers
            return b"".join(pieces)


class Pool:
    """Connections to one endpoint, at most `most` at a time. For many threads, and for a process that forks."""

    def __init__(self, endpoint: Endpoint, timeout: float, most: int = 160) -> None:
        """`timeout`: seconds without a byte, or with next to none, after which a call fails.

        `most`: two for each thread that may wait for a slow client inside a download, and some.
        """
        self.endpoint, self._timeout, self._most = endpoint, timeout, most
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._way = Way(self.endpoint.host, self.endpoint.port, tls=self.endpoint.tls)
        self._idle: deque[Connection] = deque()
        self._free = threading.BoundedSemaphore(self._most)

    def request(self, method: str, head: bytes, body: Body, timeout: float, *, twice: bool = True) -> Answer:
        """Send, and wait for the head of the answer. The caller owes a `done` or `drop` for it.

        `twice`: it does no harm to send it again when the server had closed a resting connection, or was restarted.
        """
        if self._pid != os.getpid():  # the parent's connections are the parent's
            self._start()
        if not self._free.acquire(timeout=timeout):
            raise BlockingIOError(f"all {self._most} connections are in use")  # which says nothing of the endpoint
        try:
            return self._exchange(method, head, body, timeout, twice)
        except BaseException:
            self._free.release()
            raise

    def _exchange(self, method: str, head: bytes, body: Body, timeout: float, twice: bool) -> Answer:
        connection = self._rested() or Connection(self._way.go(timeout))
        while True:
            try:
                connection.source.allow(timeout)
                connection.send(head, body)
                return connection.receive(method)
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                connection.close()
                if not (connection.used and twice):
                    raise
                connection = Connection(self._way.go(timeout))
            except BaseException:
                connection.close()
                raise

    def _rested(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()  # the one that rested for the shortest
            except IndexError:
                return None
            if connection.is_fresh():
                return connection
            connection.close()

    def done(self, answer: Answer) -> None:
        """The answer was read: its connection may carry the next one."""
        connection = answer.connection
        if answer.left == 0 and answer.keep and self._pid == os.getpid():
            connection.used = True
            connection.rested_since = time.monotonic()
            self._idle.append(connection)
            self._free.release()
        else:
            self.drop(answer)

    def drop(self, answer: Answer) -> None:
        """The rest of the answer is not wanted."""
        answer.connection.close()
        if self._pid == os.getpid():
            self._free.release()

    def close(self) -> None:
        """Close what rests; calls under way go on."""
        while self._idle:
            self._idle.pop().close()
