"""Connections whose client has nothing to say right now: they cost a selector's entry and no thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Generic, Protocol, TypeVar


class Guest(Protocol):
    """A connection that waits."""

    deadline: float  # monotonic; when its time is over

    @property
    def socket(self) -> socket.socket: ...

    def close(self) -> None: ...

    def expire(self) -> None:
        """Close, perhaps with a last word that never blocks."""


G = TypeVar("G", bound=Guest)


class WaitingRoom(Generic[G]):
    """One thread calls `select`, `expire` and `close`; any thread may `put` and `wake`.

    The room owns who is in it: what `select` returns has left.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._listening = False
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._guests: dict[int, G] = {}  # by file descriptor
        self._guard = threading.Lock()
        self._closed = False
        self.listen(True)

    def put(self, guest: G) -> None:
        with self._guard:
            if not self._closed:
                number = guest.socket.fileno()
                self._guests[number] = guest
                self._selector.register(number, selectors.EVENT_READ, guest)
                return
        guest.close()

    def listen(self, wanted: bool) -> None:
        """Whether clients that knock are looked at."""
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._selector.register(self._listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._listener)

    def select(self, seconds: float) -> tuple[list[G], bool]:
        """Who has something to say now, and whether somebody knocks; waits at most `seconds`."""
        said: list[G] = []
        knocked = False
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                knocked = True
            elif key.fileobj is self._bell:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
            else:
                self._leave(key.data)
                said.append(key.data)
        return said, knocked

    def wake(self) -> None:
        """End a running `select`."""
        with contextlib.suppress(OSError):
            self._rope.send(b"\0")

    def expire(self) -> None:
        """Close all whose time is over."""
        now = time.monotonic()
        for guest in [guest for guest in list(self._guests.values()) if guest.deadline <= now]:
            self._leave(guest)
            guest.expire()

    def turn_one_out(self) -> bool:
        """Close the one whose time is over first, so that another can come; False when nobody is here."""
        guests = list(self._guests.values())
        if not guests:
            return False
        guest = min(guests, key=lambda each: each.deadline)
        self._leave(guest)
        guest.close()
        return True

    def close(self) -> None:
        """Close everybody, now and those who are put later."""
        with self._guard:
            self._closed = True
        for guest in list(self._guests.values()):
            self._leave(guest)
            guest.close()
        self._selector.close()
        self._bell.close()
        self._rope.close()

    def _leave(self, guest: G) -> None:
        with self._guard:  # `put` of another thread changes the same tables
            number = guest.socket.fileno()
            del self._guests[number]
            self._selector.unregister(number)
