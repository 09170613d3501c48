"""The HTTP server: cheroot's threads and sockets. With `http_exchange`, the only module that knows cheroot."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server as CherootServer

from dav_provider.http_exchange import SERVER_NAME, Connection
from dav_provider.http_streams import open_stream
from dav_provider.request import WsgiApp
from vfs.errors import ConfigurationError
from vfs.settings import Server as ServerSettings
from vfs.settings import Settings

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 60  # without a byte from the client, inside a request or between two
_LARGEST_HEAD = 64 * 1024  # bytes of request line and header fields


class _TlsAdapter(BuiltinSSLAdapter):
    """TLS 1.2 or newer. The handshake is left to the worker: cheroot's would stop the accepting thread."""

    def __init__(self, certificate: str, private_key: str) -> None:
        super().__init__(certificate, private_key)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return open_stream(sock, mode, bufsize)


class _Server(CherootServer):
    _connections: Any
    ConnectionClass = Connection
    max_request_header_size = _LARGEST_HEAD
    keep_alive_conn_limit = 1000  # idle connections; more would eat the process's file descriptors

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        """cheroot forgets the socket when the address is taken."""
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: Any) -> None:
        """A new connection waits in the selector, not in a thread, until its first bytes are there."""
        if conn.last_used is None:
            self._connections.put(conn)
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot would print. Clients that go away or speak something else are everyday life and no error."""
        if isinstance(sys.exc_info()[1], OSError):
            level, traceback = logging.INFO, False
        _log.log(level, "%s", msg, exc_info=traceback)


class HttpServer:
    """A server for one WSGI application. `open` binds, `start` serves until `stop`, which any thread may call."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._opened = False
        self._serving: threading.Thread | None = None
        self._stopping: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use, once open; that which was asked for before."""
        return int(self._server.bind_addr[1])

    @property
    def url(self) -> str:
        host = self._server.bind_addr[0]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._server.ssl_adapter else 'http'}://{shown}:{self.port}"

    def open(self) -> None:
        """Bind and listen; clients may connect from now on. Raises ConfigurationError when the address is taken.

        Its threads exist from here on: `stop` has to follow, whether `start` was called or not.
        """
        try:
            self._server.prepare()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {self._server.bind_addr}: {error}") from error
        self._opened = True

    def start(self) -> None:
        """Serve until `stop`."""
        if not self._opened:
            self.open()
        self._serving = threading.current_thread()
        try:
            self._server.serve()
        finally:
            if self._stopping is not None:
                self._stopping.join()

    def stop(self) -> None:
        """Refuse new requests, let the running ones finish. From a signal handler it returns before that is done."""
        if threading.current_thread() is self._serving:
            # The serving loop is below us on the stack and cannot end before we return.
            self._stopping = threading.Thread(target=self._server.stop, name="stopping")
            self._stopping.start()
        else:
            self._server.stop()


def make_server(settings: Settings, app: WsgiApp) -> HttpServer:
    """A server for `settings.server`, not yet listening. Raises ConfigurationError for an unusable certificate."""
    wanted: ServerSettings = settings.server
    server = _Server(
        (wanted.host, wanted.port),
        app,
        numthreads=wanted.threads,
        max=wanted.threads,
        server_name=SERVER_NAME,
        request_queue_size=128,
        timeout=_IDLE_SECONDS,
        shutdown_timeout=10,
        reuse_port=wanted.processes > 1,
    )
    if wanted.tls_cert is not None and wanted.tls_key is not None:
        try:
            server.ssl_adapter = _TlsAdapter(str(wanted.tls_cert), str(wanted.tls_key))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"cannot use the certificate {wanted.tls_cert}: {error}") from error
    return HttpServer(server)
