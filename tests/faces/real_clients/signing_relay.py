"""A relay that logs a client in: it adds a Basic password to each request on its way to the server.

For clients that only ask a person for the password, and so cannot be driven by a test as they are.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.faces.rules.requests import METHODS

_OWN = {"connection", "keep-alive", "expect", "transfer-encoding", "content-length", "authorization"}


class Relay(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `seen` are the requests so far, as (method, path, answered status)."""

    daemon_threads = True

    def __init__(self, port: int, authorization: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_port
        self.upstream_port, self.authorization = port, authorization
        self.seen: list[tuple[str, str, int]] = []


class _Handler(BaseHTTPRequestHandler):
    """One connection of the client; each request goes on over a connection of its own."""

    protocol_version = "HTTP/1.1"
    server: Relay

    def relay(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=60)) as up:
            body = self._body()
            up.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OWN:
                    up.putheader(name, value)
            up.putheader("Authorization", self.server.authorization)
            up.putheader("Content-Length", str(len(body)))
            up.endheaders(body)
            answer = up.getresponse()
            self.server.seen.append((self.command, self.path, answer.status))
            self._send_on(answer, answer.read())

    def _send_on(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        if answer.status not in (204, 304):
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, *_: object) -> None:
        """Nothing: what matters is in `Relay.seen`."""


for _method in METHODS:
    setattr(_Handler, f"do_{_method}", _Handler.relay)


@contextlib.contextmanager
def signing_relay(port: int, authorization: str) -> Iterator[Relay]:
    """Relay to the server at `port` of this machine until the end of the block."""
    with Relay(port, authorization) as relay:
        thread = threading.Thread(target=relay.serve_forever, name="signing relay")
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
