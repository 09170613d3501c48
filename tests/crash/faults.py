"""What can happen to the parts of a drive: each fault has its time, and all is there again at its end.

`says`: what `/readyz` has to tell meanwhile, part by part. `breaks`: clients may lose connections, since a process that
served them was killed. `slow`: how long bytes take is not Kelp's doing.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.crash.parts import Parts, kill_all, until
from tests.services import s3
from tests.services.child import children
from tests.services.faulty_proxy import Answer, Cut, Mode, Pass, Refuse, Reset, Silent, Slow
from vfs.model import PART_SIZE

_MARKER = ".kelp"
_SILENCE = 6.0
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
)
_SLOW_DOWN_BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass(frozen=True)
class Span:
    """How long a fault lasts: so many `seconds`, and until it was `noticed`, but at most `patience` seconds longer.

    That it was noticed is for the test to judge.
    """

    seconds: float
    noticed: Callable[[], bool]
    patience: float

    def last(self) -> None:
        time.sleep(self.seconds)
        self._until_noticed()

    def spread(self, count: int, act: Callable[[int], object]) -> None:
        """`act` so often, each time for its share."""
        for number in range(count):
            act(number)
            time.sleep(self.seconds / count)
        self._until_noticed()

    def _until_noticed(self) -> None:
        end = time.monotonic() + self.patience
        while not self.noticed() and time.monotonic() < end:
            time.sleep(0.1)


@dataclass(frozen=True)
class Fault:
    happen: Callable[[Parts, Span], None]
    says: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    slow: bool = False
    least: float = 0.0  # seconds, however short the others are: who is silent is doubted only after some


# --- Kelp's own processes


def server_processes_die(parts: Parts, span: Span) -> None:
    """One after the other, of either node; who watches over them replaces them."""

    def kill(number: int) -> None:
        server = parts.servers[number % 2].process.pid
        until(lambda: len(children(server)) == 2)
        os.kill(children(server)[number // 2 % 2], signal.SIGKILL)

    span.spread(4, kill)


def node_dies(parts: Parts, span: Span) -> None:
    kill_all(parts.servers[0])
    span.last()
    parts.servers[0].start()
    parts.servers[0].wait_ready()


def worker_processes_die(parts: Parts, span: Span) -> None:
    def kill(number: int) -> None:
        pid = parts.worker.process.pid
        until(lambda: len(children(pid)) == 2)
        until(lambda: any((parts.nas / ".kelp/tmp").iterdir()))  # in the middle of a file
        os.kill(children(pid)[number % 2], signal.SIGKILL)

    span.spread(4, kill)


def worker_dies(parts: Parts, span: Span) -> None:
    kill_all(parts.worker)
    span.last()
    parts.worker.start()
    parts.worker.wait_ready()


# --- Redis


def queue_dies(parts: Parts, span: Span) -> None:
    """It comes back empty."""
    parts.queue.kill()
    span.last()
    parts.queue.start()


def queue_is_flushed(parts: Parts, span: Span) -> None:
    span.spread(5, lambda _: parts.queue.flush())


def queue_hangs(parts: Parts, span: Span) -> None:
    parts.queue.freeze()
    try:
        span.last()
    finally:
        parts.queue.thaw()


# --- PostgreSQL


def database_restarts(parts: Parts, span: Span) -> None:
    span.spread(2, lambda _: parts.database.restart("fast"))


def database_dies(parts: Parts, span: Span) -> None:
    parts.database.stop("immediate")
    span.last()
    parts.database.start()


def database_hangs(parts: Parts, span: Span) -> None:
    with parts.database.frozen():
        span.last()


# --- the S3 endpoint


def _store(*modes: Mode) -> Callable[[Parts, Span], None]:
    """Each in turn for its share of the time."""

    def happen(parts: Parts, span: Span) -> None:
        try:
            span.spread(len(modes), lambda number: setattr(parts.proxy, "mode", modes[number]))
        finally:
            parts.proxy.mode = Pass()

    return happen


def store_cuts_parts(parts: Parts, span: Span) -> None:
    """Answers end in good order before their end, and just where a part ends: the next part has to come anew."""
    head = _head_of_an_answer(parts)
    places = (100_000, 1 << 20, PART_SIZE, head + PART_SIZE - 1, head + PART_SIZE, 3 * PART_SIZE // 2)
    _store(*(Cut(after=place) for place in places))(parts, span)


def _head_of_an_answer(parts: Parts) -> int:
    """Bytes before the first byte of an object's part, when it is asked for as Kelp asks."""
    import boto3

    keys = {"aws_access_key_id": s3.ACCESS_KEY, "aws_secret_access_key": s3.SECRET_KEY}
    client = boto3.client("s3", endpoint_url=parts.store.url, region_name="us-east-1", **keys)
    client.put_object(Bucket="kelp-test", Key="measure", Body=b"x" * PART_SIZE)
    address = {"Bucket": "kelp-test", "Key": "measure"}
    url = urlsplit(client.generate_presigned_url("get_object", Params=address))
    with socket.create_connection(("127.0.0.1", parts.store.port)) as connection:
        lines = (f"GET {url.path}?{url.query} HTTP/1.1", f"Host: {url.netloc}", f"Range: bytes=0-{PART_SIZE - 1}")
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        answer = connection.makefile("rb")
        length = 0
        while line := answer.readline():
            length += len(line)
            if line == b"\r\n":
                break
    client.delete_object(**address)
    client.close()
    return length


# --- the NAS


def nas_is_unmounted(parts: Parts, span: Span) -> None:
    """The folder under a mount point is empty."""
    away = parts.nas.with_name("nas, not mounted")
    parts.nas.rename(away)
    parts.nas.mkdir()
    span.last()
    assert not list(parts.nas.iterdir()), "somebody wrote to the folder under the mount point"
    parts.nas.rmdir()
    away.rename(parts.nas)


def nas_has_no_marker(parts: Parts, span: Span) -> None:
    marker = parts.nas / _MARKER / "drive.json"
    kept = marker.read_bytes()
    marker.unlink()
    span.last()
    assert not marker.exists(), "somebody has taken the NAS for a new one"
    marker.write_bytes(kept)


_QUEUE, _DATABASE, _CACHE, _NAS = {"queue": "away"}, {"database": "away"}, {"cache": "away"}, {"nas": "down"}

FAULTS: dict[str, Fault] = {
    "server processes die": Fault(server_processes_die, breaks=True),
    "a node dies": Fault(node_dies, breaks=True),
    "worker processes die": Fault(worker_processes_die),
    "the worker dies": Fault(worker_dies),
    "Redis dies": Fault(queue_dies, _QUEUE),
    "Redis is flushed": Fault(queue_is_flushed),
    "Redis hangs": Fault(queue_hangs, _QUEUE, least=_SILENCE),
    "PostgreSQL restarts": Fault(database_restarts),
    "PostgreSQL dies": Fault(database_dies, _DATABASE),
    "PostgreSQL hangs": Fault(database_hangs, _DATABASE, least=_SILENCE),
    "S3 refuses": Fault(_store(Refuse()), _CACHE),
    "S3 hangs": Fault(_store(Silent()), _CACHE, least=_SILENCE),
    "S3 is slow": Fault(_store(Slow(0.3), Slow(0.64)), slow=True),
    "S3 resets uploads": Fault(_store(Reset(after=30_000, requests=True), Reset(after=3_000_000, requests=True))),
    "S3 answers 503": Fault(_store(Answer(_SLOW_DOWN % (len(_SLOW_DOWN_BODY), _SLOW_DOWN_BODY))), _CACHE),
    "S3 cuts downloads": Fault(store_cuts_parts),
    "the NAS is not mounted": Fault(nas_is_unmounted, _NAS, least=_SILENCE),
    "the NAS loses its marker": Fault(nas_has_no_marker, _NAS, least=_SILENCE),
}
