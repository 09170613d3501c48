"""Bounded memory: a server's memory does not grow with the size of a file (design §3, streams are streams)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess, server_process

MIB = 1 << 20
SIZE = 1024 * MIB
MOST_GROWTH = 64 * MIB
PIECE = bytes(MIB)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path) as started:
        ask(started, "PUT", "/dav/small", PIECE)  # what is loaded at the first request is no growth
        ask(started, "GET", "/dav/small")
        yield started


def ask(server: ServerProcess, method: str, path: str, body: object = None, **headers: str) -> int:
    """Send a request and throw its answer away as it comes; the number of bytes of the answer."""
    connection = server.connect()
    sent = {"Authorization": server.basic, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, body, sent, encode_chunked="Transfer-Encoding" in sent)  # type: ignore[arg-type]
    reply = connection.getresponse()
    received, buffer = 0, bytearray(MIB)
    while count := reply.readinto(buffer):
        received += count
    assert reply.status in (200, 201, 204), reply.status
    connection.close()
    return received


def zeros() -> Iterator[bytes]:
    for _ in range(SIZE // MIB):
        yield PIECE


def test_a_big_file_goes_through_little_memory(server: ServerProcess) -> None:
    """Up and down; the mirror reads it and writes it to the NAS at the same time."""
    begin = server.reset_rss()
    ask(server, "PUT", "/dav/big", zeros(), Content_Length=str(SIZE))
    assert server.rss() - begin < MOST_GROWTH
    assert ask(server, "GET", "/dav/big") == SIZE
    assert server.rss() - begin < MOST_GROWTH


def test_one_big_chunk_goes_through_little_memory(server: ServerProcess) -> None:
    """A chunk may be as long as a file; what reads it whole would need as much memory."""
    begin = server.reset_rss()
    size = SIZE // 4
    connection = server.connect()
    connection.putrequest("PUT", "/dav/chunk")
    connection.putheader("Authorization", server.basic)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b"%x\r\n" % size)
    for _ in range(size // MIB):
        connection.send(PIECE)
    connection.send(b"\r\n0\r\n\r\n")
    assert connection.getresponse().status == 201
    connection.close()
    assert server.rss() - begin < MOST_GROWTH
