"""The way to an endpoint: its name, its addresses, TLS. Each has an end, also where the system's own would be long."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import Future
from typing import Any

_CONNECTING = 3.0  # seconds for its name, for each address, and for TLS

_Addresses = list[tuple[Any, ...]]  # as getaddrinfo gives them


class Way:
    """For many threads; made anew in a forked process."""

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        self._host, self._port = host, port
        self._tls = ssl.create_default_context() if tls else None
        self._guard = threading.Lock()
        self._lookup: Future[_Addresses] | None = None

    def go(self, timeout: float) -> socket.socket:
        """A new connection. Raises OSError; TimeoutError after twice `timeout` (name and addresses, TLS) at most."""
        until = time.monotonic() + timeout
        sock = self._reach(self._addresses(min(timeout, _CONNECTING)), until)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock.settimeout(min(timeout, _CONNECTING))
                sock = self._tls.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _reach(self, addresses: _Addresses, until: float) -> socket.socket:
        """The first address where somebody listens; what is away silently must not take the time of all."""
        fault: OSError = TimeoutError("no address in time")
        for family, kind, protocol, _, address in addresses:
            left = min(until - time.monotonic(), _CONNECTING)
            if left <= 0:
                break
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(left)
                sock.connect(address)
            except OSError as error:
                sock.close()
                fault = error
            else:
                return sock
        raise fault

    def _addresses(self, timeout: float) -> _Addresses:
        """A resolver whose servers are away takes 10 to 30 s: one thread waits for it, and callers no longer than
        theirs."""
        with self._guard:
            lookup = self._lookup
            if lookup is None:
                lookup = self._lookup = Future()
                threading.Thread(target=self._look_up, args=(lookup,), name="kelp-s3-name", daemon=True).start()
        return lookup.result(timeout)

    def _look_up(self, lookup: Future[_Addresses]) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except Exception as error:
            self._lookup = None
            lookup.set_exception(error)
        else:
            self._lookup = None
            lookup.set_result(list(found))
