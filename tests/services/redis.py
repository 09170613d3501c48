"""A real Redis for tests: one for the whole run (`shared`), or one of its own for a test that kills it.

server = shared()                    # KELP_TEST_REDIS_URL, else our own, started at the first call
Settings.load(queue_url=server.url, queue_name="mine", …)

with redis_server() as server: server.kill(); server.start()
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.services.child import Child, bound_to_parent, free_port, scratch_folder

VARIABLE = "KELP_TEST_REDIS_URL"
_MEMORY_ONLY = ("--save", "", "--appendonly", "no")  # Kelp needs nothing of it to last


def missing() -> str | None:
    """Why there can be no Redis here; None when there can."""
    if os.environ.get(VARIABLE) or shutil.which("redis-server"):
        return None
    return f"no Redis here (Debian package redis-server, or {VARIABLE})"


class Redis:
    """A running server; `url` names it and the database number that we use."""

    def __init__(self, url: str) -> None:
        self.url = url

    def flush(self) -> None:
        """Forget everything, in every database."""
        with self._connected() as client:
            client.flushall()

    def _connected(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=10, socket_connect_timeout=10)


class OwnRedis(Redis):
    """A server in `folder` that a test may end and start again, empty; its port stays."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, missing()
        self.port = free_port()
        super().__init__(f"redis://127.0.0.1:{self.port}/0")
        own = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--daemonize", "no")
        command = bound_to_parent([program, *own, *_MEMORY_ONLY], signal.SIGKILL)
        self._child = Child(command, folder / "server.log", self._answers, cwd=folder)
        self.log = self._child.log

    def _answers(self) -> bool:
        try:
            with self._connected() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def running(self) -> bool:
        return self._child.running

    def start(self) -> None:
        self._child.start()

    def stop(self) -> None:
        self._child.end(signal.SIGTERM)

    def kill(self) -> None:
        self._child.end(signal.SIGKILL)

    def freeze(self) -> None:
        """It takes connections and does not answer, until `thaw`."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._child.pid, signal.SIGCONT)


@contextlib.contextmanager
def redis_server() -> Iterator[OwnRedis]:
    """A started server of one's own."""
    with scratch_folder("kelp-redis-") as folder:
        server = OwnRedis(folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@functools.cache
def shared() -> Redis:
    """The server of this run: started at the first call, ended with this process.

    The environment names it from then on, for the processes that tests start.
    """
    url = os.environ.get(VARIABLE)
    if url:
        return Redis(url)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(redis_server())
    os.environ[VARIABLE] = server.url
    return server
