"""A drive as it runs in production, every part a process of its own that a test may take away.

Two nodes of two server processes, a worker, PostgreSQL, Redis, an S3 endpoint behind a proxy that can err, a NAS.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import warm_starts
from tests.server_process import PROGRAM, ServerProcess
from tests.services import postgresql, s3
from tests.services import redis as redis_service
from tests.services.child import bound_to_parent, children, parent
from tests.services.faulty_proxy import FaultyProxy
from tests.waiting import until

_SUPERVISED = 2  # processes of a node, and of the worker
_PATIENCE = 60.0  # seconds; a machine under load is no failure


class WorkerProcess(ServerProcess):
    """`kelp worker` with its processes."""

    def start(self) -> None:
        self._process = self._launch(self._under, "worker")

    def wait_ready(self, seconds: float = _PATIENCE) -> None:
        until(lambda: len(children(self.process.pid)) >= _SUPERVISED, seconds)


@dataclass(frozen=True)
class Parts:
    """`servers` are the nodes."""

    servers: tuple[ServerProcess, ServerProcess]
    worker: WorkerProcess
    database: postgresql.OwnPostgreSQL
    queue: redis_service.OwnRedis
    store: s3.OwnS3
    proxy: FaultyProxy  # before the store
    _told: list[int] = field(default_factory=lambda: [0, 0, 0])  # characters of each log

    @property
    def nas(self) -> Path:
        return self.servers[0].nas

    @property
    def kelp_processes(self) -> tuple[ServerProcess, ...]:
        return (*self.servers, self.worker)

    def run(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """A command line call on the first node. Raises subprocess.TimeoutExpired."""
        first = self.servers[0]
        words = [sys.executable, str(PROGRAM), *arguments, "--data", str(first.data), "--nas", str(first.nas)]
        return warm_starts.run(words, first.environ, seconds)

    def new_log_text(self) -> str:
        """What all have logged since the last call."""
        texts = [process.log_text() for process in self.kelp_processes]
        new = "".join(text[told:] for text, told in zip(texts, self._told, strict=True))
        self._told[:] = map(len, texts)
        return new


@contextlib.contextmanager
def production(folder: Path, **settings: object) -> Iterator[Parts]:
    """A drive that works; whatever happens, no process of it is left."""
    with contextlib.ExitStack() as undo:
        database = undo.enter_context(postgresql.postgresql_server())
        database.create("kelp")
        queue = undo.enter_context(redis_service.redis_server())
        store = undo.enter_context(s3.own_s3())
        proxy = undo.enter_context(FaultyProxy(store.port))
        given: dict[str, object] = {
            "database_url": database.url("kelp"),
            "queue_url": queue.url,
            "cache_url": s3.bucket_url(f"http://127.0.0.1:{proxy.port}"),
            "cache_access_key": s3.ACCESS_KEY,
            "cache_secret_key": s3.SECRET_KEY,
            "server_processes": _SUPERVISED,
            "mirror_workers": _SUPERVISED,
            **settings,
        }
        under = bound_to_parent((), signal.SIGKILL)
        servers = tuple(ServerProcess(folder / name, under=under, worker=False, **given) for name in ("a", "b"))
        worker = WorkerProcess(folder / "worker", under=under, worker=False, **given)
        for process in (*servers, worker):
            process.log.parent.mkdir(parents=True)
            process.nas = folder / "nas"
            undo.callback(kill_all, process)
            process.start()
            process.wait_ready()
        yield Parts((servers[0], servers[1]), worker, database, queue, store, proxy)


def kill_all(process: ServerProcess) -> None:
    """SIGKILL to the supervisor and its processes: what the machine's end does to them."""
    family = children(process.process.pid)
    process.kill()
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_is_alive(pid) for pid in family))


def _is_alive(pid: int) -> bool:
    return parent(Path(f"/proc/{pid}/stat")) != 0
