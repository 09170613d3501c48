"""The HTTP server over real sockets, in front of a small application: slow, silent, rude and many clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dav_provider.http_body import Body
from dav_provider.http_server import HttpServer
from dav_provider.http_streams import Patience
from vfs import turns
from vfs.crypto import certificates
from vfs.errors import StoreUnavailable, UploadIncomplete

HURRY = Patience(head=0.6, idle=0.6, window=0.6, least=1000, linger=5, finish=0.5, answer=0.5)
GENEROUS = 20.0  # seconds; a machine under load is no failure
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = 64 << 20


class App:
    """Says which requests came, and echoes bodies. `/big` is more than any socket buffers, `/wait` waits."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.cut: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, environ, start_response):
        self.seen.append(f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}")
        path = environ["PATH_INFO"]
        if path == "/wait":
            with turns.waiting():
                assert self.go_on.wait(GENEROUS)
        if path == "/fail":
            raise RuntimeError("on purpose")
        if path == "/short":
            start_response("200 OK", [("Content-Length", "10")])
            return [b"short"]
        if path == "/ignore":
            start_response("403 Forbidden", [("Content-Length", "2")])
            return [b"no"]
        if path == "/big":
            start_response("200 OK", [("Content-Length", str(BIG))])
            return (bytes(1 << 20) for _ in range(BIG >> 20))
        if path == "/pieces":
            start_response("200 OK", [])
            return iter([b"a", b"", b"bc"])
        body: Body = environ["wsgi.input"]
        pieces: list[bytes] = []
        try:
            while piece := body.read(1 << 20):
                pieces.append(piece)
        except (UploadIncomplete, StoreUnavailable) as error:
            self.cut.append(type(error).__name__)
            status = "503 Service Unavailable" if isinstance(error, StoreUnavailable) else "400 Bad Request"
            start_response(status, [("Content-Length", "3")])
            return [b"cut"]
        start_response("200 OK", [("Content-Length", str(len(b"".join(pieces)) + 1))])
        return [b"<" + b"".join(pieces)]


class Served:
    def __init__(self, server: HttpServer, app: App, client: ssl.SSLContext | None) -> None:
        self.server, self.app, self._client = server, app, client

    def connect(self, *, plain: bool = False) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=GENEROUS)
        return self._client.wrap_socket(sock) if self._client and not plain else sock

    def talk(self, data: bytes, *, pieces: int = 0) -> bytes:
        """Send, and all that comes back until the server ends the connection."""
        with contextlib.closing(self.connect()) as sock:
            for at in range(0, len(data), pieces or len(data)):
                sock.sendall(data[at : at + (pieces or len(data))])
            return rest_of(sock)


def rest_of(sock: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 20):
            received += piece
    return bytes(received)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def started(*, tls: bool = False, **options) -> Served:
            app = App()
            own, client = _tls(tmp_path) if tls else (None, None)
            server = HttpServer(("127.0.0.1", 0), app, tls=own, **{"threads": 2, **options})
            server.open()
            thread = threading.Thread(target=server.start)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            stack.callback(app.go_on.set)
            return Served(server, app, client)

        yield started


def _tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    cert, key = certificates.write_self_signed(("localhost",), folder / "tls", datetime.now(UTC), replace=True)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(cert, key)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return own, client


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def served(serve: Callable[..., Served], request: pytest.FixtureRequest) -> Served:
    return serve(tls=request.param)


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def hurried(serve: Callable[..., Served], request: pytest.FixtureRequest) -> Served:
    """A server without patience, for what is cut."""
    return serve(tls=request.param, patience=HURRY)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + GENEROUS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def answers(sock: socket.socket) -> bool:
    """Whether a request on this connection is answered."""
    sock.sendall(GET)
    return sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def put(path: str, length: int, *fields: str) -> bytes:
    lines = (f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *fields, "", "")
    return "\r\n".join(lines).encode()


# --- what everybody does --------------------------------------------------------------------------


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


# --- who is slow, silent, or many -----------------------------------------------------------------

SLOW_HEADS = (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"G", b"\r", b"\r\n", b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_silence_holds_no_thread(serve: Callable[..., Served], tls: bool) -> None:
    """Connections that say nothing, heads that do not end and handshakes that do not begin, for two threads."""
    served = serve(tls=tls)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(served.connect(plain=True)) for _ in range(300)]
        for number in range(20):
            served_slowly = stack.enter_context(served.connect())
            served_slowly.sendall(SLOW_HEADS[number % len(SLOW_HEADS)])
        for sock in silent[:50] if tls else []:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        idle = [stack.enter_context(served.connect()) for _ in range(20)]
        assert all(answers(sock) for sock in idle)
        assert all(answers(sock) for sock in idle), "and they stay"
        assert threading.active_count() < 12


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_slow_clients_inside_a_request_hold_no_thread_that_others_need(serve: Callable[..., Served], tls: bool) -> None:
    served = serve(tls=tls, patience=replace(Patience(), linger=0.1))
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            upload, download = stack.enter_context(served.connect()), stack.enter_context(served.connect())
            upload.sendall(put("/p", 100) + b"not all")
            download.sendall(GET.replace(b"/ ", b"/big "))
        until(lambda: len(served.app.seen) == 20)
        with contextlib.closing(served.connect()) as sock:
            assert answers(sock)


def test_the_time_of_a_head_is_bounded_however_it_drips(hurried: Served) -> None:
    with contextlib.closing(hurried.connect()) as sock:
        assert answers(sock)
        received = b""
        sock.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            for byte in GET[:-2] + b"X: " + b"y" * 1000:
                sock.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    received = sock.recv(4096)
                    break
        assert received.startswith(b"HTTP/1.1 408 ") and hurried.app.seen == ["GET /"]


def test_a_connection_without_requests_is_closed(hurried: Served) -> None:
    with contextlib.closing(hurried.connect()) as fresh, contextlib.closing(hurried.connect()) as used:
        assert answers(used)
        assert rest_of(used) == b"" and rest_of(fresh) == b""


def test_a_body_that_drips_is_cut(hurried: Served) -> None:
    with contextlib.closing(hurried.connect()) as sock:
        sock.sendall(put("/p", 1000))
        with contextlib.suppress(OSError):
            for _ in range(1000):
                sock.sendall(b"x")
                time.sleep(0.02)
                if hurried.app.cut:
                    break
        assert hurried.app.cut == ["UploadIncomplete"]


def test_a_body_that_is_slow_but_moves_is_not_cut(serve: Callable[..., Served]) -> None:
    served = serve(patience=replace(HURRY, window=0.3, least=500))
    with contextlib.closing(served.connect()) as sock:
        sock.sendall(put("/p", 20_000))
        for _ in range(20):
            sock.sendall(bytes(1000))
            time.sleep(0.06)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_download_that_nobody_reads_is_given_up(hurried: Served) -> None:
    with contextlib.closing(hurried.connect()) as sock:
        sock.sendall(GET.replace(b"/ ", b"/big "))
        until(lambda: bool(hurried.app.seen) and not hurried.server._open_connections)
        with contextlib.suppress(OSError):
            assert len(rest_of(sock)) < BIG


def test_beyond_the_largest_number_the_longest_waiting_gives_way(serve: Callable[..., Served]) -> None:
    served = serve(most_connections=4)
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(served.connect()) for _ in range(4)]
        assert all(answers(sock) for sock in old)
        for _ in range(20):
            assert answers(stack.enter_context(served.connect()))
        assert all(rest_of(sock) == b"" for sock in old)
        assert len(served.server._open_connections) <= 4


def test_when_all_are_busy_new_ones_wait(serve: Callable[..., Served]) -> None:
    served = serve(most_connections=3, threads=3)
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(served.connect()) for _ in range(3)]
        for sock in busy:
            sock.sendall(GET.replace(b"/ ", b"/wait "))
        until(lambda: len(served.app.seen) == 3)
        late = stack.enter_context(served.connect())
        late.sendall(GET)
        time.sleep(0.3)
        assert len(served.app.seen) == 3
        served.app.go_on.set()
        assert late.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert all(sock.recv(4096).startswith(b"HTTP/1.1 200 ") for sock in busy)


# --- the end --------------------------------------------------------------------------------------


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
