"""How fast changes come to the NAS, by the queue in the serving process and by `kelp worker`.

A backlog: files that were accepted while nothing carried them, the same for all. And one small change at a time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import PASSWORD, Connection, Failed, request
from bench.contents import SMALL, content
from bench.peers import Kelp as Peer
from bench.servers import free_port
from bench.shapes import Drive, Services, Shape, ended_now, serving, working
from cli.first_run import ensure_admin
from jobs.redis_queue import RedisQueue
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import ROOT_ID, Place
from vfs.operations.access import system_caller
from vfs.operations.backlog import Waited, wait_until_mirrored
from vfs.operations.folders import make_folder
from vfs.operations.writing import put_file
from vfs.settings import Settings

_FOLDERS = 10  # that the files are spread over
_WRITERS = 8  # threads
_PATIENCE = 600.0  # seconds
_LOOK = 0.001  # seconds between two looks at the NAS


@dataclass(frozen=True)
class Carried:
    """A backlog carried by one shape, by round: seconds from when it began until all was recorded."""

    files: int
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Lone:
    """Single changes: seconds from the answer to the client until the file was on the NAS, all rounds."""

    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Seed:
    """A drive that nobody has open, whose changes are accepted and not carried."""

    folder: Path
    database: str
    entries: list[int]


def shapes() -> list[Shape]:
    found = []
    for database, name in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        found.append(Shape(f"{name}, in-process", database, processes=1))
        found += [
            Shape(f"{name}, worker × {workers}", database, queue="redis", processes=1, workers=workers)
            for workers in (1, 2)
        ]
    return found


def lone_shapes() -> list[Shape]:
    return [shape for shape in shapes() if shape.queue == "in-process" or shape.workers == 1]


def backlogs(below: Path, beside: Services, files: int, rounds: int, say: Callable[[str], None]) -> dict[str, Carried]:
    """By the shape's label. Each round carries a copy of the same drive."""
    chosen = shapes()
    seeds = {database: _seed(below, beside, database, files) for database in ("sqlite", "postgresql")}
    say(f"{files:,} files accepted on each database")
    found = {shape.label: Carried(files) for shape in chosen}
    for number in range(rounds):
        first = number % len(chosen)
        for shape in (*chosen[first:], *chosen[:first]):
            took = _carry(below, beside, shape, seeds[shape.database], number)
            found[shape.label].seconds.append(took)
            say(f"{files:,} files to the NAS, {shape.label}: {took:.1f} s")
    return found


def _seed(below: Path, beside: Services, database: str, files: int) -> _Seed:
    shape = Shape(f"seed {database}", database)
    folder = below / shape.name
    folder.mkdir()
    if database == "postgresql":
        beside.postgresql.create(shape.name)
    settings = _settings(folder, _cache(below, database), beside.environ(shape, shape.name))
    with closing(build(settings)) as kelp:
        ensure_admin(kelp, {"KELP_ADMIN_PASSWORD": PASSWORD})
        return _Seed(folder, shape.name, _accept(kelp, files))


def _accept(kelp: Kelp, files: int) -> list[int]:
    """Put files into folders; the ids of all that is to be carried."""
    caller = system_caller(kelp, "bench")
    folders = [make_folder(kelp, caller, Place(ROOT_ID, f"folder-{number}")).id for number in range(_FOLDERS)]

    def put(number: int) -> int:
        place = Place(folders[number % _FOLDERS], f"document-{number:05}.docx")
        return put_file(kelp, caller, place, [content(number, SMALL)]).entry.id

    with ThreadPoolExecutor(_WRITERS) as threads:
        return [*folders, *threads.map(put, range(files))]


def _cache(below: Path, database: str) -> dict[str, str]:
    """One for all copies of a drive: contents are immutable, and nothing is evicted."""
    return {"KELP_CACHE_URL": str(below / f"cache-{database}")}


def _settings(folder: Path, *environs: dict[str, str]) -> Settings:
    environ = {name: value for each in environs for name, value in each.items()}
    return Settings.load(None, environ, data=folder / "data", nas_root=folder / "nas")


def _carry(below: Path, beside: Services, shape: Shape, seed: _Seed, number: int) -> float:
    """Seconds that all of a copy of `seed` takes."""
    own = f"{shape.name}_{number}"
    folder = below / own
    shutil.copytree(seed.folder, folder)
    if shape.database == "postgresql":
        beside.postgresql.create(own, template=seed.database)
    environ = _cache(below, shape.database) | beside.environ(shape, own)
    settings = _settings(folder, environ)
    if shape.queue == "redis":
        with closing(RedisQueue(settings.queue)) as queue:
            for entry in seed.entries:
                queue.enqueue("mirror", entry, "")
    os.sync()  # what the copy left to the kernel is none of its work
    try:
        with _at_work(folder, environ, shape):
            return _seconds_until_carried(settings)
    finally:
        if shape.database == "postgresql":
            beside.postgresql.drop(own)
        shutil.rmtree(folder)


@contextmanager
def _at_work(folder: Path, environ: dict[str, str], shape: Shape) -> Iterator[None]:
    started = (
        working(folder, environ, shape.workers)
        if shape.queue == "redis"
        else serving(folder, folder / "data", environ, free_port(), shape.processes, _wait_listening)
    )
    with started as process:
        yield
        ended_now(process)


def _wait_listening(port: int, mount: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Right after that the jobs begin; to wait for an answer would give them a start of a tenth of a second."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.005)
    raise Failed(f"the server did not start, see {log}")


def _seconds_until_carried(settings: Settings) -> float:
    """From now on, where those who carry have just begun."""
    began = time.monotonic()
    with closing(build(settings)) as kelp:
        if wait_until_mirrored(kelp, _PATIENCE, interval=0.05) is not Waited.MIRRORED:
            raise Failed(f"the backlog was not carried within {_PATIENCE:.0f} s")
        return time.monotonic() - began


def lone_changes(drives: Sequence[Drive], count: int, rounds: int, say: Callable[[str], None]) -> dict[str, Lone]:
    """By the drive's label: `count` new files of 4 KiB in each round, one after the other, each carried alone."""
    found = {drive.label: Lone() for drive in drives}
    for number in range(rounds):
        for drive in drives:
            with closing(Connection(drive.port)) as connection:
                if number == 0:
                    connection.ask(request("MKCOL", drive.path("lone/")), 201)
                    drive.rest()
                for each in range(count):
                    found[drive.label].seconds.append(_one(drive, connection, f"{number}-{each}"))
                    drive.rest()
    for label, lone in found.items():
        say(f"one change to the NAS, {label}: at most {max(lone.seconds) * 1e3:.0f} ms")
    return found


def _one(drive: Drive, connection: Connection, name: str) -> float:
    """A file on the NAS is named `{stamp}__{name}`; it gets that name when its bytes are whole."""
    folder = drive.place.folder / "nas" / "lone"
    connection.ask(request("PUT", f"{Peer.mount}lone/{name}", content(0, SMALL)), 201)
    answered = time.perf_counter()
    while time.perf_counter() < answered + _PATIENCE:
        if any(found.endswith(f"__{name}") for found in os.listdir(folder)):
            return time.perf_counter() - answered
        time.sleep(_LOOK)
    raise Failed(f"{name} did not come to the NAS within {_PATIENCE:.0f} s")
