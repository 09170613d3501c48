"""Somebody who works in a folder of his own on the drive, and knows at each moment what must be there."""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.crash.asking import Nodes, Reply
from tests.crash.client import url
from tests.crash.ledger import Body, Node, Tree
from tests.server_process import ServerProcess
from tests.soak.documents import Document, Path
from vfs.core import Kelp
from vfs.operations import access, reading

MIB = 1 << 20
_SIZES = (0, 200, 4096, 4096, 30_000, 65_536, 65_537, 300_000, MIB, 3 * MIB)
_BIG = (8 * MIB, 8 * MIB + 1, 12 * MIB + 345, 20 * MIB)
_MOST_BYTES = 40 * MIB  # of one person; then only small files are written
_SMALL = 300_000
MOST_FILES = 40
MOST_FOLDERS = 10
_NO_HEADERS: Mapping[str, str] = {}


class Surprise(Exception):
    """Something was not as the ledger says; what is known of this person's folder is worth nothing from now on."""


@dataclass(frozen=True)
class Spell:
    """How long a person works: until `stop`, resting for `pause` seconds on average between two things."""

    stop: threading.Event
    pause: float


class Person:
    """`tree`: what he has, None for a folder. `trashed`: what he deleted, by the entry's id. For one thread."""

    def __init__(self, servers: Sequence[ServerProcess], kelp: Kelp, number: int, seed: int) -> None:
        """`kelp` is for what a drive face cannot ask for: trash and versions, as the command line does."""
        self.random = random.Random(seed * 1000 + number)
        self.kelp, self.caller = kelp, access.system_caller(kelp, "rest")
        self.home: Path = (f"person {number}",)
        self.tree: dict[Path, Document | None] = {}
        self.trashed: dict[int, dict[Path, Document | None]] = {}
        self.written: set[Body] = set()
        self.wrong: list[str] = []
        self.did: Counter[str] = Counter()
        self.seconds: defaultdict[str, array[float]] = defaultdict(lambda: array("f"))  # of requests, by method
        self._nodes = Nodes(servers, seed + number)
        self._number, self._last = number, 0

    def arrive(self) -> None:
        self.ask("MKCOL", self.home, 201)
        self.tree[self.home] = None

    def work(self, habits: Mapping[Callable[[Person], None], float], spell: Spell) -> None:
        """One habit after another; ends by itself after a surprise."""
        self._nodes.close()  # a connection that rested too long
        ways, weights = list(habits), list(habits.values())
        while not spell.stop.wait(self.random.expovariate(1 / spell.pause)):
            way = self.random.choices(ways, weights)[0]
            try:
                way(self)
            except Surprise as surprise:
                self.wrong.append(f"{self.home[0]}: {way.__name__}: {surprise}")
                return
            except Exception as error:  # of the drive's operations, or of this program
                self.wrong.append(f"{self.home[0]}: {way.__name__}: {error!r}")
                raise
            self.did[way.__name__] += 1

    # --- HTTP

    def ask(
        self,
        method: str,
        path: Path,
        expected: int,
        body: bytes | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Reply:
        """Raises Surprise for any other status than the expected one."""
        begun = time.time()
        target = url(path) + ("/" if method in ("MKCOL", "PROPFIND") else "")  # only folders are listed here
        reply = self._nodes.ask(method, target, body, headers)
        exchange = self._nodes.exchanges.pop()
        self.seconds[method].append(exchange.seconds)
        if reply.status != expected:
            when = time.strftime("%H:%M:%S", time.localtime(begun))
            raise Surprise(
                f"at {when}, in {exchange.seconds:.2f} s: {method} {'/'.join(path)} {dict(headers)}:"
                f" {reply.status} instead of {expected} {exchange.error} {reply.body[:300]!r}"
            )
        return reply

    def put(self, path: Path, document: Document, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """PUT, over what is there."""
        headers, data = dict(headers), document.data()
        if self.random.random() < 0.2:
            headers |= {"Transfer-Encoding": "chunked", "X-Expected-Entity-Length": str(document.size)}
        self.written.add(Body.of(data))
        self.ask("PUT", path, 204 if path in self.tree else 201, data, headers)
        self.tree[path] = document

    def move(self, source: Path, target: Path) -> None:
        """MOVE, a folder with all in it; over a file that is there."""
        over = target in self.tree
        there = {"Destination": url(target), "Overwrite": "T" if over else "F"}
        self.ask("MOVE", source, 204 if over else 201, headers=there)
        self.hang(target, self.take(source))

    def delete(self, path: Path) -> None:
        entry_id = self.entry_id(path)
        self.ask("DELETE", path, 204)
        self.trashed[entry_id] = self.take(path)

    def entry_id(self, path: Path) -> int:
        found = reading.resolve(self.kelp, self.caller, path).entry
        if found is None:
            raise Surprise(f"{path} is not there")
        return found.id

    def require_bytes(self, what: str, found: bytes, expected: bytes) -> None:
        if found != expected:
            at = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), -1)
            raise Surprise(f"{what}: wrong bytes, {len(found)} instead of {len(expected)}, the first at {at}")

    # --- what he has

    def below(self, path: Path) -> dict[Path, Document | None]:
        """What is at `path` and in it, by paths relative to it."""
        size = len(path)
        return {other[size:]: document for other, document in self.tree.items() if other[:size] == path}

    def take(self, path: Path) -> dict[Path, Document | None]:
        taken = self.below(path)
        for relative in taken:
            del self.tree[path + relative]
        return taken

    def hang(self, path: Path, subtree: Mapping[Path, Document | None]) -> None:
        self.tree.update({path + relative: document for relative, document in subtree.items()})

    def files(self) -> dict[Path, Document]:
        return {path: document for path, document in self.tree.items() if document is not None}

    def folders(self) -> list[Path]:
        return [path for path, document in self.tree.items() if document is None]

    def any_file(self) -> Path | None:
        files = list(self.files())
        return self.random.choice(files) if files else None

    def any_folder(self) -> Path:
        return self.random.choice(self.folders())

    def any_inner_folder(self) -> Path | None:
        inner = [path for path in self.folders() if path != self.home]
        return self.random.choice(inner) if inner else None

    def new_name(self, pattern: str = "{:05d} é.bin") -> str:
        """One that nothing of his ever had."""
        self._last += 1
        return pattern.format(self._last)

    def new_document(self) -> Document:
        self._last += 1
        return Document(self._number * 100_000_000 + self._last, self._new_size())

    def _new_size(self) -> int:
        used = sum(document.size for document in self.files().values())
        if used > _MOST_BYTES:
            return self.random.choice([size for size in _SIZES if size <= _SMALL])
        return self.random.choice(_BIG if self.random.random() < 0.05 else _SIZES)

    def as_tree(self) -> Tree:
        """What the NAS shall show."""
        return Tree({path: Node(document.body() if document else None) for path, document in self.tree.items()})

    def close(self) -> None:
        self._nodes.close()
