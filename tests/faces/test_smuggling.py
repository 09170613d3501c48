"""Requests inside requests (RFC 9112 §11.2): what two servers could understand differently is refused, the connection
ends, and what was hidden in it is never executed, in whatever pieces it arrives."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.faces.bad_input import FILE, closed, head, refused
from tests.faces.bad_input import nothing_changes as nothing_changes
from tests.faces.bad_input import prepared_drive as prepared_drive

LENGTHS = ("+5", "0x5", "5_0", "-5", "5,5", "5, 5", "5 5", "5;", "05x", "1e1", "", "\xb2", "\x0b5", "9" * 19)
CODINGS = ("identity", "gzip", "gzip, chunked", "chunked, identity", "chunked;x=1", "\x0bchunked", "chunked,", "")
CHUNKED = b"0\r\n\r\n"

HEADS: dict[str, tuple[str | bytes, ...]] = {
    **{f"a length of {value!r}": (f"Content-Length: {value}".encode("latin-1"),) for value in LENGTHS},
    **{f"a coding of {value!r}": (f"Transfer-Encoding: {value}",) for value in CODINGS},
    "two lengths": ("Content-Length: 5", "Content-Length: 50"),
    "one length twice": ("Content-Length: 5", "Content-Length: 5"),
    "a length and a coding": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "a coding and a length": ("Transfer-Encoding: chunked", "Content-Length: 5"),
    "two codings": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "a folded length": ("Content-Length:", " 5"),
    "a folded coding": ("Transfer-Encoding:", "\tchunked"),
    "a space before the colon": ("Content-Length : 5",),
    "a tab before the colon": ("Transfer-Encoding\t: chunked",),
    "a space before the name": (" Content-Length: 5",),
    "an underscore": ("Content_Length: 5", "Content-Length: 0"),
    "a bare line feed": (b"X: y\nContent-Length: 5",),
    "a bare return": (b"X: y\rContent-Length: 5",),
    "a NUL": (b"Content-Length: 5\0",),
    "no host": (),
    "two hosts": ("Host: elsewhere",),
}
CHUNKS = {
    "a negative size": b"-1\r\n",
    "a signed size": b"+1\r\nx\r\n0\r\n\r\n",
    "a prefixed size": b"0x1\r\nx\r\n0\r\n\r\n",
    "an underscored size": b"0_1\r\nx\r\n0\r\n\r\n",
    "a size that overflows": b"fffffffffffffffff\r\nx\r\n",
    "an extension without end": b"1;" + b"e" * 10_000 + b"\r\nx\r\n0\r\n\r\n",
    "bare line feeds": b"1\nx\n0\n\n",
    "a size that lies": b"1\r\nxyz\r\n0\r\n\r\n",
    "a trailer without end": b"0\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
    "many trailers": b"0\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "no line end after the chunk": b"1\r\nx0\r\n\r\n",
}
LINES = {
    "HTTP/0.9": (b"GET /dav/\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3": (b"GET / HTTP/3.0\r\n\r\n", 505),
    "no version": (b"GET / HTTP/\r\n\r\n", 400),
    "a proxy's request": (b"CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an asterisk": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another scheme": (b"GET ftp://localhost/dav/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a long target": (b"GET /dav/" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a target without end": (b"GET /dav/" + b"a" * 40_000, 414),
    "many fields": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    "a long field": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a newer tab": (b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "spaces before it": (b"  GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


def say(drive, data: bytes, piece: int) -> bytes:
    """Send, `piece` bytes at a time; all that comes until the server ends the connection, which it has to."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=20)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may have said no already
            for at in range(0, len(data), piece):
                connection.sendall(data[at : at + piece])
        received = b""
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(65536):
                received += more
        return received


def hidden(drive) -> bytes:
    """A request that would be noticed."""
    return head(drive, "DELETE", FILE)


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_ambiguous_heads(drive, fields, piece) -> None:
    request = head(drive, "PUT", "/dav/folder/new", *fields, stay=True)
    if not fields:
        request = request.replace(b"Host: localhost\r\n", b"")
    for body in (b"12345", CHUNKED, b""):
        answer = say(drive, request + body + hidden(drive), piece)
        refused(answer, 400, 411, 413, 431, 501)
        assert closed(answer) and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_ambiguous_chunks(drive, chunks, piece) -> None:
    for method, path in (("PUT", "/dav/folder/new"), ("PROPFIND", FILE)):
        request = head(drive, method, path, "Transfer-Encoding: chunked", "Depth: 0", stay=True)
        answer = say(drive, request + chunks + hidden(drive), piece)
        refused(answer, 400, 413)
        assert closed(answer) and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(("line", "status"), LINES.values(), ids=LINES)
@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_lines_that_are_no_request(drive, line, status, piece) -> None:
    answer = say(drive, line + hidden(drive) if len(line) < 1000 else line, max(piece, len(line) // 2000))
    refused(answer, status)
    assert closed(answer) and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("form", ["absolute", "origin"])
def test_good_forms_of_a_target(drive, form) -> None:
    target = f"http://localhost{FILE}" if form == "absolute" else FILE
    assert say(drive, head(drive, "GET", target), 1).startswith(b"HTTP/1.1 200 ")
    assert say(drive, head(drive, "OPTIONS", "*"), 1).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_nobody_reads_is_no_request(drive) -> None:
    """Refused before its body: the body, which looks like a request, is thrown away or ends the connection."""
    inner = hidden(drive)
    for size in (len(inner), 1 << 20):
        body = inner + b"\r\n" * ((size - len(inner)) // 2)
        for fields in ((f"Content-Length: {len(body)}",), ("Expect: 100-continue", f"Content-Length: {len(body)}")):
            request = head(drive, "PUT", "/dav/missing/x", *fields, stay=True)
            last = head(drive, "OPTIONS", "/dav/")
            answer = say(drive, request + body + last, 1 << 20)
            refused(answer, 409)
            assert answer.count(b"HTTP/1.1 ") <= 2 and b"HTTP/1.1 204" not in answer
