"""A connection's two directions as streams: a buffered reader in C, and a writer without a buffer.

Shaped as cheroot wants its own: `bytes_read`, `bytes_written` and `has_data` are what it asks of them.
"""

from __future__ import annotations

import io
import socket
import ssl
from typing import Any


class _Source(socket.SocketIO):
    """The socket below a buffered reader, which can be told to give nothing, so that the buffer can be looked at."""

    silent = False

    def readinto(self, buffer: Any) -> int | None:
        return None if self.silent else super().readinto(buffer)


class _Reader(io.BufferedReader):
    """Reads ahead 64 KiB; longer reads go straight from the socket."""

    bytes_read = 0

    def __init__(self, sock: socket.socket) -> None:
        self._source = _Source(sock, "r")
        self._socket = sock
        super().__init__(self._source, 64 * 1024)

    def has_data(self) -> bool:
        """Bytes that select would not see: in the buffer, or decrypted already."""
        self._source.silent = True
        try:
            buffered = bool(self.peek(1))
        finally:
            self._source.silent = False
        return buffered or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0)


class _Writer:
    """Unbuffered: every piece goes to the socket whole."""

    bytes_written = 0

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def write(self, data: bytes) -> int:
        self._socket.sendall(data)
        return len(data)


def open_stream(sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
    return _Reader(sock) if "r" in mode else _Writer(sock)
