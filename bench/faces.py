"""`python -m bench.faces`: whole files by the REST API beside WebDAV, on one server, in turns.

Both faces call the same operations, so what differs is what each costs around them: routing, and one look-up by id
instead of by path. The server's time on a CPU counts more than the clock where other programs are busy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.client import Connection, Failed, request
from bench.contents import BIG_NAME, SLICE, make_big
from bench.in_turns import Spent, in_turns
from bench.peers import Kelp
from bench.servers import Server, Variant, started

_SIZES = {"4 KiB": 4096, "64 MiB": 64 << 20, "1 GiB": 1 << 30}
_AT_ONCE = 4 << 20  # bytes of small files that are one measurement
_TARGET = 0.9  # of WebDAV's throughput (issue 6)


@dataclass(frozen=True)
class Case:
    name: str
    times: int  # files of one measurement
    faces: dict[str, Callable[[Connection], None]]


def main() -> None:
    """Ends with 1 when the API takes more than the target allows, by the server's time on a CPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.faces", description=__doc__)
    parser.add_argument("--on", type=Path, default=Path(), metavar="PATH", help="where the drive is [here]")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case runs on each face [5]")
    parser.add_argument("--most", type=int, default=1 << 30, metavar="BYTES", help="leave out larger files [1 GiB]")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kelp-faces-", dir=wanted.on.resolve()) as folder:
        sizes = {name: size for name, size in _SIZES.items() if size <= wanted.most}
        big = Path(folder, "big")
        make_big(big, max(sizes.values()))
        with started(Path(folder), [Variant(Kelp(1))], (), big) as (server,):
            slow = [name for name, ratio in _run(server, sizes, big, wanted.rounds) if ratio < _TARGET]
    if slow:
        sys.exit(f"below {_TARGET:.0%} of WebDAV: {', '.join(slow)}")


def _run(server: Server, sizes: dict[str, int], big: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """Name and ratio of each case, told as they come."""
    with closing(Connection(server.port)) as connection:
        for case in _cases(connection, server, sizes, big):
            ways = {face: partial(_do, connection, case, face) for face in case.faces}
            yield case.name, _told(case.name, in_turns(server, ways, rounds, case.times))


def _do(connection: Connection, case: Case, face: str, _round: int) -> None:
    for _ in range(case.times):
        case.faces[face](connection)


def _told(name: str, found: dict[str, Spent]) -> float:
    """WebDAV's time by the API's, on a CPU; below 1 the API is slower."""
    dav, rest = found["dav"], found["rest"]
    lines = "; ".join(f"{face} {s.wall * 1e3:.3f} ms, {s.cpu * 1e3:.3f} ms of CPU" for face, s in found.items())
    print(f"{name}: {lines}; by the clock {dav.wall / rest.wall:.0%}, by CPU {dav.cpu / rest.cpu:.0%}", flush=True)
    return dav.cpu / rest.cpu


def _cases(connection: Connection, server: Server, sizes: dict[str, int], big: Path) -> Iterator[Case]:
    for label, size in sizes.items():
        path = server.path(BIG_NAME)
        source = big
        if size != big.stat().st_size:
            path, source = server.path(f"file-{size}"), big.with_name(f"source-{size}")
            make_big(source, max(size, SLICE))
            os.truncate(source, size)
            connection.upload(path, source)
        api = f"/api/files/{_id_of(connection, path)}"
        times = max(1, _AT_ONCE // size)
        yield Case(f"download of {label}", times, {"dav": _get(path), "rest": _get(f"{api}/download")})
        if source != big:
            yield Case(f"upload of {label}", -(-times // 8), {"dav": _put(path, source), "rest": _put(api, source)})


def _get(path: str) -> Callable[[Connection], None]:
    return lambda connection: _check(connection.download(path))


def _check(size: int) -> None:
    if not size:
        raise Failed("an empty answer")


def _put(path: str, source: Path) -> Callable[[Connection], None]:
    """Another content for a file that is there; the API is asked not to wait for the NAS, as drives never do."""
    if path.startswith("/api/"):
        return lambda connection: connection.upload(f"{path}/content", source, Prefer="respond-async")
    return lambda connection: connection.upload(path, source)


def _id_of(connection: Connection, path: str) -> str:
    name = path.rpartition("/")[2]
    connection.ask(request("GET", "/api/folders/root/children?limit=500"), 200)
    return next(str(each["id"]) for each in json.loads(connection.body)["files"] if each["name"] == name)


if __name__ == "__main__":
    main()
