"""A small HTTP client that costs little beside the server it measures: plain sockets, requests made beforehand."""

from __future__ import annotations

import base64
import math
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

USER, PASSWORD = "admin", "correct horse"
_AUTHORIZATION = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PIECE = 1024 * 1024
_TIMEOUT = 60.0  # seconds; no answer takes that long


class Failed(Exception):
    """A server did not do what was asked; its figures would be worthless."""


def request(method: str, path: str, body: bytes = b"", length: int | None = None, **fields: str) -> bytes:
    """A request, ready to send. `length` announces a body that follows by itself; `If_Match="x"` is `If-Match: x`."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Basic {_AUTHORIZATION}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    size = len(body) if length is None else length
    if size or method == "PUT":
        lines.append(f"Content-Length: {size}")
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass
class Answer:
    """An answer as far as it has arrived. `length`: bytes of the body, None while unknown or when chunked."""

    data: bytearray = field(default_factory=bytearray)
    body_at: int = 0
    length: int | None = None
    status: int = 0

    def take(self, piece: bytes) -> bool:
        """Add what was received; True when the answer is whole. Raises Failed for an end before that."""
        if not piece:
            raise Failed("the connection was closed within an answer")
        self.data += piece
        if not self.body_at and not self._read_head():
            return False
        if self.length is None:
            return self.data.endswith(b"0\r\n\r\n")
        return len(self.data) - self.body_at >= self.length

    def _read_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.body_at, self.status = end + 4, int(self.data[9:12])
        value = self.header("content-length")
        if value is not None:
            self.length = int(value)
        elif self.header("transfer-encoding") is None:
            self.length = 0  # 201 and 204 without a body
        return True

    def header(self, name: str) -> str | None:
        for line in bytes(self.data[: self.body_at]).split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.strip().decode()
        return None


class Client:
    """One connection, one request after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = _connect(port)

    def ask(self, message: bytes, *wanted: int) -> Answer:
        """Send a request and wait for its answer. Raises Failed unless its status is one of `wanted`, or below 400."""
        self._socket.sendall(message)
        return self._answer(message, wanted)

    def _answer(self, message: bytes, wanted: tuple[int, ...]) -> Answer:
        answer = Answer()
        while not answer.take(self._socket.recv(256 * 1024)):
            pass
        _require(message, answer, wanted)
        if (answer.header("connection") or "").lower() == "close":
            self._socket.close()
            self._socket = _connect(self._port)
        return answer

    def put_big(self, path: str, size: int) -> None:
        """PUT `size` bytes, a multiple of 1 MiB."""
        message, piece = request("PUT", path, length=size), bytes(range(256)) * (_PIECE // 256)
        self._socket.sendall(message)
        for _ in range(size // _PIECE):
            self._socket.sendall(piece)
        self._answer(message, ())

    def get_big(self, path: str) -> int:
        """GET into one buffer; bytes received, heads included."""
        self._socket.sendall(message := request("GET", path))
        answer, buffer = Answer(), bytearray(_PIECE)
        while not answer.body_at:
            answer.take(self._socket.recv(4096))
        _require(message, answer, ())
        assert answer.length is not None, "a file of known size is not chunked"
        got, total = len(answer.data), answer.body_at + answer.length
        while got < total:
            received = self._socket.recv_into(buffer)
            if not received:
                raise Failed("the connection was closed within a file")
            got += received
        return got

    def close(self) -> None:
        self._socket.close()


def run(port: int, messages: Iterator[bytes], connections: int, seconds: float = math.inf) -> tuple[int, float]:
    """Send `messages` until they or `seconds` end; how many were answered, and in how many seconds.

    Each of `connections` sends the next message once its last one is answered. Raises Failed for an error status.
    """
    # Connected before the clock starts: cheroot's own backlog of 5 makes some of 8 clients try again a second later.
    clients = [_connect(port) for _ in range(connections)]
    done, started = 0, time.perf_counter()
    with selectors.DefaultSelector() as ready:
        for client, message in zip(clients, messages, strict=False):
            ready.register(client, selectors.EVENT_READ, _Exchange.begin(client, message))
        while ready.get_map():
            for key, _ in ready.select(_TIMEOUT):
                exchange: _Exchange = key.data
                if exchange.continues():
                    continue
                done += 1
                over = time.perf_counter() - started >= seconds
                following = None if over else next(messages, None)
                if following is None:
                    ready.unregister(exchange.client)
                    exchange.client.close()
                else:
                    following_exchange = _Exchange.begin(exchange.client, following)
                    ready.modify(exchange.client, selectors.EVENT_READ, following_exchange)
    return done, time.perf_counter() - started


def rate(port: int, messages: Iterator[bytes], connections: int, seconds: float) -> float:
    """Requests answered per second, as `run` counts them."""
    done, took = run(port, messages, connections, seconds)
    return done / took


@dataclass
class _Exchange:
    client: socket.socket
    message: bytes
    answer: Answer

    @classmethod
    def begin(cls, client: socket.socket, message: bytes) -> _Exchange:
        client.sendall(message)
        return cls(client, message, Answer())

    def continues(self) -> bool:
        if not self.answer.take(self.client.recv(256 * 1024)):
            return True
        _require(self.message, self.answer, ())
        return False


def _require(message: bytes, answer: Answer, wanted: tuple[int, ...]) -> None:
    if answer.status not in wanted if wanted else answer.status >= 400:
        line = message.partition(b"\r\n")[0].decode()
        raise Failed(f"{line}: {bytes(answer.data[:300]).decode(errors='replace')}")


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client
