"""`/metrics` of worker processes, on a port of their own, for a machine that has no server: `telemetry.worker_port`.

All worker processes of the machine listen on it, and each tells for all. There is no log-in: who is not named in
`telemetry.metrics_for` is refused.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vfs import metrics
from vfs.core import Kelp
from vfs.counts import Counting
from vfs.errors import ConfigurationError, KelpError
from vfs.model import Peer
from vfs.operations import doorkeeping
from vfs.operations.measuring import Page
from vfs.operations.onlookers import Onlookers

_PATIENCE = 10.0  # seconds that a client may be silent


@contextmanager
def shown(kelp: Kelp, counting: Counting) -> Iterator[None]:
    """Serve the numbers inside the block, where the settings name a port. Raises ConfigurationError."""
    port = kelp.settings.telemetry.worker_port
    if not port:
        yield
        return
    try:
        server = _Server(kelp, port, Page(kelp, counting), Onlookers(kelp.settings.telemetry))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on telemetry.worker_port {port}: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="numbers", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, kelp: Kelp, port: int, page: Page, onlookers: Onlookers) -> None:
        self.kelp, self.page, self.onlookers = kelp, page, onlookers
        super().__init__(("", port), _Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "Kelp", ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        if self._is_denied():
            self._answer(403, b"nobody may come from your network address\n", "text/plain")
        elif not self.server.onlookers.include(self.client_address[0]):
            self._answer(403, b"telemetry.metrics_for does not name you\n", "text/plain")
        elif self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"there is only /metrics here\n", "text/plain")
        else:
            self._answer(200, self.server.page.text(), metrics.CONTENT_TYPE)

    def _is_denied(self) -> bool:
        address = self.client_address[0]
        forwarded = any(name.startswith(("forwarded", "x-forwarded-")) for name in map(str.lower, self.headers))
        try:
            doorkeeping.let_in(self.server.kelp, Peer(address, False, False, not forwarded), "worker")
        except KelpError:
            return True
        return False

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """http.server would print each request."""
