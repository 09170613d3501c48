"""The HTTP server: cheroot's, with ours in the place of four of its parts.

cheroot's: addresses and the listening socket (names, IPv6 beside IPv4, a shared port), the certificate, the serving
loop, the order of a stop, the threads and what becomes of a connection after its turn. Ours, and why (cheroot 11.1):

- `_connections`, http_waiting: a new connection takes one of cheroot's threads before it says a word, a TLS handshake
  takes the thread that accepts, and there is no largest number of connections.
- `requests`, http_workers: a slow upload or download holds a thread, so a few of them are the whole server; a stop has
  no last deadline.
- `ConnectionClass`, http_connection and http_streams: a head that drips holds a thread.
- a request and its answer, http_exchange, http_fields and http_body: cheroot's chunked reader holds a whole chunk in
  memory and its sized one takes a cut body for a complete one; refused bodies are read into memory; of two
  Content-Length the last one wins; 100-continue is sent before anybody wants the body; Python's `io` module and two
  packets an answer cost half of the speed on small files.

A connection holds a thread only from the end of a request's head to the end of its answer.
"""

from __future__ import annotations

import logging
import resource
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from dav_provider.http_connection import Connection
from dav_provider.http_exchange import SERVER_NAME
from dav_provider.http_streams import Patience, TlsSocket
from dav_provider.http_waiting import WaitingRoom
from dav_provider.http_workers import Workers
from dav_provider.request import Environ, WsgiApp
from vfs.errors import ConfigurationError
from vfs.settings import Settings

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 1000
_OTHER_FILES = 200  # descriptors that database, cache and NAS may need
_SLOW_CLIENTS = 48  # threads that may wait for clients beside those that work
_BACKLOG = 128


class HttpServer(Server):
    """A server for one WSGI application. `open` binds, `start` serves until `stop`, which any thread may call."""

    ConnectionClass = Connection
    _connections: Any = None  # cheroot's manager, then our WaitingRoom

    def __init__(
        self,
        address: tuple[str, int],
        app: WsgiApp,
        *,
        threads: int = 16,
        tls: BuiltinSSLAdapter | None = None,
        share_port: bool = False,
        patience: Patience | None = None,
        most_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        super().__init__(address, app, server_name=SERVER_NAME, request_queue_size=_BACKLOG, reuse_port=share_port)
        self.requests = Workers(self, threads, threads + _SLOW_CLIENTS)
        self.ssl_adapter = tls
        self.patience = patience or Patience()
        self.shutdown_timeout = self.patience.finish
        self.most_connections = min(most_connections, _affordable())
        self.open_connections: set[Connection] = set()
        self.environ: Environ = {}  # of WSGI, what is the same for all connections
        self._guard = threading.RLock()  # a signal handler may call `stop` on top of `start`
        self._serving: threading.Thread | None = None
        self._stopping: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use, once open; that which was asked for before."""
        return int(self.bind_addr[1])

    @property
    def url(self) -> str:
        host = self.bind_addr[0]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.ssl_adapter else 'http'}://{shown}:{self.port}"

    def open(self) -> None:
        """Bind and listen; clients may connect from now on. Raises ConfigurationError when the address is taken.

        Its threads exist from here on: `stop` has to follow, whether `start` was called or not.
        """
        try:
            self.prepare()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {self.bind_addr}: {error}") from error

    def prepare(self) -> None:
        """cheroot's; nobody has been let in yet when our waiting room takes the place of its own."""
        super().prepare()
        self._connections.close()
        self._connections = WaitingRoom(self)
        self.environ = _environ(self.port, secure=self.ssl_adapter is not None)

    def start(self) -> None:
        """Serve until `stop`."""
        with self._guard:
            if self._stopping is not None:
                return
            if self._connections is None:
                self.open()
            self._serving = threading.current_thread()
        try:
            self.serve()
        finally:
            self._serving = None
            self.stop()

    def stop(self) -> None:
        """Refuse new requests, let the running ones finish. From a signal handler it returns before that is done."""
        with self._guard:
            if self._stopping is None:  # a thread, since the serving loop may be below us on the stack
                self._stopping = threading.Thread(target=self._end, name="stopping", daemon=True)
                self._stopping.start()
        if threading.current_thread() is not self._serving:
            self._stopping.join()

    def _end(self) -> None:
        if self._serving is not None:
            _log.info(
                "stopping: new requests are refused, running ones have %s seconds to finish", self.patience.finish
            )
        super().stop()

    def stopping(self) -> bool:
        """Whether connections end with their next answer."""
        return not self.ready

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot would print."""
        _log.log(level, "%s", msg, exc_info=traceback)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        """cheroot forgets the socket when the address is taken."""
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_


def _affordable() -> int:
    """Connections for which the process may open descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft - _OTHER_FILES) if soft != resource.RLIM_INFINITY else _MOST_CONNECTIONS


def _environ(port: int, *, secure: bool) -> Environ:
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": SERVER_NAME,
        "SERVER_PORT": str(port),
        "SERVER_SOFTWARE": SERVER_NAME,
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "https" if secure else "http",
        "wsgi.version": (1, 0),
    }


def make_server(settings: Settings, app: WsgiApp) -> HttpServer:
    """A server for `settings.server`, not yet listening. Raises ConfigurationError for an unusable certificate."""
    wanted = settings.server
    tls = tls_adapter(wanted.tls_cert, wanted.tls_key) if wanted.tls_cert and wanted.tls_key else None
    address = (wanted.host or "0.0.0.0", wanted.port)
    return HttpServer(address, app, threads=wanted.threads, tls=tls, share_port=wanted.processes > 1)


def tls_adapter(certificate: Path, key: Path) -> BuiltinSSLAdapter:
    """TLS 1.2 or newer. Raises ConfigurationError for an unusable certificate."""
    try:
        adapter = BuiltinSSLAdapter(str(certificate), str(key))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cannot use the certificate {certificate}: {error}") from error
    adapter.context.sslsocket_class = TlsSocket
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return adapter
