"""Kelp on other engines and in several processes, and what it needs beside it: PostgreSQL, Redis, an S3 endpoint."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.client import PASSWORD, Failed
from bench.contents import Folder, fill_by_http
from bench.peers import ROOT, Kelp, Place
from bench.processes import listening, tree
from bench.servers import Server, Variant, free_port, stop, wait_ready
from tests.services.postgresql import OwnPostgreSQL
from tests.services.redis import OwnRedis
from tests.services.s3 import own_s3
from vfs.bootstrap import build
from vfs.settings import Settings

_BUCKET = "kelp-bench"
_START = 60.0  # seconds
_DEFAULTS = {  # PostgreSQL's own, where the tests have others
    "shared_buffers": "128MB", "max_wal_size": "1GB", "wal_level": "replica", "autovacuum": "on", "jit": "on",
}  # fmt: skip

Wait = Callable[[int, str, subprocess.Popen[bytes], Path], None]  # port, mount, process, log; raises Failed


@dataclass(frozen=True)
class Shape:
    """What a drive is made of. `processes` are those of each node; 0: as many as Kelp takes by itself."""

    label: str
    database: str = "sqlite"  # or "postgresql"
    cache: str = "folder"  # or "s3"
    queue: str = "in-process"  # or "redis"
    nodes: int = 1
    processes: int = 0
    workers: int = 2  # of `kelp worker`

    @property
    def name(self) -> str:
        """For folders, databases and queues."""
        return "_".join(re.findall(r"[a-z0-9]+", self.label.lower()))


@dataclass(frozen=True)
class Endpoint:
    """An S3 endpoint; `name` is for the report."""

    url: str
    access_key: str
    secret_key: str
    name: str

    @property
    def port(self) -> int | None:
        """None where another machine answers."""
        address = urlsplit(self.url)
        return address.port if address.hostname in ("127.0.0.1", "localhost") else None


@dataclass(frozen=True)
class Services:
    """What runs beside the drives of a bench, the same for all of them."""

    postgresql: OwnPostgreSQL
    redis: OwnRedis
    s3: Endpoint

    def environ(self, shape: Shape, own: str) -> dict[str, str]:
        """The settings of a drive of that shape; `own` names its database, its queue, its part of the bucket."""
        found: dict[str, str] = {}
        if shape.database == "postgresql":
            found["KELP_DATABASE_URL"] = self.postgresql.url(own)
        if shape.cache == "s3":
            found["KELP_CACHE_URL"] = f"s3://{_BUCKET}?endpoint={self.s3.url}&prefix={own}/"
            found |= {"KELP_CACHE_ACCESS_KEY": self.s3.access_key, "KELP_CACHE_SECRET_KEY": self.s3.secret_key}
        if shape.queue == "redis":
            found |= {"KELP_QUEUE_URL": self.redis.url, "KELP_QUEUE_NAME": own}
        return found

    def parts(self, shape: Shape) -> dict[str, list[int]]:
        """Their processes on this machine, of those that the shape uses."""
        used: dict[str, int | None] = {}
        if shape.database == "postgresql":
            used["PostgreSQL"] = self.postgresql.port
        if shape.cache == "s3":
            used["S3"] = self.s3.port
        if shape.queue == "redis":
            used["Redis"] = self.redis.port
        return {
            name: sorted({pid for root in _roots(port) for pid in tree(root)}) for name, port in used.items() if port
        }


@functools.cache
def _roots(port: int) -> list[int]:
    """Found once: it means to look at every file of every process."""
    return listening(port)


@contextlib.contextmanager
def services(below: Path) -> Iterator[Services]:
    """Started in a folder of their own, so that PostgreSQL's files are on the same disk as SQLite's.

    KELP_BENCH_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY name an endpoint; else it is the one of the tests (moto), which
    keeps all in memory and is slow.
    """
    with ExitStack() as stack:
        for name in ("postgresql", "redis"):
            (below / name).mkdir()
        database = OwnPostgreSQL(below / "postgresql", durable=True, **_DEFAULTS)
        stack.callback(database.stop, "immediate")
        database.start()
        queue = OwnRedis(below / "redis")
        stack.callback(queue.kill)
        queue.start()
        yield Services(database, queue, stack.enter_context(_endpoint()))


@contextlib.contextmanager
def _endpoint() -> Iterator[Endpoint]:
    given = {
        name: os.environ.get(f"KELP_BENCH_S3_{name.upper()}", "") for name in ("endpoint", "access_key", "secret_key")
    }
    if given["endpoint"]:
        url = given["endpoint"].rstrip("/")
        yield Endpoint(url, given["access_key"], given["secret_key"], f"{url}, {_software(url)}")
        return
    with own_s3() as server:
        yield Endpoint(server.url, "bench", "bench-secret", "moto (in memory, in Python: slower than any real one)")


def _software(url: str) -> str:
    """What the endpoint says that it is."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as refusal:
        headers = refusal.headers
    return headers.get("Server") or "which does not say what it is"


class _Shaped(Kelp):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.processes)
        self.name = shape.label


@dataclass(frozen=True)
class Drive(Server):
    """A running drive; as a server, it is what its first node is."""

    shape: Shape
    services: Services
    nodes: tuple[tuple[int, subprocess.Popen[bytes]], ...]  # port and process
    worker: subprocess.Popen[bytes] | None

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(port for port, _ in self.nodes)

    def processes(self) -> list[int]:
        return [pid for _, process in self.nodes for pid in tree(process.pid)]

    def parts(self) -> dict[str, list[int]]:
        own = {"server": self.processes()} | ({"worker": tree(self.worker.pid)} if self.worker else {})
        return own | self.services.parts(self.shape)


@contextlib.contextmanager
def drives(
    below: Path, beside: Services, shapes: Sequence[Shape], folders: Sequence[Folder], big: Path
) -> Iterator[list[Drive]]:
    """A drive of each shape, answering, with `folders` and the file `big` in it."""
    with ExitStack() as stack:
        yield [stack.enter_context(_drive(shape, below, beside, folders, big)) for shape in shapes]


@contextlib.contextmanager
def _drive(shape: Shape, below: Path, beside: Services, folders: Sequence[Folder], big: Path) -> Iterator[Drive]:
    folder = below / shape.name
    folder.mkdir()
    if shape.database == "postgresql":
        beside.postgresql.create(shape.name)
    environ = {"KELP_CACHE_URL": str(folder / "cache")} | beside.environ(shape, shape.name)
    settings = Settings.load(None, environ, data=folder / "data", nas_root=folder / "nas")
    with ExitStack() as stack:
        nodes = []
        for number in range(shape.nodes):
            port = free_port()
            data = folder / ("data" if number == 0 else f"data-{number}")
            nodes.append((port, stack.enter_context(serving(folder, data, environ, port, shape.processes))))
        core = stack.enter_context(closing(build(settings)))
        worker = stack.enter_context(working(folder, environ, shape.workers)) if shape.queue == "redis" else None
        variant, place = Variant(_Shaped(shape)), Place(folder, nodes[0][0])
        drive = Drive(variant, place, nodes[0][1], core, shape, beside, tuple(nodes), worker)
        fill_by_http(drive.port, Kelp.mount, folders, big)
        drive.rest()
        yield drive


@contextlib.contextmanager
def serving(
    folder: Path, data: Path, environ: dict[str, str], port: int, processes: int, wait: Wait = wait_ready
) -> Iterator[subprocess.Popen[bytes]]:
    """`kelp serve` on `port`, ready as `wait` sees it; its NAS is in `folder`. 0 `processes`: as Kelp chooses."""
    many = ["--processes", str(processes)] if processes else []
    log = folder / f"{data.name}.log"
    with _kelp("serve", folder, data, environ, log, "--port", str(port), *many) as process:
        wait(port, Kelp.mount, process, log)
        yield process


@contextlib.contextmanager
def working(folder: Path, environ: dict[str, str], workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """`kelp worker` of as many processes, all at work."""
    log = folder / "worker.log"
    words = ("--workers", str(workers), "--log-level", "info")
    with _kelp("worker", folder, folder / "data", environ, log, *words) as process:
        until = time.monotonic() + _START
        while "carry changes" not in log.read_text():
            if time.monotonic() > until or process.poll() is not None:
                raise Failed(f"the worker did not start, see {log}")
            time.sleep(0.01)
        yield process


@contextlib.contextmanager
def _kelp(
    command: str, folder: Path, data: Path, environ: dict[str, str], log: Path, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, str(ROOT / "kelp.py"), command, "--data", str(data), "--nas", str(folder / "nas")]
    if "--log-level" not in arguments:
        words += ["--log-level", "warning"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*words, *arguments],
            cwd=ROOT,
            env={**outside, **environ, "KELP_ADMIN_PASSWORD": PASSWORD},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def ended_now(process: subprocess.Popen[bytes]) -> None:
    """Kill it and all of its session: for what is not needed any more, where an orderly end takes seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
