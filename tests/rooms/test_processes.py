"""`kelp serve --processes N`: one port, several servers, and a parent whose end is theirs."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.waiting import until
from vfs import bootstrap
from vfs.operations import checking
from vfs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; a machine under load is no failure


class Served:
    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.data, self.log, self.process = folder / "data", folder / "log", process
        self.banner = ""
        assert process.stdout is not None
        while "Stop with Ctrl-C" not in self.banner:
            line = process.stdout.readline()
            assert line, self.log.read_text()
            self.banner += line
        self.port = int(re.search(r"Kelp is ready: https?://[^/]+:(\d+)/dav/", self.banner)[1])  # type: ignore[index]
        password = re.search(r"password\s+(\S+)\n", self.banner)[1]  # type: ignore[index]
        self.basic = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

    def children(self) -> list[int]:
        return [
            int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == self.process.pid
        ]

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, {"Authorization": self.basic})
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def answers(self) -> bool:
        """False: the connection was reset, as one may be around the death of a process."""
        try:
            return self.ask("OPTIONS", "/dav/") == 200
        except ConnectionError:
            return False


def _parent(stat: Path) -> int:
    with contextlib.suppress(OSError):
        state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        return 0 if state == "Z" else int(parent)
    return 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    command = [sys.executable, "-m", "kelp", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--processes", "3"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            yield Served(tmp_path, process)
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    return _parent(Path(f"/proc/{pid}/stat")) != 0


def test_all_processes_serve_one_drive(served: Served) -> None:
    children = served.children()
    assert len(children) == 3
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: served.ask("PUT", f"/dav/{n}", b"%d" % n), range(48)))
        read = list(pool.map(lambda n: served.ask("GET", f"/dav/{n}"), range(48)))
    assert (set(made), set(read)) == ({201}, {200})
    before = [_sockets(pid) for pid in children]
    with contextlib.ExitStack() as held:
        for _ in range(48):  # spread by chance: that one of three gets none happens once in 10^8 times
            held.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", served.port))))
        until(lambda: all(now > then for now, then in zip(map(_sockets, children), before, strict=True)))
    rest = served.process.stdout
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE) == 0
    assert rest is not None and rest.read() == "", "the banner is shown once"
    assert not any(map(is_running, children))
    assert "ERROR" not in served.log.read_text()
    with contextlib.closing(bootstrap.build(Settings.load(data=served.data))) as kelp:
        assert checking.check(kelp).ok


def _sockets(pid: int) -> int:
    found = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            found += os.readlink(fd).startswith("socket:")
    return found


def test_one_that_dies_is_replaced(served: Served) -> None:
    before = set(served.children())
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(served.children()) == 3 and victim not in served.children())
    until(lambda: all(served.answers() for _ in range(20)))
    assert f"server process {victim} ended: SIGKILL; another takes its place" in served.log.read_text()


def test_mirroring_goes_on_in_another_process(served: Served) -> None:
    for n in range(2):
        assert served.ask("PUT", f"/dav/{n}", b"hello") == 201
        until(lambda n=n: bool(list((served.data / "nas").glob(f"*__{n}"))))  # type: ignore[misc]
        # Whoever runs the jobs has more threads than the others, and dies now.
        leader = max(served.children(), key=lambda pid: len(list(Path(f"/proc/{pid}/task").iterdir())))
        os.kill(leader, signal.SIGKILL)
        until(lambda gone=leader: gone not in served.children() and len(served.children()) == 3)  # type: ignore[misc]


def test_a_running_upload_is_finished_at_the_end(served: Served) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE)) as upload:
        lines = ("PUT /dav/f HTTP/1.1", "Host: x", f"Authorization: {served.basic}", "Content-Length: 6")
        upload.sendall("\r\n".join((*lines, "Expect: 100-continue", "", "")).encode())
        assert upload.recv(4096).startswith(b"HTTP/1.1 100 ")
        served.process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in served.log.read_text())
        upload.sendall(b"abcdef")
        assert upload.recv(4096).startswith(b"HTTP/1.1 201 ")
    assert served.process.wait(PATIENCE) == 0


def test_the_parents_death_is_theirs(served: Served) -> None:
    children = served.children()
    served.process.kill()
    until(lambda: not any(map(is_running, children)))


def test_who_cannot_start_says_why_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kelp", "serve", "--data", str(tmp_path / "data"), "--processes", "3"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*command, "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "in use by another program" in done.stderr
