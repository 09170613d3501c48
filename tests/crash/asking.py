"""Requests to the nodes of a drive, as a client sends them that knows them all; with a record of how each went."""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.server_process import ServerProcess

AWAY = 503
HANG = 60.0  # seconds after which a client gives up: nothing may last so long
_REST = 1.0  # seconds in which a node that was not there is left alone
_PIECE = 300_000  # bytes of a chunk


@dataclass(frozen=True)
class Exchange:
    """One request. `status` 0: the connection was lost before an answer; `cut`: … in the middle of its body."""

    node: int
    method: str
    begun: float  # monotonic
    seconds: float
    moved: int  # bytes of bodies, both ways
    status: int
    cut: bool = False
    error: str = ""

    @property
    def ended(self) -> float:
        return self.begun + self.seconds


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Nodes:
    """For one thread. Any node is asked, but for a moment not one that was not there."""

    def __init__(self, servers: Sequence[ServerProcess], seed: int) -> None:
        self._servers = servers
        self._random = random.Random(seed)
        self._rested = [0.0] * len(servers)  # monotonic: until when a node is left alone
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self.numbers = range(len(servers))
        self.exchanges: list[Exchange] = []

    def ask(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], node: int | None = None
    ) -> Reply:
        """At `node`, or any. Status 0: there was no answer, or not all of it."""
        node, begun = self._choose() if node is None else node, time.monotonic()
        connection = self._connections.get(node) or self._connect(node)
        sent = {"Authorization": self._servers[node].basic, **headers}
        reply, cut, error = Reply(0), False, ""
        try:
            answer, early = _answer(connection, method, target, body, sent)
            reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()})
            reply = Reply(reply.status, reply.headers, answer.read())
            if early:  # the rest of the body can no longer be sent
                self._drop(node)
        except (OSError, http.client.HTTPException) as lost:
            cut, error = bool(reply.status), repr(lost)
            reply = Reply(0)
            self._drop(node)
            self._rested[node] = time.monotonic() + _REST
        moved = len(body or b"") + len(reply.body)
        seconds = time.monotonic() - begun
        self.exchanges.append(Exchange(node, method, begun, seconds, moved, reply.status, cut, error))
        return reply

    def _choose(self) -> int:
        now = time.monotonic()
        there = [node for node in self.numbers if self._rested[node] < now]
        return self._random.choice(there or self.numbers)

    def _connect(self, node: int) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._servers[node].port, timeout=HANG)
        self._connections[node] = connection
        return connection

    def _drop(self, node: int) -> None:
        self._connections.pop(node).close()

    def close(self) -> None:
        """Who rests for long may find that the server has gone meanwhile."""
        for node in list(self._connections):
            self._drop(node)


def _answer(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[http.client.HTTPResponse, bool]:
    """The head of the answer, and whether it came before the whole body was sent."""
    chunked = "Transfer-Encoding" in headers
    pieces = (body[at : at + _PIECE] for at in range(0, len(body), _PIECE)) if chunked and body is not None else body
    try:
        connection.request(method, target, pieces, dict(headers), encode_chunked=chunked)
    except (BrokenPipeError, ConnectionResetError):
        if connection.sock is None:
            raise
        early = http.client.HTTPResponse(connection.sock, method=method)
        early.begin()
        return early, True
    return connection.getresponse(), False
