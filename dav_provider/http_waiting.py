"""Connections whose client has nothing to say right now: they cost a selector's entry and no thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from dav_provider.http_connection import Connection

if TYPE_CHECKING:
    from dav_provider.http_server import HttpServer

_log = logging.getLogger(__name__)

_PAUSE = 0.1  # seconds without accepting when there is no room
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class WaitingRoom:
    """In the place of cheroot's ConnectionManager, with its interface: one thread is in `run`, and lets in who knocks;
    any thread may `put` and `stop`.

    New connections wait here too, deadlines are each connection's own, and beyond the largest number the one that has
    waited longest gives way. Who leaves goes to `server.process_conn`.
    """

    can_add_keepalive_connection = True

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._listener: socket.socket = server.socket
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._guests: dict[int, Connection] = {}  # by file descriptor
        self._guard = threading.Lock()
        self._running = threading.Lock()
        self._stopped = False
        self._closed = False
        self._resume = 0.0  # monotonic; when to look again at who knocks
        self._looked = 0.0  # monotonic; at the deadlines

    def run(self, expiration_interval: float) -> None:
        """Until `stop`; looks at the deadlines every so many seconds."""
        with self._running:
            while not self._stopped:
                self._turn(expiration_interval)

    def stop(self) -> None:
        """End `run`, and wait for its end."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._rope.send(b"\0")
        with self._running:
            pass

    def put(self, connection: Connection) -> None:
        if connection.has_more:
            self._server.process_conn(connection)
            return
        with self._guard, contextlib.suppress(OSError, ValueError):  # the system watches no more of them, or it is gone
            if not self._closed:
                number = connection.socket.fileno()
                self._selector.register(number, selectors.EVENT_READ, connection)
                self._guests[number] = connection
                return
        connection.close()

    def close(self) -> None:
        """Close everybody, now and those who are put later."""
        with self._guard:
            self._closed = True
        for connection in list(self._guests.values()):
            self._leave(connection)
            connection.close()
        self._selector.close()
        self._bell.close()
        self._rope.close()

    def _turn(self, interval: float) -> None:
        if self._resume and time.monotonic() >= self._resume:
            self._resume = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)
        knocked = False
        for key, _ in self._selector.select(_PAUSE if self._resume else interval):
            if key.fileobj is self._listener:
                knocked = True
            elif key.fileobj is self._bell:
                self._bell.recv(4096)
            else:
                self._leave(key.data)
                self._server.process_conn(key.data)
        if knocked:
            self._accept()
        if time.monotonic() - self._looked >= interval:
            self._expire()

    def _accept(self) -> None:
        """Let in who knocks, a number at a time."""
        server = self._server
        for _ in range(server.request_queue_size):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.warning("no more connections for a moment: %s", error.strerror)
                    self._turn_one_out()
                    self._pause()
                    return
                continue  # that client has gone again
            crowded = len(server.open_connections) >= server.most_connections and not self._turn_one_out()
            connection = server.ConnectionClass(server, sock, address[:2])
            server.open_connections.add(connection)
            self.put(connection)
            if crowded:  # nobody else before one of those who are served is done, or has to wait
                self._pause()
                return

    def _pause(self) -> None:
        self._resume = time.monotonic() + _PAUSE
        self._selector.unregister(self._listener)

    def _expire(self) -> None:
        """Close all whose time is over."""
        self._looked = now = time.monotonic()
        for connection in [each for each in list(self._guests.values()) if each.deadline <= now]:
            self._leave(connection)
            connection.expire()

    def _turn_one_out(self) -> bool:
        """Close the one whose time is over first, so that another can come; False when nobody is here."""
        guests = list(self._guests.values())
        if not guests:
            return False
        connection = min(guests, key=lambda each: each.deadline)
        self._leave(connection)
        connection.close()
        return True

    def _leave(self, connection: Connection) -> None:
        with self._guard:  # `put` of another thread changes the same tables
            number = connection.socket.fileno()
            del self._guests[number]
            self._selector.unregister(number)
