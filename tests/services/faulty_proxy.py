"""A TCP proxy on this machine that does to connections what networks and restarts do. It knows no protocol.

with FaultyProxy(target_port) as proxy:
    connect to 127.0.0.1:proxy.port; all is passed on, until a test says
    proxy.mode = Reset(after=100_000, times=1)
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

_PIECE = 64 * 1024
_TICK = 0.02  # seconds between two looks whether silence has ended
_RST = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends a reset


@dataclass(frozen=True, slots=True)
class Pass:
    """All is well."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens, and what was open is reset: the server's process is gone."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Connections are taken, bytes are not: a machine that hangs, a firewall that swallows."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Each piece of up to 64 KiB takes so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset when `after` more bytes have passed: of answers, or of requests.

    `times`: for so many connections, then all is well; None: for every one.
    """

    after: int = 0
    requests: bool = False
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """As Reset, but ended in good order."""

    after: int = 0
    requests: bool = False
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whatever a client sends first, it gets these bytes and the end."""

    data: bytes
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """The byte at `after` arrives changed, in requests: a fault that checksums are for."""

    after: int
    times: int | None = None


Mode = Pass | Refuse | Silent | Slow | Reset | Cut | Answer | Flip


class FaultyProxy:
    """Passes 127.0.0.1:`port` on to `target_port` in the way that `mode` says; a new mode holds at once."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._guard = threading.Lock()
        self._mode: Mode = Pass()
        self._set = 0  # how often the mode was set
        self._left: int | None = None
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        with self._guard:
            self._mode, self._set, self._left = mode, self._set + 1, getattr(mode, "times", None)
        if isinstance(mode, Refuse):
            self._deafen()
            self.drop()
        elif self._listener is None:
            self._listen()

    def drop(self) -> None:
        """Reset what is open now; new connections go by the mode."""
        with self._guard:
            sockets = list(self._open)
        for one in sockets:
            _reset(one)

    def close(self) -> None:
        self._closed = True
        self._deafen()
        self.drop()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _deafen(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._answered(client):
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                pair = {client, server}
                with self._guard:
                    self._open |= pair
                try:
                    back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
                    back.start()
                    self._pump(client, server, True)
                    back.join()
                finally:
                    with self._guard:
                        self._open -= pair

    def _answered(self, client: socket.socket) -> bool:
        mode = self._mode
        if not isinstance(mode, Answer):
            return False
        client.recv(_PIECE)
        client.sendall(mode.data)
        self._used(self._set)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1.0)
        while client.recv(_PIECE):  # a close with unread bytes would be a reset, which may swallow the answer
            pass
        return True

    def _pump(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        """One direction of one connection, until either side ends it or the mode does."""
        known, passed = -1, 0
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                while isinstance(self._mode, Silent) and not self._closed:
                    time.sleep(_TICK)
                mode, now = self._mode, self._set
                if now != known:
                    known, passed = now, 0
                if isinstance(mode, Slow):
                    time.sleep(mode.seconds)
                elif isinstance(mode, Flip) and requests and passed <= mode.after < passed + len(piece):
                    piece = _flipped(piece, mode.after - passed)
                    self._used(now)
                elif isinstance(mode, Answer):
                    _reset(source)
                    _reset(target)
                    return
                elif isinstance(mode, Reset | Cut) and mode.requests == requests and passed + len(piece) > mode.after:
                    self._end(mode, now, source, target, piece[: mode.after - passed])
                    return
                passed += len(piece)
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _end(self, mode: Reset | Cut, now: int, source: socket.socket, target: socket.socket, last: bytes) -> None:
        target.sendall(last)
        self._used(now)
        for one in (target, source):
            if isinstance(mode, Reset):
                _reset(one)
            else:
                one.shutdown(socket.SHUT_RDWR)

    def _used(self, now: int) -> None:
        """A fault that was for so many connections has happened to one."""
        with self._guard:
            if self._left is not None and now == self._set:
                self._left -= 1
                if self._left <= 0:
                    self._mode, self._set, self._left = Pass(), self._set + 1, None


def _reset(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        one.shutdown(socket.SHUT_RD)  # wakes the other pump
    one.close()


def _flipped(piece: bytes, at: int) -> bytes:
    changed = bytearray(piece)
    changed[at] ^= 0x01
    return bytes(changed)
