"""A real S3 endpoint for tests: moto's server as a process of its own, or the one that the environment names.

with s3_endpoint() as url:
    Settings.load(cache_url=bucket_url(url), cache_access_key=ACCESS_KEY, cache_secret_key=SECRET_KEY)

KELP_TEST_S3_ENDPOINT, KELP_TEST_S3_ACCESS_KEY and KELP_TEST_S3_SECRET_KEY name any other to run the same tests against.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.child import Child, bound_to_parent, free_port, scratch_folder

ACCESS_KEY = os.environ.get("KELP_TEST_S3_ACCESS_KEY", "kelp-test")
SECRET_KEY = os.environ.get("KELP_TEST_S3_SECRET_KEY", "kelp-test-secret")
BUCKET = "kelp-test"


@contextmanager
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 endpoint (`http://127.0.0.1:PORT`), stopped at the end of the block when we started it."""
    given = os.environ.get("KELP_TEST_S3_ENDPOINT")
    if given:
        yield given.rstrip("/")
        return
    with own_s3() as server:
        yield server.url


@contextmanager
def own_s3() -> Iterator[OwnS3]:
    """An endpoint that a test may end and start again, whatever the environment names."""
    with scratch_folder("kelp-s3-") as folder:
        server = OwnS3(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


class OwnS3:
    """moto's server, which keeps all in memory: ended, it has forgotten every object; its port stays."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        bound = bound_to_parent(command, signal.SIGKILL)
        self._child = Child(bound, folder / "server.log", self._answers, cwd=folder)
        self.log = self._child.log

    def start(self) -> None:
        self._child.start()

    def kill(self) -> None:
        self._child.end(signal.SIGKILL)

    def _answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True


def client(endpoint: str) -> Any:
    """boto3's."""
    import boto3

    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)


def bucket_url(endpoint: str) -> str:
    """A `cache.url` with a prefix of its own in one bucket: to SeaweedFS each bucket is some volumes more."""
    return f"s3://{BUCKET}?endpoint={endpoint}&prefix={uuid.uuid4()}/"
