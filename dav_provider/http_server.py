"""The HTTP server: one thread accepts and watches over who waits, some answer requests.

A connection holds a thread only from the end of a request's head to the end of its answer. Beyond the largest number
of connections the one that has waited longest gives way; when none waits, new ones stay in the kernel's queue.
"""

from __future__ import annotations

import errno
import logging
import resource
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from dav_provider.http_connection import Connection, Fate, House
from dav_provider.http_exchange import SERVER_NAME
from dav_provider.http_streams import Patience
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
_TURN = 0.5  # seconds between two looks at the deadlines
_PAUSE = 0.1  # seconds without accepting when there is no room
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HttpServer:
    """A server for one WSGI application. `open` binds, `start` serves until `stop`, which any thread may call."""

    def __init__(
        self,
        address: tuple[str, int],
        app: WsgiApp,
        *,
        threads: int = 16,
        tls: ssl.SSLContext | None = None,
        share_port: bool = False,
        patience: Patience | None = None,
        most_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        self._address = address
        self._share_port = share_port
        self._patience = patience or Patience()
        self._most = min(most_connections, _affordable())
        self._workers: Workers[Connection] = Workers(threads, threads + _SLOW_CLIENTS, self._serve)
        self._tls = tls
        self._app = app
        self._listener: socket.socket | None = None
        self._open_connections: set[Connection] = set()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._guard = threading.RLock()  # a signal handler may call `stop` on top of `start`
        self._serving: threading.Thread | None = None
        self._resume = 0.0  # monotonic; when to accept again

    @property
    def port(self) -> int:
        """The port in use, once open; that which was asked for before."""
        return self._address[1]

    @property
    def url(self) -> str:
        host = self._address[0]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{self.port}"

    def open(self) -> None:
        """Bind and listen; clients may connect from now on. Raises ConfigurationError when the address is taken.

        Its threads exist from here on: `stop` has to follow, whether `start` was called or not.
        """
        try:
            self._listener = _listen(self._address, self._share_port)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {self._address}: {error}") from error
        name = self._listener.getsockname()
        self._address = (name[0], name[1])
        self._room: WaitingRoom[Connection] = WaitingRoom(self._listener)
        self._house = House(
            app=self._app,
            environ=_environ(self.port, secure=self._tls is not None),
            patience=self._patience,
            tls=self._tls,
            slow=lambda: self._workers,
            crowded=lambda: self._workers.crowded,
            stopping=self._stop.is_set,
            closed=self._open_connections.discard,
        )
        self._workers.start()

    def start(self) -> None:
        """Serve until `stop`."""
        if self._listener is None:
            self.open()
        with self._guard:
            if self._stop.is_set():
                return
            self._serving = threading.current_thread()
        try:
            while not self._stop.is_set():
                self._turn()
        finally:
            self._stop.set()
            self._wind_up()

    def stop(self) -> None:
        """Refuse new requests, let the running ones finish. From a signal handler it returns before that is done."""
        with self._guard:
            first, serving = not self._stop.is_set(), self._serving
            self._stop.set()
        if self._listener is None or serving is threading.current_thread():
            return
        if serving is None:
            if first:
                self._wind_up()
        else:
            self._room.wake()
        self._ended.wait()

    # --- the watching thread ----------------------------------------------------------------------

    def _turn(self) -> None:
        if self._resume and time.monotonic() >= self._resume:
            self._resume = 0.0
            self._room.listen(True)
        said, knocked = self._room.select(_PAUSE if self._resume else _TURN)
        for connection in said:
            self._workers.put(connection)
        if knocked:
            self._accept()
        self._room.expire()

    def _accept(self) -> None:
        """Let in who knocks, a number at a time."""
        assert self._listener is not None
        for _ in range(_BACKLOG):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.warning("no more connections for a moment: %s", error.strerror)
                    self._room.turn_one_out()
                    self._pause()
                    return
                continue  # that client has gone again
            crowded = len(self._open_connections) >= self._most and not self._room.turn_one_out()
            connection = Connection(self._house, sock, address[:2])
            self._open_connections.add(connection)
            self._room.put(connection)
            if crowded:  # nobody else before one of those who are served is done, or has to wait
                self._pause()
                return

    def _pause(self) -> None:
        self._resume = time.monotonic() + _PAUSE
        self._room.listen(False)

    def _wind_up(self) -> None:
        """What runs may finish for a while; then bodies are cut, which clients are told; then everything is."""
        assert self._listener is not None
        self._room.close()
        self._listener.close()
        self._workers.end()
        done = self._workers.join(self._patience.finish)
        for sending in (False, True):
            if not done:
                for connection in list(self._open_connections):
                    connection.cut(sending=sending)
                done = self._workers.join(self._patience.answer)
        if done:
            for connection in list(self._open_connections):  # that were to be looked at again
                connection.close()
        self._ended.set()

    # --- the threads that answer ------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        try:
            fate = connection.serve()
            if fate is Fate.WAIT:
                self._room.put(connection)
            elif fate is Fate.AGAIN:
                self._workers.put(connection)
            else:
                connection.close()
        except Exception:
            _log.exception("a connection failed")
            connection.close()


def _listen(address: tuple[str, int], share_port: bool) -> socket.socket:
    """At the first of the addresses a name stands for that can be had. Raises OSError."""
    refusal: OSError | None = None
    host, port = address
    for family, kind, _, _, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        listener = socket.socket(family, kind)
        try:
            _prepare(listener, share_port)
            listener.bind(found)
            listener.listen(_BACKLOG)
            return listener
        except OSError as error:
            listener.close()
            refusal = refusal or error
    raise refusal or OSError(f"no address of {host}")


def _prepare(listener: socket.socket, share_port: bool) -> None:
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # What is accepted inherits it; without, answers of several packets wait for the client's acknowledgements.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` means every address there is


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
    tls = _tls(wanted.tls_cert, wanted.tls_key) if wanted.tls_cert and wanted.tls_key else None
    return HttpServer((wanted.host, wanted.port), app, threads=wanted.threads, tls=tls, share_port=wanted.processes > 1)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cannot use the certificate {certificate}: {error}") from error
    return context
