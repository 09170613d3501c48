"""The servers side by side: each a child process on a port of its own, with a folder of its own on the same disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.client import PASSWORD, USER, Client, Failed, request
from vfs.bootstrap import build
from vfs.operations.backlog import Waited, wait_until_mirrored
from vfs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_START = 60.0  # seconds


@dataclass(frozen=True)
class Server:
    """A running server. `mount` is the path of the drive, ending in `/`; `folder` is where it keeps its data."""

    name: str
    mount: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def rest(self) -> None:
        """Wait until it does nothing in the background that would disturb the next measurement."""
        if self.name == "kelp":
            wait_for_mirror(self.folder)

    def memory(self, field: str) -> float:
        """MiB: `VmRSS` now, `VmHWM` at most (proc(5))."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        raise Failed(f"{self.name} shows no {field}")


def wait_for_mirror(folder: Path) -> None:
    """Until all that is committed is on the NAS. Raises Failed when it does not come there."""
    with closing(build(Settings.load(data=folder / "data", nas_root=folder / "nas"))) as kelp:
        if wait_until_mirrored(kelp, timeout=120, interval=0.05) is not Waited.MIRRORED:
            raise Failed("the mirror did not come to rest within two minutes")


def _kelp(folder: Path, port: int) -> list[str]:
    places = ["--data", str(folder / "data"), "--nas", str(folder / "nas")]
    return [sys.executable, str(ROOT / "kelp.py"), "serve", *places, "--port", str(port), "--log-level", "warning"]


def _rclone(folder: Path, port: int) -> list[str]:
    login = ["--user", USER, "--pass", PASSWORD]
    return ["rclone", "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{port}", *login]


def _wsgidav(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.plain_wsgidav", str(folder), str(port)]


_COMMANDS = {"kelp": (_kelp, "/dav/"), "rclone": (_rclone, "/"), "WsgiDAV": (_wsgidav, "/")}


@contextlib.contextmanager
def started(below: Path) -> Iterator[list[Server]]:
    """All servers that are installed here, answering. They are ended with their folders left to the caller."""
    names = [name for name in _COMMANDS if name != "rclone" or shutil.which("rclone")]
    with ExitStack() as stack:
        yield [stack.enter_context(_started(name, below / name)) for name in names]


@contextlib.contextmanager
def _started(name: str, folder: Path) -> Iterator[Server]:
    folder.mkdir(parents=True)
    make_command, mount = _COMMANDS[name]
    port = _free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KELP_")}
    environ |= {"KELP_ADMIN_PASSWORD": PASSWORD, "RCLONE_CONFIG": os.devnull}
    with (folder.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(make_command(folder, port), cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        server = Server(name, mount, port, folder, process)
        _wait_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(server: Server) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until and server.process.poll() is None:
        with contextlib.suppress(OSError, Failed):
            client = Client(server.port)
            try:
                client.ask(request("PROPFIND", server.mount, Depth="0"), 207)
                return
            finally:
                client.close()
        time.sleep(0.05)
    raise Failed(f"{server.name} did not start, see {server.folder.parent / server.name}.log")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
