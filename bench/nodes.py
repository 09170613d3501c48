"""One node against two, and one process against two, on one PostgreSQL: small reads, alone and beside a writer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.cases import Case, MakeTrial, Sizes, Trial, reading_cases
from bench.client import Connection, request
from bench.contents import Folder, content
from bench.load import Tally, Work
from bench.servers import Server
from bench.shapes import Shape

WRITES = 20  # a second: the same number beside each shape, so that what the readers cost can be compared


def shapes() -> list[Shape]:
    """All with a worker of their own, so that a server process does nothing but serve."""
    return [
        Shape(label, "postgresql", "folder", "redis", nodes, processes, workers=1)
        for label, nodes, processes in (
            ("1 node, 1 process", 1, 1),
            ("1 node, 2 processes", 1, 2),
            ("2 nodes, 1 process each", 2, 1),
        )
    ]


def cases(sizes: Sizes, big: Path) -> list[Case]:
    """GET and PROPFIND by many clients, spread over the nodes; each once more beside a writer."""
    folders = {"get-small": "small", f"list-{max(sizes.listed)}-windows-unchanged": f"listed-{max(sizes.listed)}"}
    found = []
    for case in reading_cases(sizes, big):
        if case.key in folders:
            written = next(folder for folder in case.needs if folder.name == folders[case.key])
            found.append(replace(case, clients=(sizes.many,)))
            found.append(
                replace(
                    case,
                    key=f"{case.key}-beside",
                    title=f"{case.title.removesuffix(', unchanged')}, beside {WRITES} PUTs a second",
                    trial=_beside_a_writer(case.trial, written),
                    clients=(sizes.many,),
                    changes=True,
                )
            )
    return found


def _beside_a_writer(reading: MakeTrial, folder: Folder) -> MakeTrial:
    """The writer's operations do not count; what they cost does."""

    def trial(server: Server, clients: int, number: int) -> Trial:
        read = reading(server, clients, number)
        bodies = itertools.cycle(content(value, folder.size) for value in range(2))
        messages = (request("PUT", server.path(folder.paths()[0]), body) for body in bodies)
        return Trial([_writing(messages), *read.works], read.finish)

    return trial


def _writing(messages: Iterator[bytes]) -> Work:
    def run(connection: Connection, seconds: float) -> Tally:
        started = time.perf_counter()
        for count in itertools.count():
            pause = started + count / WRITES - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            if time.perf_counter() >= started + seconds:
                break
            connection.ask(next(messages), 204)
        return Tally(0, 0.0)

    return Work(run)
