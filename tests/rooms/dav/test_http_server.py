"""The HTTP server over real sockets: what everybody does, and its beginning and end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

from dav_provider.http_server import HttpServer
from tests.rooms.dav.http_app import BIG, GENEROUS, GET, App, Served, answers, put, rest_of, until
from tests.rooms.dav.http_app import hurried as hurried
from tests.rooms.dav.http_app import serve as serve
from tests.rooms.dav.http_app import served as served
from vfs.errors import ConfigurationError


@pytest.mark.parametrize("pieces", [0, 1, 7])
def test_requests_follow_each_other_on_a_connection(served: Served, pieces: int) -> None:
    chunks = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = served.talk(GET + put("/p", 5) + b"hello" + b"\r\n" + chunks + put("/e", 0) + last, pieces=pieces)
    assert served.app.seen == ["GET /", "PUT /p", "POST /c", "PUT /e", "GET /last"]
    assert [part[-7:].rpartition(b"<")[2] for part in answer.split(b"HTTP/1.1 200 OK")] == [
        b"",
        b"",
        b"hello",
        b"abcde",
        b"",
        b"",
    ]


def test_bodies_of_any_size_are_streams(served: Served) -> None:
    for size in (0, 1, 60_000, 70_000, 3_000_000):
        for chunked in (False, True):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            head = put("/p", size, "Connection: close")
            if chunked:
                head = head.replace(b"Content-Length: %d" % size, b"Transfer-Encoding: chunked")
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked and size else b"0\r\n\r\n" if chunked else body
            assert served.talk(head + framed).partition(b"\r\n\r\n")[2] == b"<" + body


def test_answers_in_pieces(served: Served) -> None:
    assert served.talk(b"GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(
        b"\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    )
    answer = served.talk(b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nabc") and b"Connection: close" in answer
    assert served.talk(b"HEAD /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\n")
    length = len(served.talk(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert length == BIG


def test_http_1_0_keeps_a_connection_only_when_asked(served: Served) -> None:
    assert served.talk(b"GET / HTTP/1.0\r\n\r\n" + GET).count(b"200 OK") == 1
    kept = served.talk(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
    assert kept.count(b"200 OK") == 2 and kept.count(b"Connection: Keep-Alive") == 1


def test_100_continue_comes_when_somebody_wants_the_body(served: Served) -> None:
    with contextlib.closing(served.connect()) as sock:
        sock.sendall(put("/p", 5, "Expect: 100-continue"))
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert sock.recv(4096).endswith(b"<hello")
    answer = served.talk(put("/ignore", 5, "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 403 ") and b"Connection: close" in answer


def test_an_application_that_fails(served: Served) -> None:
    answer = served.talk(GET.replace(b"/ ", b"/fail ") + GET)
    assert answer.startswith(b"HTTP/1.1 500 ") and answer.count(b"HTTP/1.1") == 1
    assert served.talk(GET.replace(b"/ ", b"/short ") + GET).endswith(b"\r\n\r\nshort"), "the cut shows by the length"


def test_a_refused_body_is_thrown_away_and_the_answer_arrives(served: Served) -> None:
    small = put("/ignore", 1000) + bytes(1000) + GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n")
    assert [line[:3] for line in served.talk(small).split(b"HTTP/1.1 ")] == [b"", b"403", b"200"]
    with contextlib.closing(served.connect()) as sock:
        sock.sendall(put("/ignore", 1 << 40))
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                sock.sendall(bytes(1 << 20))
        assert rest_of(sock).startswith(b"HTTP/1.1 403 ")


def test_plain_http_where_https_is_spoken(serve: Callable[..., Served]) -> None:
    served = serve(tls=True)
    with contextlib.closing(served.connect(plain=True)) as sock:
        sock.sendall(GET)
        assert rest_of(sock).startswith(b"HTTP/1.1 400 ")
    assert served.app.seen == []


def test_stop_finishes_what_runs_and_cuts_what_does_not_end(hurried: Served) -> None:
    with contextlib.ExitStack() as stack:
        idle, running, upload, download = (stack.enter_context(hurried.connect()) for _ in range(4))
        assert answers(idle)
        running.sendall(GET.replace(b"/ ", b"/wait "))
        upload.sendall(put("/p", 1 << 30) + bytes(1000))
        download.sendall(GET.replace(b"/ ", b"/big "))
        until(lambda: len(hurried.app.seen) == 4)
        stopping = threading.Thread(target=hurried.server.stop)
        stopping.start()
        assert rest_of(idle) == b""
        hurried.app.go_on.set()
        answer = rest_of(running)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in answer
        assert rest_of(upload).startswith(b"HTTP/1.1 503 ") and hurried.app.cut == ["StoreUnavailable"]
        stopping.join(GENEROUS)
        assert not stopping.is_alive()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", hurried.server.port), timeout=GENEROUS)


def test_stop_before_start_and_twice() -> None:
    server = HttpServer(("127.0.0.1", 0), App(), threads=2)
    server.stop()
    server = HttpServer(("127.0.0.1", 0), App(), threads=2)
    server.open()
    server.stop()
    server.stop()
    server.start()


@pytest.mark.parametrize(("host", "clients"), [("::", ("::1", "127.0.0.1")), ("::1", ("::1",)), ("localhost", ())])
def test_ipv6_and_names(host: str, clients: tuple[str, ...]) -> None:
    server = HttpServer((host, 0), App(), threads=2)
    server.open()
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        for client in clients:
            with contextlib.closing(socket.create_connection((client, server.port), timeout=GENEROUS)) as sock:
                assert answers(sock)
    finally:
        server.stop()
        thread.join()


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HttpServer(("127.0.0.1", taken.getsockname()[1]), App(), threads=2)
        with pytest.raises(ConfigurationError, match="cannot listen"):
            server.open()
        server.stop()
