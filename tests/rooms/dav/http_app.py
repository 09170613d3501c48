"""A small application behind the HTTP server, and clients that talk to it over real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cheroot.ssl.builtin import BuiltinSSLAdapter

from dav_provider.errors import status_of
from dav_provider.http_body import Body
from dav_provider.http_server import HttpServer, tls_adapter
from dav_provider.http_streams import Patience
from tests import waiting
from vfs import turns
from vfs.crypto import certificates
from vfs.errors import StoreUnavailable, UploadIncomplete

# Longer than a busy machine takes for a handshake and a request: no client is late that does not mean to be.
HURRY = Patience(head=2, idle=2, window=2, least=1000, linger=5, finish=0.5, answer=0.5)
GENEROUS = 60.0  # seconds; a machine under load is no failure
until = partial(waiting.until, seconds=GENEROUS)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = 64 << 20


class App:
    """Says which requests came, and echoes bodies. `/big` is more than any socket buffers, `/wait` waits."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.cut: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, environ, start_response):
        self.seen.append(f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}")
        path = environ["PATH_INFO"]
        if path == "/wait":
            with turns.waiting():
                assert self.go_on.wait(GENEROUS)
        if path == "/fail":
            raise RuntimeError("on purpose")
        if path == "/short":
            start_response("200 OK", [("Content-Length", "10")])
            return [b"short"]
        if path == "/ignore":
            start_response("403 Forbidden", [("Content-Length", "2")])
            return [b"no"]
        if path == "/big":
            start_response("200 OK", [("Content-Length", str(BIG))])
            return (bytes(1 << 20) for _ in range(BIG >> 20))
        if path == "/pieces":
            start_response("200 OK", [])
            return iter([b"a", b"", b"bc"])
        body: Body = environ["wsgi.input"]
        pieces: list[bytes] = []
        try:
            while piece := body.read(1 << 20):
                pieces.append(piece)
        except (UploadIncomplete, StoreUnavailable) as error:
            self.cut.append(type(error).__name__)
            start_response(f"{status_of(error)} Cut", [("Content-Length", "3")])
            return [b"cut"]
        start_response("200 OK", [("Content-Length", str(len(b"".join(pieces)) + 1))])
        return [b"<" + b"".join(pieces)]


class Served:
    def __init__(self, server: HttpServer, app: App, client: ssl.SSLContext | None) -> None:
        self.server, self.app, self._client = server, app, client

    def connect(self, *, plain: bool = False) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=GENEROUS)
        return self._client.wrap_socket(sock) if self._client and not plain else sock

    def talk(self, data: bytes, *, pieces: int = 0) -> bytes:
        """Send, and all that comes back until the server ends the connection."""
        with contextlib.closing(self.connect()) as sock:
            for at in range(0, len(data), pieces or len(data)):
                sock.sendall(data[at : at + (pieces or len(data))])
            return rest_of(sock)


def rest_of(sock: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 20):
            received += piece
    return bytes(received)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def started(*, tls: bool = False, **options) -> Served:
            app = App()
            own, client = _tls(tmp_path) if tls else (None, None)
            server = HttpServer(("127.0.0.1", 0), app, tls=own, **{"threads": 2, **options})
            server.open()
            thread = threading.Thread(target=server.start)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            stack.callback(app.go_on.set)
            return Served(server, app, client)

        yield started


def _tls(folder: Path) -> tuple[BuiltinSSLAdapter, ssl.SSLContext]:
    cert, key = certificates.write_self_signed(("localhost",), folder / "tls", datetime.now(UTC), replace=True)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return tls_adapter(cert, key), client


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def served(serve: Callable[..., Served], request: pytest.FixtureRequest) -> Served:
    return serve(tls=request.param)


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def hurried(serve: Callable[..., Served], request: pytest.FixtureRequest) -> Served:
    """A server without patience, for what is cut."""
    return serve(tls=request.param, patience=HURRY)


def answers(sock: socket.socket) -> bool:
    """Whether a request on this connection is answered."""
    sock.sendall(GET)
    return sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def put(path: str, length: int, *fields: str) -> bytes:
    lines = (f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *fields, "", "")
    return "\r\n".join(lines).encode()
