"""SIGTERM: what runs is finished or refused in time, and a PUT is either acknowledged and durable or never was."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.server_process import ServerProcess, server_process
from vfs import bootstrap
from vfs.operations import checking

PROMISED = 10.0  # seconds
LOADED = 10.0  # … more for a machine under load


def content(name: str) -> bytes:
    return random.Random(name).randbytes(300_000)


class Uploader(threading.Thread):
    """Puts file after file until the server is gone; half of them over one that is there."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        super().__init__()
        self.server, self.number = server, number
        self.acknowledged: dict[str, str] = {}  # path → whose content
        self.tried: dict[str, set[str]] = {}
        self.statuses: set[int] = set()

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for turn in range(100_000):
                path, version = f"/dav/f{self.number}-{turn // 2}", f"{self.number}-{turn}"
                self.tried.setdefault(path, set()).add(version)
                status = self.put(path, content(version))
                self.statuses.add(status)
                if status not in (201, 204):
                    return
                self.acknowledged[path] = version

    def put(self, path: str, body: bytes) -> int:
        with contextlib.closing(self.server.connect()) as connection:
            connection.putrequest("PUT", path)
            connection.putheader("Authorization", self.server.basic)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            for at in range(0, len(body), 50_000):  # some are always in the middle
                connection.send(body[at : at + 50_000])
                time.sleep(0.002)
            return connection.getresponse().status


def unending(server: ServerProcess, request: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sock.sendall(f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.basic}\r\n".encode())
    return sock


@pytest.mark.parametrize("processes", [1, 4])
def test_a_stop_under_load(tmp_path: Path, processes: int) -> None:
    with server_process(tmp_path, "--processes", str(processes)) as server, contextlib.ExitStack() as stack:
        first = Uploader(server, 0)
        assert first.put("/dav/big", bytes(30_000_000)) == 201
        uploads, downloads, heads = [], [], []
        for number in range(4):
            uploads.append(stack.enter_context(unending(server, f"PUT /dav/never{number}")))
            uploads[-1].sendall(b"Content-Length: 1000000\r\n\r\nnot all")
            downloads.append(stack.enter_context(unending(server, "GET /dav/big")))
            downloads[-1].sendall(b"\r\n")
            heads.append(stack.enter_context(unending(server, "PUT /dav/head")))
        uploaders = [Uploader(server, number) for number in range(1, 5)]
        for uploader in uploaders:
            uploader.start()
        until = time.monotonic() + 60
        while not all(uploader.acknowledged for uploader in uploaders):
            assert time.monotonic() < until, "nothing is acknowledged"
            time.sleep(0.02)
        time.sleep(0.5)  # and some are in the middle
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
        took = time.monotonic() - begin
        for uploader in uploaders:
            uploader.join()
        assert code == 0 and took < PROMISED + LOADED
        answers = [sock.recv(65536) for sock in uploads]
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 503"}, "told, not just cut"
        assert all(b"Retry-After" in answer for answer in answers)
        assert all(uploader.statuses <= {201, 204, 503} for uploader in uploaders)
        _compare(server, uploaders)


def _compare(server: ServerProcess, uploaders: list[Uploader]) -> None:
    """What was acknowledged is there; what was not is there whole, or as it was before; nothing else is."""
    assert "Traceback" not in server.log_text(), server.log_text()
    with contextlib.closing(bootstrap.build(server.settings)) as kelp:
        assert checking.check(kelp).problems == []
    server.start()
    server.wait_ready()
    with contextlib.closing(server.connect()) as connection:
        for uploader in uploaders:
            assert uploader.acknowledged, "the test came too early"
            for path, versions in uploader.tried.items():
                connection.request("GET", path, headers={"Authorization": server.basic})
                answer = connection.getresponse()
                found = answer.read()
                if path in uploader.acknowledged:
                    assert answer.status == 200
                    assert found in [content(version) for version in versions]
                    if len(versions) == 1 or path != list(uploader.tried)[-1]:
                        assert found == content(uploader.acknowledged[path])
                else:
                    assert answer.status == 404 or found in [content(version) for version in versions]
        for number in range(4):
            connection.request("GET", f"/dav/never{number}", headers={"Authorization": server.basic})
            answer = connection.getresponse()
            assert (answer.status, answer.read() != b"not all") == (404, True)
    server.stop()
