"""`kelp serve` as a process: first start, banner, signals, and refusals to start."""

from __future__ import annotations

import base64
import http.client
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vfs import bootstrap
from vfs.crypto.certificates import write_self_signed
from vfs.operations import checking
from vfs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; a machine under load is no failure


class Serving:
    """A running `kelp serve`, once its banner is complete."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=lambda: [self._lines.put(line) for line in process.stdout or ()]),
            threading.Thread(target=lambda: self.errors.extend(process.stderr or ())),
        ]
        for reader in self._readers:
            reader.start()
        self.banner = ""
        while "Stop with Ctrl-C" not in self.banner:
            self.banner += self._lines.get(timeout=PATIENCE)
        self.port = int(re.search(r"Kelp is ready: https?://[^/]+:(\d+)/dav/", self.banner)[1])  # type: ignore[index]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code


def command(data: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "kelp", "serve", "--data", str(data), *arguments]


def environment(password: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    return kept if password is None else {**kept, "KELP_ADMIN_PASSWORD": password}


@contextmanager
def serving(data: Path, *arguments: str, password: str | None = None) -> Iterator[Serving]:
    process = subprocess.Popen(
        command(data, "--port", "0", *arguments),
        cwd=ROOT, env=environment(password), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield Serving(process)
        finally:
            process.kill()


def refused(data: Path, *arguments: str, password: str | None = None) -> str:
    """Start what cannot start; the one line that says why."""
    done = subprocess.run(
        command(data, *arguments),
        cwd=ROOT,
        env=environment(password),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, password: str, body: bytes | None = None
) -> int:
    token = base64.b64encode(f"admin:{password}".encode()).decode()
    connection.request(method, path, body, {"Authorization": f"Basic {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_first_start_shows_a_password_that_works_and_later_ones_do_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as first:
        password = re.search(r"password\s+(\S+)\n", first.banner)[1]  # type: ignore[index]
        assert len(password) >= 16
        with closing(http.client.HTTPConnection("127.0.0.1", first.port, timeout=PATIENCE)) as connection:
            assert ask(connection, "PUT", "/dav/a.txt", password, b"hello") == 201
            assert ask(connection, "GET", "/dav/a.txt", "wrong") == 401
        wait = [sys.executable, "-m", "kelp", "sync", "wait", "--timeout", str(PATIENCE), "--data", str(data)]
        assert subprocess.run(wait, cwd=ROOT, env=environment(None), check=False).returncode == 0
        assert [file.read_bytes() for file in (data / "nas").glob("*__a.txt")] == [b"hello"]
        assert first.stop(signal.SIGTERM) == 0
    with serving(data) as second:
        assert password not in second.banner
        assert "kelp user passwd admin" in second.banner
        assert second.stop(signal.SIGINT) == 0
    for run in (first, second):
        assert [line for line in run.errors if " INFO " not in line] == []
    assert data.stat().st_mode & 0o077 == 0
    with closing(bootstrap.build(Settings.load(data=data))) as kelp:
        assert checking.check(kelp, mirrored=True).problems == []


def test_over_tls_and_with_a_given_password(tmp_path: Path) -> None:
    cert, key = write_self_signed(["localhost"], tmp_path, datetime.now(UTC))
    with serving(
        tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key), password="meerestang"
    ) as server:  # fmt: skip
        assert "meerestang" not in server.banner
        assert f"net use Z: https://localhost:{server.port}/dav /user:admin *" in server.banner
        trusting = ssl.create_default_context(cafile=str(cert))
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=PATIENCE, context=trusting)
        with closing(connection):
            assert ask(connection, "OPTIONS", "/dav/", "meerestang") == 200
        assert server.stop() == 0


def test_open_to_others_without_tls_is_warned_about(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--host", "0.0.0.0") as server:
        assert f"http://127.0.0.1:{server.port}/dav/" in server.banner
        assert server.stop() == 0
    assert len([line for line in server.errors if line.startswith("warning: ") and "without TLS" in line]) == 1


def test_idle_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with serving(tmp_path / "data", password="meerestang") as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with closing(idle):
            assert ask(idle, "OPTIONS", "/dav/", "meerestang") == 200
            assert server.stop() == 0


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refused(tmp_path / "data", "--port", str(taken.getsockname()[1]))
    assert "in use by another program" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "203.0.113.7", "--port", "0"], "no such address"),
        (["--host", "no.such.host.invalid", "--port", "0"], "no address of that name"),
        (["--tls-cert", "absent.crt", "--tls-key", "absent.key"], "cannot read the certificate"),
        (["--tls-cert", "README.md", "--tls-key", "README.md"], "not a certificate"),
        (["--tls-cert", "README.md"], "both a certificate"),
        (["--config", "absent.toml"], "absent.toml"),
    ],
)
def test_what_cannot_start_leaves_nothing_behind(tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert reason in refused(tmp_path / "data", *arguments)
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot make the data folder" in refused(tmp_path / "file" / "data", "--port", "0")
    assert "cannot make the data folder" in refused(tmp_path / "file", "--port", "0")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "kelp.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    assert "kelp.db" in refused(tmp_path, "--port", "0")


def test_a_password_that_is_too_short(tmp_path: Path) -> None:
    assert "at least" in refused(tmp_path / "data", "--port", "0", password="kurz")
    with serving(tmp_path / "data", password="lang genug") as server:
        assert server.stop() == 0
