"""`python -m bench.vault`: a vault beside a plain folder, on one server, in turns.

Both hold the same files, so what differs is what sealing costs: names and bytes on their way in, and out. The clock is
what a client waits; where other programs are busy, the server's time on a CPU tells more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.client import Connection, Failed, request
from bench.contents import make_big
from bench.in_turns import Spent, in_turns
from bench.peers import Kelp
from bench.servers import Server, Variant, started
from vfs.core import Kelp as Core
from vfs.model import ROOT_ID, Place
from vfs.operations import folders, server_keys, vaulting
from vfs.operations.access import system_caller

_LITTLE = 4096  # bytes
_READS = 400  # of as many bytes, anywhere in the large file
_FILES = 200  # of as many bytes
_TARGET, _THEN = 0.6, 0.8  # of the plain folder's rate (design, "Speed")
_PLACES = ("plain", "sealed")


@dataclass(frozen=True)
class Case:
    """`work` does it once, in the folder of that name; its round's number tells one from another."""

    name: str
    work: Callable[[str, int], None]


def main() -> None:
    """Ends with 1 when a case is below the first target, by the clock and by the server's time on a CPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.vault", description=__doc__)
    parser.add_argument("--on", type=Path, default=Path(), metavar="PATH", help="where the drive is [here]")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case runs in each folder [5]")
    parser.add_argument("--size", type=int, default=1 << 30, metavar="BYTES", help="of the large file [1 GiB]")
    parser.add_argument("--files", type=int, default=10_000, help="in the folder that is listed [10000]")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kelp-vault-", dir=wanted.on.resolve()) as folder:
        big = Path(folder, "big")
        make_big(big, wanted.size)
        with started(Path(folder), [Variant(Kelp(1))], (), big) as (server,):
            slow = [name for name, ratio in _run(server, big, wanted.files, wanted.rounds) if ratio < _TARGET]
    if slow:
        sys.exit(f"below {_TARGET:.1f} times a plain folder: {', '.join(slow)}")


def _run(server: Server, big: Path, files: int, rounds: int) -> Iterator[tuple[str, float]]:
    """Name and ratio of each case, told as they come."""
    assert server.core is not None
    _make_places(server.core)
    with closing(Connection(server.port)) as connection:
        for case in _cases(server, connection, big, files):
            ways = {place: partial(case.work, place) for place in _PLACES}
            yield case.name, _told(case.name, in_turns(server, ways, rounds))


def _make_places(kelp: Core) -> None:
    caller = system_caller(kelp, "bench")
    server_keys.init(kelp, "bench")
    vaulting.create(kelp, caller, Place(ROOT_ID, "sealed"))
    folders.make_folder(kelp, caller, Place(ROOT_ID, "plain"))


def _told(name: str, found: dict[str, Spent]) -> float:
    """The better of the two ratios; below 1 the vault is slower."""
    plain, sealed = (found[place] for place in _PLACES)
    lines = "; ".join(f"{place} {s.wall * 1e3:.1f} ms, {s.cpu * 1e3:.1f} ms of CPU" for place, s in found.items())
    by_clock, by_cpu = plain.wall / sealed.wall, plain.cpu / max(sealed.cpu, 1e-9)
    wanted = f"wanted {_TARGET:.1f}, then {_THEN:.1f}"
    print(f"{name}: {lines}; by the clock {by_clock:.2f}, by CPU {by_cpu:.2f} ({wanted})", flush=True)
    return max(by_clock, by_cpu)


def _cases(server: Server, connection: Connection, big: Path, files: int) -> Iterator[Case]:
    size = big.stat().st_size
    label = f"{size >> 20} MiB"

    def path(place: str, name: str) -> str:
        return server.path(f"{place}/{name}")

    def get(place: str, name: str) -> None:
        if not connection.download(path(place, name)):
            raise Failed("an empty answer")

    little = os.urandom(_LITTLE)
    yield Case(f"PUT of {label}", lambda place, _: connection.upload(path(place, "big"), big))
    yield Case(f"GET of {label}", lambda place, _: get(place, "big"))
    yield Case(
        f"{_READS} reads of 4 KiB anywhere in it",
        lambda place, number: _read(connection, path(place, "big"), size, number),
    )

    def put_little(place: str, number: int) -> None:
        for n in range(_FILES):
            connection.ask(request("PUT", path(place, f"little-{number}-{n}"), little), 201)

    def get_little(place: str, number: int) -> None:
        for n in range(_FILES):
            get(place, f"little-{number}-{n}")

    yield Case(f"{_FILES} PUTs of 4 KiB", put_little)
    yield Case(f"{_FILES} GETs of 4 KiB", get_little)
    for place in _PLACES:
        connection.ask(request("MKCOL", path(place, "many")), 201)
        for number in range(files):
            connection.ask(request("PUT", path(place, f"many/document-{number:05}.txt"), b""), 201)
    listing = {place: request("PROPFIND", path(place, "many/"), Depth="1") for place in _PLACES}
    yield Case(f"listing of {files} names, read before", lambda place, _: connection.ask(listing[place], 207))
    yield Case(
        f"listing of {files} names, after a change", lambda place, number: _list_anew(connection, path, listing, place)
    )


def _read(connection: Connection, path: str, size: int, number: int) -> None:
    for n in range(_READS):
        at = hash((number, n)) % (size - _LITTLE)
        connection.ask(request("GET", path, Range=f"bytes={at}-{at + _LITTLE - 1}"), 206)


def _list_anew(connection: Connection, path: Callable[[str, str], str], listing: dict[str, bytes], place: str) -> None:
    connection.ask(request("PUT", path(place, "many/changed"), b""), 201, 204)
    connection.ask(listing[place], 207)


if __name__ == "__main__":
    main()
