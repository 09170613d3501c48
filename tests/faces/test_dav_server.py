"""The server around the drive: TLS, passwords in the clear, clients that go away, starting and stopping."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import ssl
import struct
import threading
import time
from datetime import UTC, datetime

import pytest

from dav_provider.http_server import make_server
from vfs.crypto.certificates import write_self_signed
from vfs.errors import ConfigurationError
from vfs.operations import writing
from vfs.settings import Settings


@pytest.fixture
def certificate(tmp_path):
    return write_self_signed(["localhost", "127.0.0.1"], tmp_path / "tls", datetime.now(UTC))


def test_tls(served_with, certificate) -> None:
    cert, key = certificate
    drive = served_with(server_tls_cert=cert, server_tls_key=key)
    assert drive.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(cert))
    content = bytes(range(256)) * 8192
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", drive.port, context=context)) as connection:
        for method, body, status in (("PUT", content, 201), ("GET", None, 200), ("HEAD", None, 200)):
            connection.request(method, "/dav/f", body, {"Authorization": drive.basic()})
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (status, content if method == "GET" else b"")


def test_tls_refuses_old_versions_and_survives_plain_and_silent_clients(served_with, certificate) -> None:
    cert, key = certificate
    drive = served_with(server_tls_cert=cert, server_tls_key=key, server_threads=2)
    silent = [socket.create_connection(("127.0.0.1", drive.port)) for _ in range(5)]
    with socket.create_connection(("127.0.0.1", drive.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in plain.recv(1000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", drive.port)) as sock, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(sock)
    context = ssl.create_default_context(cafile=str(cert))
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", drive.port, context=context)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok"
    for sock in silent:
        sock.close()


def own_address() -> str | None:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address
    return None


@pytest.mark.skipif(own_address() is None, reason="this machine has no address but loopback")
@pytest.mark.parametrize("allowed", [False, True])
def test_passwords_in_the_clear_from_other_addresses(served_with, allowed) -> None:
    drive = served_with(server_host="0.0.0.0", auth_allow_plain_http=allowed)
    with contextlib.closing(http.client.HTTPConnection(own_address(), drive.port, timeout=10)) as connection:
        connection.request("OPTIONS", "/dav/", headers={"Authorization": drive.basic()})
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == (200 if allowed else 403)
        assert allowed or (b"https" in text and reply.getheader("WWW-Authenticate") is None)
        # An absolute URL may not pretend that the connection is secure.
        connection.request("OPTIONS", f"https://{own_address()}/dav/", headers={"Authorization": drive.basic()})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == (200 if allowed else 403)


def test_clients_that_go_away_leave_no_error_behind(served_drive, caplog, capfd) -> None:
    content = bytes(40_000_000)
    served_drive.ask("PUT", "/dav/big", content)
    authorization = f"Host: x\r\nAuthorization: {served_drive.basic()}\r\n"
    with caplog.at_level(logging.INFO):
        for request in (
            f"GET /dav/big HTTP/1.1\r\n{authorization}\r\n",
            f"PUT /dav/cut HTTP/1.1\r\n{authorization}Content-Length: 99\r\n\r\nabc",
            f"PUT /dav/cut HTTP/1.1\r\n{authorization}Transfer-Encoding: chunked\r\n\r\n9\r\nabc",
            "PROPFIND /dav/ HTT",
            "",
        ):
            with socket.create_connection(("127.0.0.1", served_drive.port)) as connection:
                connection.sendall(request.encode())
                time.sleep(0.05)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
        time.sleep(0.3)
        assert served_drive.ask("HEAD", "/dav/cut").status == 404
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Traceback" not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_a_fault_inside_is_500_with_the_trace_id_and_no_traceback(served_drive, caplog, monkeypatch) -> None:
    def broken(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(writing, "put_file", broken)
    reply = served_drive.ask("PUT", "/dav/f", b"body")
    assert reply.status == 500 and "secret" not in reply.text and "Traceback" not in reply.text
    trace_id = reply.text.split()[-1].rstrip(".")
    assert trace_id.startswith("dav-") and "ZeroDivisionError" in caplog.text
    assert served_drive.ask("GET", "/dav/f").status == 404


def test_many_connections_on_few_threads(served_with) -> None:
    drive = served_with(server_threads=2)
    connections = [drive.connect() for _ in range(30)]
    for _ in range(3):
        for connection in connections:
            connection.request("OPTIONS", "/dav/", headers={"Authorization": drive.basic()})
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, b"")
    for connection in connections:
        connection.close()


def test_pipelined_and_old_clients(served_drive) -> None:
    request = f"OPTIONS /dav/ HTTP/1.1\r\nHost: x\r\nAuthorization: {served_drive.basic()}\r\n\r\n".encode()
    last = request.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with socket.create_connection(("127.0.0.1", served_drive.port), timeout=10) as connection:
        connection.sendall(request * 20 + last)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 21 and received.endswith(b"\r\n\r\n")


def test_heads_that_are_too_long(served_drive) -> None:
    for request in (b"GET /" + b"a" * 70_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000):
        with socket.create_connection(("127.0.0.1", served_drive.port), timeout=10) as connection:
            connection.sendall(request)
            assert connection.recv(1000)[9:12] in (b"413", b"414", b"431")


def test_stopping_lets_a_running_upload_finish(served_with) -> None:
    drive = served_with()
    with socket.create_connection(("127.0.0.1", drive.port), timeout=10) as connection:
        head = f"PUT /dav/f HTTP/1.1\r\nHost: x\r\nAuthorization: {drive.basic()}\r\nContent-Length: 6\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # now it runs
        connection.sendall(b"hal")
        stopping = threading.Thread(target=drive.stop)
        stopping.start()
        with contextlib.suppress(OSError):
            while True:  # until nobody is let in any more
                socket.create_connection(("127.0.0.1", drive.port), timeout=10).close()
        connection.sendall(b"ves")
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
        stopping.join()


def test_open_without_start_can_be_stopped_and_a_taken_port_is_one_clear_line(tmp_path) -> None:
    def server(port: int):
        return make_server(Settings.load(data=tmp_path, server_port=port), lambda environ, start_response: [b""])

    first = server(0)
    first.open()
    with pytest.raises(ConfigurationError, match="cannot listen"):
        server(first.port).open()
    first.stop()
    again = server(first.port)
    again.open()
    again.stop()
