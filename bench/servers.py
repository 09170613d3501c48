"""The servers side by side: each a child process on a port of its own, with a folder of its own on the same disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.client import PASSWORD, Connection, Failed, request
from bench.contents import Folder, fill, fill_by_http
from bench.peers import ROOT, Kelp, Peer, Place
from bench.processes import tree
from vfs.bootstrap import build
from vfs.core import Kelp as Core
from vfs.operations.access import system_caller
from vfs.operations.backlog import Waited, wait_until_mirrored
from vfs.operations.trashing import empty_trash
from vfs.settings import Settings

_START, _STOP, _REST = 60.0, 20.0, 300.0  # seconds


@dataclass(frozen=True)
class Variant:
    """A server as it is, or one that `library` makes durable."""

    peer: Peer
    library: Path | None = None

    @property
    def label(self) -> str:
        return f"{self.peer.name}+sync" if self.library else self.peer.name


@dataclass(frozen=True)
class Server:
    """A running server."""

    variant: Variant
    place: Place
    process: subprocess.Popen[bytes]
    core: Core | None  # Kelp's, opened beside the server

    @property
    def label(self) -> str:
        return self.variant.label

    @property
    def port(self) -> int:
        return self.place.port

    def path(self, below: str) -> str:
        """The URL's path of what is `below` the root of the drive."""
        return self.variant.peer.mount + below

    @property
    def ports(self) -> tuple[int, ...]:
        """What clients connect to, in turns."""
        return (self.port,)

    def processes(self) -> list[int]:
        return tree(self.process.pid)

    def parts(self) -> dict[str, list[int]]:
        """The processes that work for it, by what they are to it."""
        return {"server": self.processes()}

    def rest(self) -> None:
        """Wait until it does nothing in the background that would disturb the next measurement."""
        if self.core and wait_until_mirrored(self.core, _REST, interval=0.02) is not Waited.MIRRORED:
            raise Failed(f"the mirror did not come to rest within {_REST:.0f} s")

    def forget_deleted(self) -> None:
        """Give back the room of what was deleted, as far as it is kept."""
        if self.core:
            empty_trash(self.core, system_caller(self.core, "bench"))


@contextlib.contextmanager
def started(below: Path, variants: Sequence[Variant], folders: Iterable[Folder], big: Path) -> Iterator[list[Server]]:
    """All `variants`, answering, with `folders` and the file `big` in each. They are ended; their folders stay."""
    kept = list(folders)
    below.chmod(0o755)  # Apache's children are not root
    with ExitStack() as stack:
        yield [stack.enter_context(_started(variant, below, kept, big)) for variant in variants]


@contextlib.contextmanager
def _started(variant: Variant, below: Path, folders: Sequence[Folder], big: Path) -> Iterator[Server]:
    place = Place(below / variant.label, free_port())
    place.served.mkdir(parents=True)
    place.own.mkdir()
    is_kelp = isinstance(variant.peer, Kelp)
    command = variant.peer.command(place)
    if not is_kelp:
        fill(place.served, folders, big)
    if variant.peer.account:
        _hand_over(place, variant.peer.account)
    log = below / f"{variant.label}.log"
    with log.open("wb") as out, ExitStack() as stack:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environ(variant, place), stdout=out, stderr=out, start_new_session=True
        )
        stack.callback(stop, process)
        wait_ready(place.port, variant.peer.mount, process, log)
        core = None
        if is_kelp:
            core = build(Settings.load(data=place.folder / "data", nas_root=place.folder / "nas"))
            stack.enter_context(closing(core))
        server = Server(variant, place, process, core)
        if is_kelp:
            fill_by_http(place.port, variant.peer.mount, folders, big)
            server.rest()
        yield server


def _environ(variant: Variant, place: Place) -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KELP_")}
    environ |= {"KELP_ADMIN_PASSWORD": PASSWORD, "RCLONE_CONFIG": os.devnull}
    if variant.library:
        synced = ":".join(str(folder) for folder in variant.peer.synced(place))
        environ |= {"LD_PRELOAD": str(variant.library), "BENCH_SYNC_BELOW": synced}
    return environ


def _hand_over(place: Place, account: str) -> None:
    for folder, _, names in os.walk(place.folder):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            shutil.chown(path, account, account)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, which each takes for an order to end; then its whole session, which is its alone."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_ready(port: int, mount: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, Failed), closing(Connection(port)) as connection:
            connection.ask(request("PROPFIND", mount, Depth="0"), 207)
            return
        time.sleep(0.05)
    raise Failed(f"{log.stem} did not start, see {log}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
