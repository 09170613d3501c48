"""The HTTP server under slow, silent, rude and many clients: each is bounded, and none keeps others from an answer."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from dav_provider.http_streams import Patience
from tests.rooms.dav.http_app import BIG, GET, HURRY, Served, answers, put, rest_of, until
from tests.rooms.dav.http_app import hurried as hurried
from tests.rooms.dav.http_app import serve as serve
from tests.rooms.dav.http_app import served as served

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends a reset
SLOW_HEADS = (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"G", b"\r", b"\r\n", b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_silence_holds_no_thread(serve: Callable[..., Served], tls: bool) -> None:
    """Connections that say nothing, heads that do not end and handshakes that do not begin, for two threads."""
    before = threading.active_count()  # of the tests before, too
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
        assert threading.active_count() < before + 10


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


def test_threads_for_slow_clients_end_with_them(serve: Callable[..., Served]) -> None:
    served = serve(patience=replace(Patience(), stay=0))
    threads = served.server.stats["Worker Threads"]
    with contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(served.connect()) for _ in range(5)]
        for sock in uploads:
            sock.sendall(put("/p", 6) + b"ab")
        until(lambda: len(threads) == 7)
        for sock in uploads:
            sock.sendall(b"cdef")
        assert all(sock.recv(4096).endswith(b"<abcdef") for sock in uploads)
        until(lambda: len(threads) == 2)
        assert all(answers(sock) for sock in uploads)


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


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
def test_a_client_that_resets_before_its_handshake_leaves_nothing_behind(
    serve: Callable[..., Served], caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    served = serve(tls=True)
    with caplog.at_level(logging.INFO), contextlib.ExitStack() as stack:
        busy = [stack.enter_context(served.connect()) for _ in range(2)]
        for sock in busy:
            sock.sendall(GET.replace(b"/ ", b"/wait "))
        until(lambda: len(served.app.seen) == 2)
        for _ in range(5):  # found when both threads are free again
            with served.connect(plain=True) as gone:
                gone.sendall(said)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        served.app.go_on.set()
        assert all(sock.recv(4096).startswith(b"HTTP/1.1 200 ") for sock in busy)
        until(lambda: len(served.server.open_connections) == 2)
    gc.collect()  # a socket that nobody closed warns here
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


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
        assert hurried.app.cut == ["UploadTooSlow"]
        assert rest_of(sock).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_slow_but_moves_is_not_cut(serve: Callable[..., Served]) -> None:
    served = serve(patience=replace(HURRY, least=500))
    with contextlib.closing(served.connect()) as sock:
        sock.sendall(put("/p", 20_000))
        for _ in range(20):
            sock.sendall(bytes(1000))
            time.sleep(0.25)  # in all, longer than two windows
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_download_that_nobody_reads_is_given_up(hurried: Served) -> None:
    with contextlib.closing(hurried.connect()) as sock:
        sock.sendall(GET.replace(b"/ ", b"/big "))
        until(lambda: bool(hurried.app.seen) and not hurried.server.open_connections)
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
        assert len(served.server.open_connections) <= 4


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
