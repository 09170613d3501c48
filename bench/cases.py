"""What is measured. The reading cases are here, the changing ones in `changing.py`."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from bench.client import Connection, Failed, request
from bench.contents import BIG_NAME, MEDIUM, SLICE, SMALL, Folder, big_slice, content
from bench.load import Tally, Work, asking
from bench.servers import Server

FEW, MANY = 1, 8  # clients at the same time
_RANGES = 500  # different ones

WINDOWS = {"User_Agent": "Microsoft-WebDAV-MiniRedir/10.0.22621", "translate": "f", "Depth": "1"}
_MACOS = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/23.5.0 (arm64)", "Content_Type": "text/xml", "Depth": "1"}
_MACOS_BODY = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/>'
    b"<D:getcontentlength/><D:creationdate/><D:resourcetype/></D:prop></D:propfind>\n"
)


@dataclass(frozen=True)
class Sizes:
    """How much there is: files in the listed folders and in the one that is moved whole, bytes of a big file."""

    listed: tuple[int, ...] = (100, 1_000, 10_000)
    tree: int = 1_000
    big: int = 1024 * MEDIUM
    many: int = MANY  # clients at the same time, where not one alone

    @property
    def big_name(self) -> str:
        return f"{self.big // MEDIUM // 1024} GiB" if self.big >= 1024 * MEDIUM else f"{self.big // MEDIUM} MiB"


@dataclass(frozen=True)
class Trial:
    """One measurement of a case on a server: what each client does; `finish`, unmeasured, looks at what came of it."""

    works: list[Work]
    finish: Callable[[Tally], None] = lambda tally: None


MakeTrial = Callable[[Server, int, int], Trial]  # of a server, by so many clients, in this round (from 0)


@dataclass(frozen=True)
class Case:
    """`trial` prepares a measurement. `each`: bytes of one operation, where MB/s are told instead of 1/s.

    `needs` is there before the server starts; the big file too, where `big` says so.
    """

    key: str
    title: str
    method: str
    trial: MakeTrial
    clients: tuple[int, ...] = (FEW, MANY)
    needs: tuple[Folder, ...] = ()
    each: int = 0
    changes: bool = False
    big: bool = False

    @property
    def unit(self) -> str:
        return "MB/s" if self.each else "1/s"

    def name(self, clients: int) -> str:
        return f"{self.title}, {clients} clients" if clients > 1 else self.title


@contextmanager
def connected(server: Server) -> Iterator[Connection]:
    with closing(Connection(server.port)) as connection:
        yield connection


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


def entries(connection: Connection) -> int:
    """How many resources the last answer, a multistatus, tells of."""
    return len(re.findall(rb"<(?:[\w.-]+:)?response[\s>]", connection.body))


def reading_cases(sizes: Sizes, big: Path) -> list[Case]:
    clients = (FEW, sizes.many)
    small = Folder("small", 100, SMALL)
    medium = Folder("medium", 8, MEDIUM)
    listings = [case for files in sizes.listed for case in _listings(files, clients)]
    return [
        Case("options", "OPTIONS", "OPTIONS", _options, clients),
        Case("propfind-0", "PROPFIND depth 0", "PROPFIND", _stat, clients, (small,)),
        *listings,
        Case("get-small", "GET 4 KiB", "GET", _getting(small), clients, (small,)),
        Case("get-medium", "GET 1 MiB", "GET", _getting(medium), clients, (medium,), MEDIUM),
        Case("get-big", f"GET {sizes.big_name}", "GET", _get_big(big), (FEW,), (), sizes.big, big=True),
        Case("ranges", f"64 KiB ranges of {sizes.big_name}", "GET", _ranges(sizes.big), clients, (), SLICE, big=True),
        Case("connections", "new connection + GET 4 KiB", "GET", _connections, clients, (small,)),
    ]


def _options(server: Server, clients: int, number: int) -> Trial:
    def check(connection: Connection) -> None:
        require(bool(connection.header("DAV")), "OPTIONS without DAV")

    return Trial([asking(itertools.repeat(request("OPTIONS", server.path(""))), 200, check=check)] * clients)


def _stat(server: Server, clients: int, number: int) -> Trial:
    def check(connection: Connection) -> None:
        require(entries(connection) == 1, "PROPFIND depth 0 shows more or less than the file")

    message = request("PROPFIND", server.path("small/document-00007.docx"), **{**WINDOWS, "Depth": "0"})
    return Trial([asking(itertools.repeat(message), 207, check=check)] * clients)


def _listings(files: int, clients: tuple[int, ...]) -> Iterator[Case]:
    """A folder asked for as Windows and as macOS do, unchanged and after a change."""
    folder = Folder(f"listed-{files}", files, 64)
    if files > 1_000:
        clients = clients[:1]  # an answer of megabytes: 8 of them are no other case, and WsgiDAV takes half a minute
    for system, fields, body in (("Windows", WINDOWS, b""), ("macOS", _MACOS, _MACOS_BODY)):
        for changed in (False, True):
            word = "changed" if changed else "unchanged"
            yield Case(
                f"list-{files}-{system.lower()}-{word}",
                f"PROPFIND depth 1 of {files:,}, {system}, {word}",
                "PROPFIND",
                _listing(folder, body, fields, changed),
                clients[:1] if changed else clients,
                (folder,),
            )


def _listing(folder: Folder, body: bytes, fields: dict[str, str], changed: bool) -> MakeTrial:
    def check(connection: Connection) -> None:
        found = entries(connection)
        require(found == folder.files + 1, f"a listing of {found} instead of {folder.files + 1}")

    def trial(server: Server, clients: int, number: int) -> Trial:
        message = request("PROPFIND", server.path(folder.name + "/"), body, **fields)
        if not changed:
            return Trial([asking(itertools.repeat(message), 207, check=check)] * clients)
        change = request("PUT", server.path(folder.paths()[0]), content(number, folder.size))
        return Trial([_listing_after(change, message, check)] * clients)

    return trial


def _listing_after(change: bytes, message: bytes, check: Callable[[Connection], None]) -> Work:
    """Each listing follows a PUT, so that none is answered from memory; the PUT's time does not count."""

    def run(connection: Connection, seconds: float) -> Tally:
        spent, count = 0.0, 0
        while spent < seconds:
            connection.ask(change, 200, 201, 204)
            started = time.perf_counter()
            connection.ask(message, 207)
            spent += time.perf_counter() - started
            count += 1
        return Tally(count, spent)

    return Work(run, check)


def _getting(folder: Folder) -> MakeTrial:
    def check(connection: Connection) -> None:
        body = connection.body
        require(body == content(int.from_bytes(body[:8], "big"), folder.size), "GET gave other bytes than were put")

    def trial(server: Server, clients: int, number: int) -> Trial:
        messages = [request("GET", server.path(path)) for path in folder.paths()]
        return Trial([asking(itertools.cycle(messages), 200, check=check) for _ in range(clients)])

    return trial


def _connections(server: Server, clients: int, number: int) -> Trial:
    message = request("GET", server.path("small/document-00003.docx"), Connection="close")

    def run(connection: Connection, seconds: float) -> Tally:
        started, count = time.perf_counter(), 0
        until = started + seconds
        while (now := time.perf_counter()) < until:
            connection.ask_anew(message, 200)
            count += 1
        return Tally(count, now - started)

    def check(connection: Connection) -> None:
        require(connection.body == content(3, SMALL), "GET gave other bytes than were put")

    return Trial([Work(run, check)] * clients)


def _ranges(size: int) -> MakeTrial:
    last = size // SLICE

    def check(connection: Connection) -> None:
        number = int(connection.header("Content-Range").split()[1].partition("-")[0]) // SLICE
        require(connection.body == big_slice(number), "a range has other bytes than were put")

    def trial(server: Server, clients: int, number: int) -> Trial:
        choice = random.Random(number)
        wanted = [choice.randrange(last) * SLICE for _ in range(_RANGES)]
        messages = [
            request("GET", server.path(BIG_NAME), Range=f"bytes={start}-{start + SLICE - 1}") for start in wanted
        ]
        works = [
            asking(itertools.cycle(messages[at:] + messages[:at]), 206, check=check)
            for at in range(0, _RANGES, _RANGES // clients)
        ]
        return Trial(works[:clients])

    return trial


def _get_big(big: Path) -> MakeTrial:
    def trial(server: Server, clients: int, number: int) -> Trial:
        path = server.path(BIG_NAME)

        def run(connection: Connection, seconds: float) -> Tally:
            started = time.perf_counter()
            connection.download(path)
            return Tally(1, time.perf_counter() - started)

        return Trial([Work(run)], lambda tally: require_big(server, path, big) if number == 0 else None)

    return trial


def require_big(server: Server, path: str, big: Path) -> None:
    """Read what is at `path`, all of it, and compare it with `big`."""
    found = blake3()
    with connected(server) as connection:
        connection.download(path, found.update)
    require(found.digest() == _digest(big), "the big file came back with other bytes")


def _digest(file: Path) -> bytes:
    return blake3().update_mmap(file).digest()
