"""What comes out of a connection to the store, read by somebody who waits for bytes but not for ever."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LEAST = 16 * 1024  # bytes within each time-out: a byte now and then is no answer


class Source(socket.SocketIO):
    """The raw end below a BufferedReader. Raises TimeoutError when what is read for comes too slowly.

    A socket's own time-out begins again with each byte.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "rb")
        self._socket = sock
        self._timeout = sock.gettimeout() or 0.0
        self._lowered = False  # the socket's time-out is what was left of ours
        self.shut = False  # nothing more is taken from the socket: a look at what is buffered is no read
        self.expect()

    def allow(self, timeout: float) -> None:
        """From now on so many seconds, for sending too."""
        self._timeout = timeout
        self._socket.settimeout(timeout)
        self._lowered = False

    def expect(self) -> None:
        """Somebody begins to wait: the head of an answer, or the next piece of a body."""
        self._until, self._came = time.monotonic() + self._timeout, 0
        if self._lowered:
            self.allow(self._timeout)

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self.shut:
            return None
        if self._came:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("bytes come too slowly")
            self._socket.settimeout(left)
            self._lowered = True
        count = super().readinto(buffer)
        self._came += count or 0
        if self._came >= _LEAST:
            self.expect()
        return count
