"""An HTTP client that costs little beside the server it measures: plain sockets, requests made beforehand."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

USER, PASSWORD = "admin", "correct horse"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PIECE = 1024 * 1024
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_TIMEOUT = 60.0  # seconds; no answer takes that long


class Failed(Exception):
    """A server did not do what was asked; its figures would be worthless."""


def request(method: str, path: str, body: bytes = b"", /, **fields: str) -> bytes:
    """A request, ready to send; `If_Match="x"` is `If-Match: x`. A body that follows by itself has its length there."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {AUTHORIZATION}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if "Content_Length" not in fields and (body or method in ("PUT", "PROPFIND")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def destination(path: str) -> str:
    """The value of the header Destination for `path` on the same server."""
    return f"http://127.0.0.1{path}"


class Connection:
    """A connection to one of the servers here, made anew when the server closes it. The last answer can be read."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray(256 * 1024)
        self._view = memoryview(self._buffer)
        self._socket = self._connect()
        self._head, self._body_at, self._end = b"", 0, 0

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def ask(self, message: bytes, *wanted: int) -> None:
        """Send a request and wait for its whole answer. Raises Failed unless its status is one of `wanted`."""
        self._socket.sendall(message)
        self._receive(message, wanted)

    def ask_anew(self, message: bytes, *wanted: int) -> None:
        """The same over a connection of its own; `message` must ask to close it."""
        self._socket.close()
        self._socket = self._connect()
        self._socket.sendall(message)
        self._receive(message, wanted, close=False)

    def upload(self, path: str, file: Path, **fields: str) -> None:
        """PUT a file of any size; its bytes go to the socket within the kernel."""
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            message = request("PUT", path, Content_Length=str(size), **fields)
            self._socket.sendall(message)
            self._socket.sendfile(source)
        self._receive(message, (200, 201, 204))

    def download(self, path: str, take: Callable[[memoryview], object] | None = None) -> int:
        """GET a file of any size; bytes of the body. `take` is called with each piece.

        Without it the kernel throws the body away (MSG_TRUNC): no copy that would take time from the server.
        """
        self._socket.sendall(message := request("GET", path))
        got = self._read_head(message, (200,))
        assert self._length is not None, "a file of known size is not chunked"
        done = got - self._body_at
        if take:
            take(self._view[self._body_at : got])
        piece = memoryview(bytearray(_PIECE))
        while done < self._length:
            received = self._socket.recv_into(piece, 0, 0 if take else socket.MSG_TRUNC)
            if not received:
                raise Failed("the connection was closed within a file")
            if take:
                take(piece[:received])
            done += received
        self._end = got
        return done

    @property
    def body(self) -> bytes:
        """The body of the last answer."""
        data = bytes(self._view[self._body_at : self._end])
        return data if self._length is not None else b"".join(_chunks(data))

    def header(self, name: str) -> str:
        """A header of the last answer; empty when it has none."""
        for line in self._head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower().encode():
                return value.strip().decode()
        return ""

    def close(self) -> None:
        self._view.release()
        self._socket.close()

    # ------------------------------------------------------------------------------------------------ receiving

    def _receive(self, message: bytes, wanted: tuple[int, ...], close: bool = True) -> None:
        got = self._read_head(message, wanted)
        if self._length is None:
            while self._buffer[got - 7 : got] != _LAST_CHUNK:
                got = self._more(got)
        else:
            whole = self._body_at + self._length
            while got < whole:
                got = self._more(got)
        self._end = got
        if close and self._closes:
            self._socket.close()
            self._socket = self._connect()

    def _read_head(self, message: bytes, wanted: tuple[int, ...]) -> int:
        """Read until the head is whole; how many bytes are in the buffer then."""
        got = self._more(0)
        while (end := self._buffer.find(b"\r\n\r\n", 0, got)) < 0:
            got = self._more(got)
        self._head, self._body_at = bytes(self._buffer[: end + 2]), end + 4
        status = int(self._head[9:12])
        if status not in wanted:
            self._end = got
            line = message.partition(b"\r\n")[0].decode()
            raise Failed(f"{line}: {bytes(self._buffer[: min(got, 400)]).decode(errors='replace')}")
        self._read_fields(self._head.lower(), status)
        return got

    def _read_fields(self, head: bytes, status: int) -> None:
        self._closes = b"\r\nconnection: close" in head
        at = head.find(b"\r\ncontent-length:")
        self._length: int | None = 0  # 201 and 204 without a body
        if status == 204:
            return
        if at >= 0:
            self._length = int(head[at + 17 : head.index(b"\r\n", at + 17)])
        elif b"\r\ntransfer-encoding:" in head:
            self._length = None

    def _more(self, got: int) -> int:
        if got == len(self._buffer):
            self._view.release()
            self._buffer.extend(bytes(got))
            self._view = memoryview(self._buffer)
        received = self._socket.recv_into(self._view[got:])
        if not received:
            raise Failed("the connection was closed within an answer")
        return got + received


def _chunks(data: bytes) -> Iterator[bytes]:
    """What is in the chunks of a whole chunked body (RFC 9112 §7.1)."""
    at = 0
    while size := int(data[at : data.index(b"\r\n", at)].partition(b";")[0], 16):
        at = data.index(b"\r\n", at) + 2
        yield data[at : at + size]
        at += size + 2
