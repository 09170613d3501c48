"""What a proxy in front of the drive could spoil: bodies cut, held back or of unknown length, and addresses."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faces.conftest import ServedDrive, serve
from tests.faces.reverse_proxy import reverse_proxy
from vfs.operations import checking


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    """A drive whose port is that of the proxy."""
    folder: Path = tmp_path_factory.mktemp("behind")
    with contextlib.contextmanager(serve)(folder) as served, reverse_proxy(folder / "nginx", served.port) as port:
        yield replace(served, url=f"http://127.0.0.1:{port}/dav/", port=port)
        assert checking.check(served.kelp).ok


def begin(drive: ServedDrive, path: str, *lines: str) -> socket.socket:
    """A connection on which a PUT was begun, with no body yet."""
    connection = socket.create_connection(("127.0.0.1", drive.port), timeout=20)
    head = (f"PUT {path} HTTP/1.1", "Host: localhost", f"Authorization: {drive.basic()}", *lines)
    connection.sendall("\r\n".join((*head, "", "")).encode())
    return connection


@pytest.mark.parametrize(
    ("line", "sent"),
    [("Content-Length: 3000000", b"x" * 1_000_000), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n")],
)
def test_a_cut_upload_changes_nothing(drive: ServedDrive, line: str, sent: bytes) -> None:
    drive.ask("PUT", "/dav/kept", b"old")
    answer = b""
    with begin(drive, "/dav/kept", line) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert not answer.startswith(b"HTTP/1.1 2"), answer
    assert drive.ask("GET", "/dav/kept").body == b"old"


def test_bodies_pass_as_they_come(drive: ServedDrive) -> None:
    """Of known and of unknown length, and asked for first."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", drive.port, timeout=20)) as connection:
        sent = {"Authorization": drive.basic(), "X-Expected-Entity-Length": "3000000"}
        connection.request("PUT", "/dav/chunked", (b"x" * 1_000_000 for _ in range(3)), sent, encode_chunked=True)
        assert connection.getresponse().status == 201
    with begin(drive, "/dav/asked", "Content-Length: 5", "Expect: 100-continue") as waiting:
        assert waiting.recv(1000).startswith(b"HTTP/1.1 100 ")
        waiting.sendall(b"hello")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert len(drive.ask("GET", "/dav/chunked").body) == 3_000_000
    part = drive.ask("GET", "/dav/chunked", Range="bytes=2999990-")
    assert (part.status, part.body) == (206, b"x" * 10)


def test_names_and_destinations_pass_undecoded(drive: ServedDrive) -> None:
    name, moved = "/dav/a%3Bb%3F%25%20%C3%A9+c", "/dav/%2541%3B"
    assert drive.ask("PUT", name, b"1").status == 201
    host = f"127.0.0.1:{drive.port}"
    for destination, status in ((f"http://{host}{moved}", 201), (f"https://u:p@{host}{moved}", 204), (moved, 204)):
        assert drive.ask("COPY", name, Destination=destination).status == status
    assert drive.ask("MOVE", name, Destination=f"http://elsewhere{moved}").status == 502
    assert drive.ask("GET", moved).body == b"1"
    assert "<D:href>/dav/%2541;</D:href>" in drive.ask("PROPFIND", moved, Depth="0").text


def test_a_folder_without_its_slash_is_not_sent_elsewhere(drive: ServedDrive) -> None:
    assert drive.ask("MKCOL", "/dav/folder").status == 201
    for method, status in (("PROPFIND", 207), ("OPTIONS", 200), ("HEAD", 200), ("DELETE", 204)):
        assert drive.ask(method, "/dav/folder", Depth="1" if method == "PROPFIND" else "infinity").status == status
