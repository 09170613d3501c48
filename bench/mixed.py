"""Two cases that only the production bench has: folders that come and go, and people who do different things."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

from bench.cases import FEW, WINDOWS, Case, MakeTrial, Sizes, Trial, entries, require
from bench.changing import in_turns, new_folder
from bench.client import Connection, request
from bench.contents import SMALL, Folder, content
from bench.load import Tally, Work
from bench.servers import Server

_PLAN = 1_000  # requests of a client before it starts over


def mixed_cases(sizes: Sizes) -> list[Case]:
    shared = Folder("mixed", 100, SMALL)
    return [
        Case("folder-life", "MKCOL + DELETE", "MKCOL", _folder_life, (FEW, sizes.many), changes=True),
        Case(
            "mixed", "80 % GET, 10 % PROPFIND, 10 % PUT", "PUT", _mixed(shared), (sizes.many,), (shared,), changes=True
        ),
    ]


def _folder_life(server: Server, clients: int, number: int) -> Trial:
    """An operation is a folder made and deleted."""
    folder = new_folder(server)

    def work(client: int) -> Work:
        path = server.path(f"{folder}{client}/")
        whole = in_turns(request("MKCOL", path), request("DELETE", path))

        def run(connection: Connection, seconds: float) -> Tally:
            tally = whole.run(connection, seconds)
            return Tally(tally.count // 2, tally.seconds)

        return Work(run)

    return Trial([work(client) for client in range(clients)], lambda tally: server.forget_deleted())


def _mixed(folder: Folder) -> MakeTrial:
    """Each client reads and writes over the same files in an order of its own, and lists their folder."""

    def trial(server: Server, clients: int, number: int) -> Trial:
        listing = request("PROPFIND", server.path(folder.name + "/"), **WINDOWS)
        paths = folder.paths()

        def work(client: int) -> Work:
            choice = random.Random(client)
            plan = []
            for _ in range(_PLAN):
                path, what = server.path(choice.choice(paths)), choice.random()
                if what < 0.8:
                    plan.append((request("GET", path), 200))
                elif what < 0.9:
                    plan.append((listing, 207))
                else:
                    plan.append((request("PUT", path, content(number, folder.size)), 204))
            return Work(_following(plan), _whole(server, folder))

        return Trial([work(client) for client in range(clients)])

    return trial


def _following(plan: list[tuple[bytes, int]]) -> Callable[[Connection, float], Tally]:
    def run(connection: Connection, seconds: float) -> Tally:
        started = now = time.perf_counter()
        count = 0
        for message, wanted in itertools.cycle(plan):
            connection.ask(message, wanted)
            count += 1
            now = time.perf_counter()
            if now >= started + seconds:
                break
        return Tally(count, now - started)

    return run


def _whole(server: Server, folder: Folder) -> Callable[[Connection], None]:
    """The folder holds the same files, whole ones."""
    path = server.path(folder.paths()[-1])

    def check(connection: Connection) -> None:
        connection.ask(request("GET", path), 200)
        body = connection.body
        require(body == content(int.from_bytes(body[:8], "big"), folder.size), "GET gave other bytes than were put")
        connection.ask(request("PROPFIND", server.path(folder.name + "/"), **WINDOWS), 207)
        require(entries(connection) == folder.files + 1, "the folder lost or gained a file")

    return check
