"""What is measured. Each case prepares what it needs, then gives a rate: more is better, in the unit it names."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from bench.client import Client, rate, request, run
from bench.servers import Server

SMALL = bytes(range(256)) * 16  # 4 KiB
BIG = 256 * 1024 * 1024
ENTRIES = 1000
_SOME = 100  # small files that are read in turn

_LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>bench</D:owner></D:lockinfo>"
)
_numbers = itertools.count()  # no name is used twice


@dataclass(frozen=True)
class Case:
    """`measure(server, seconds)` gives the rate; `prepare(server)` runs once per server, unmeasured."""

    name: str
    unit: str
    measure: Callable[[Server, float], float]
    prepare: Callable[[Server], None] = lambda server: None


def fill(server: Server, folder: str, count: int) -> None:
    """Make `folder` with `count` files of 4 KiB, `0` and up."""
    with closing(Client(server.port)) as client:
        client.ask(request("MKCOL", f"{server.mount}{folder}"), 201)
    run(server.port, (request("PUT", f"{server.mount}{folder}/{number}", SMALL) for number in range(count)), 8)


def _new_names(server: Server, method: str, body: bytes = b"") -> Iterator[bytes]:
    """Requests on ever new names in a new folder."""
    folder = f"{server.mount}{method.lower()}{next(_numbers)}"
    with closing(Client(server.port)) as client:
        client.ask(request("MKCOL", folder), 201)
    return (request(method, f"{folder}/{number}", body) for number in itertools.count())


def _put_small(connections: int) -> Case:
    def measure(server: Server, seconds: float) -> float:
        return rate(server.port, _new_names(server, "PUT", SMALL), connections, seconds)

    return Case(f"PUT new 4 KiB, {_count(connections)}", "1/s", measure)


def _get_small(connections: int) -> Case:
    def measure(server: Server, seconds: float) -> float:
        messages = [request("GET", f"{server.mount}small{connections}/{number}") for number in range(_SOME)]
        return rate(server.port, itertools.cycle(messages), connections, seconds)

    return Case(f"GET 4 KiB, {_count(connections)}", "1/s", measure, lambda s: fill(s, f"small{connections}", _SOME))


def _propfind(server: Server, seconds: float) -> float:
    message = request("PROPFIND", f"{server.mount}listed/", Depth="1")
    return rate(server.port, itertools.repeat(message), 1, seconds)


def _propfind_changed(server: Server, seconds: float) -> float:
    """A PUT before each listing, so that none can be answered from memory; the PUT's time does not count."""
    message = request("PROPFIND", f"{server.mount}changed/", Depth="1")
    spent, count = 0.0, 0
    with closing(Client(server.port)) as client:
        while spent < seconds:
            client.ask(request("PUT", f"{server.mount}changed/0", SMALL))
            started = time.perf_counter()
            client.ask(message, 207)
            spent += time.perf_counter() - started
            count += 1
    return count / spent


def _put_big(server: Server, seconds: float) -> float:
    with closing(Client(server.port)) as client:
        started = time.perf_counter()
        client.put_big(f"{server.mount}big{next(_numbers)}", BIG)
        return BIG / 1e6 / (time.perf_counter() - started)


def _get_big(server: Server, seconds: float) -> float:
    with closing(Client(server.port)) as client:
        started = time.perf_counter()
        client.get_big(f"{server.mount}big")
        return BIG / 1e6 / (time.perf_counter() - started)


def _prepare_big(server: Server) -> None:
    with closing(Client(server.port)) as client:
        client.put_big(f"{server.mount}big", BIG)


def _mkcol(server: Server, seconds: float) -> float:
    return rate(server.port, _new_names(server, "MKCOL"), 1, seconds)


def _move(server: Server, seconds: float) -> float:
    """There and back: two new names in a row."""
    here, there = f"{server.mount}moved", f"{server.mount}moved-away"
    ways = [
        request("MOVE", f"{old}/", Destination=f"http://127.0.0.1{new}/") for old, new in ((here, there), (there, here))
    ]
    started, count = time.perf_counter(), 0
    with closing(Client(server.port)) as client:
        while time.perf_counter() - started < seconds:
            for way in ways:
                client.ask(way, 201, 204)
                count += 1
    return count / (time.perf_counter() - started)


def _lock(server: Server, seconds: float) -> float:
    path = f"{server.mount}locked/0"
    lock = request("LOCK", path, _LOCK, Depth="0", Timeout="Second-600", Content_Type="application/xml")
    started, count = time.perf_counter(), 0
    with closing(Client(server.port)) as client:
        while time.perf_counter() - started < seconds:
            token = client.ask(lock, 200).header("lock-token") or ""
            client.ask(request("UNLOCK", path, Lock_Token=token), 204)
            count += 1
    return count / (time.perf_counter() - started)


def _count(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


CASES = (
    _put_small(1),
    _put_small(8),
    _get_small(1),
    _get_small(8),
    Case(f"PROPFIND depth 1 of {ENTRIES:,}", "1/s", _propfind, lambda s: fill(s, "listed", ENTRIES)),
    Case(f"PROPFIND depth 1 of {ENTRIES:,}, changed", "1/s", _propfind_changed, lambda s: fill(s, "changed", ENTRIES)),
    Case("PUT 256 MiB", "MB/s", _put_big),
    Case("GET 256 MiB", "MB/s", _get_big, _prepare_big),
    Case("MKCOL", "1/s", _mkcol),
    Case(f"MOVE of a folder with {ENTRIES:,} files", "1/s", _move, lambda s: fill(s, "moved", ENTRIES)),
    Case("LOCK + UNLOCK", "1/s", _lock, lambda s: fill(s, "locked", 1)),
)
