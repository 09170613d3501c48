"""Single requests to a drive as a client sends them, one connection each, none longer than a few seconds."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cli.address import Address
from vfs.errors import InvalidRequest

_SILENCE = 6.0  # seconds without a byte
_LONGEST = 8.0  # seconds that a body may be sent for
_ASKING = 3.0  # seconds to wait for 100 Continue; curl waits one
_PIECE = 256 * 1024  # bytes
_ANSWER = 1024 * 1024  # bytes of an answer that are read


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` have lower-case names. `continued`: 100 Continue came before."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    continued: bool = False


class BrokenOff(Exception):
    """The connection ended before an answer, `sent` bytes of the body after its beginning."""

    def __init__(self, reason: str, sent: int = 0) -> None:
        super().__init__(reason)
        self.sent = sent


class TooSlow(Exception):
    """Nobody refused, but so few bytes went out that the rest was given up; the server forgets a cut upload."""

    def __init__(self, sent: int) -> None:
        super().__init__(sent)
        self.sent = sent


def parse_url(url: str) -> Address:
    """Where a drive is, from `https://drive.example`, with or without `/dav/`. Raises InvalidRequest."""
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise InvalidRequest(f"not the URL of a drive: {error}") from error
    if "@" in split.netloc:
        raise InvalidRequest("a URL must not hold a user or a password: --user names one, the password is asked for")
    if split.scheme not in ("http", "https") or not split.hostname:
        raise InvalidRequest(f"not the URL of a drive, such as https://drive.example: {url!r}")
    if split.path.rstrip("/") not in ("", "/dav") or split.query or split.fragment:
        raise InvalidRequest(f"a drive has its own host name, no path: {url!r}")
    tls = split.scheme == "https"
    return Address(split.hostname, port or (443 if tls else 80), tls)


class Probe:
    """Asks at `address`. Every method raises OSError when there is no connection, and BrokenOff."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self.address = address
        self._context = context
        self._authorization = ""

    def log_in(self, user: str, password: str) -> None:
        """From now on, with each request."""
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def certificate(self) -> dict[str, Any]:
        """The server's, verified; {} without TLS. Raises ssl.SSLCertVerificationError."""
        with self._connected() as connection:
            sock = connection.sock
            return dict(sock.getpeercert() or {}) if isinstance(sock, ssl.SSLSocket) else {}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """`path` is encoded; `Lock_Token="x"` sends `Lock-Token: x`."""
        with self._connected() as connection:
            length = {} if body is None else {"Content_Length": str(len(body))}
            self._head(connection, method, path, {**headers, **length})
            sent = _send(connection, [body] if body else [], chunked=False)
            return _receive(connection, sent)

    def put(self, path: str, pieces: Iterable[bytes], length: int | None, **headers: str) -> Reply:
        """A long body; in chunks where the `length` is not told. Raises TooSlow."""
        framing = {"Transfer_Encoding": "chunked"} if length is None else {"Content_Length": str(length)}
        with self._connected() as connection:
            self._head(connection, "PUT", path, {**headers, **framing})
            sent = _send(connection, pieces, chunked=length is None)
            return _receive(connection, sent)

    def put_when_asked(self, path: str, body: bytes) -> Reply:
        """With Expect: 100-continue (RFC 9110 §10.1.1)."""
        with self._connected() as connection:
            self._head(connection, "PUT", path, {"Expect": "100-continue", "Content_Length": str(len(body))})
            continued = _is_asked_for(connection)
            if continued is not None and continued != 100:
                return Reply(continued, {}, b"")
            reply = _receive(connection, _send(connection, [body], chunked=False))
            return Reply(reply.status, reply.headers, reply.body, continued is not None)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        host, port = self.address.host, self.address.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=_SILENCE, context=self._context)
            if self._context
            else http.client.HTTPConnection(host, port, timeout=_SILENCE)
        )
        with contextlib.closing(connection):
            connection.connect()
            yield connection

    def _head(self, connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str]) -> None:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.putheader("User-Agent", "kelp-doctor")
        if self._authorization:
            connection.putheader("Authorization", self._authorization)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()


def _send(connection: http.client.HTTPConnection, pieces: Iterable[bytes], *, chunked: bool) -> int:
    """Bytes that went out. Ends early where the other side has closed: it has said why, perhaps."""
    sent, until = 0, time.monotonic() + _LONGEST
    try:
        for piece in pieces:
            if time.monotonic() > until:
                raise TooSlow(sent)
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            sent += len(piece)
        if chunked:
            connection.send(b"0\r\n\r\n")
    except TimeoutError as error:
        raise TooSlow(sent) from error
    except OSError:
        pass
    return sent


def _receive(connection: http.client.HTTPConnection, sent: int) -> Reply:
    try:
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read(_ANSWER))
    except TimeoutError as error:
        raise BrokenOff(f"no answer within {_SILENCE:.0f} s", sent) from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokenOff(str(error) or type(error).__name__, sent) from error


def _is_asked_for(connection: http.client.HTTPConnection) -> int | None:
    """The status that came before the body; None: none came."""
    connection.sock.settimeout(_ASKING)
    try:
        with connection.sock.makefile("rb", buffering=0) as reader:  # not a byte more than the head is taken
            words = reader.readline(1000).split()
            while reader.readline(1000).strip():
                pass
    except TimeoutError:
        return None
    finally:
        connection.sock.settimeout(_SILENCE)
    if len(words) < 2 or not words[1].isdigit():
        raise BrokenOff("no HTTP answer")
    return int(words[1])


def made_up(size: int) -> Iterator[bytes]:
    """A body of `size` bytes."""
    piece = bytes(range(256)) * (_PIECE // 256)
    for start in range(0, size, _PIECE):
        yield piece[: min(_PIECE, size - start)]
