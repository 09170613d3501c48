"""Clients that go on while parts of a drive go away, and know at each moment what must be there.

Each works in a folder of its own, at any node. A change that was not acknowledged leaves its paths in doubt: either
all of it happened or nothing, which `Client.settle` finds out when all is well again. Every body that is read is
compared, whole or range, and every listing.
"""

from __future__ import annotations

import contextlib
import random
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from tests.crash.asking import AWAY, HANG, Exchange, Nodes, Reply
from tests.crash.client import url
from tests.crash.ledger import Body, Node, Path, Tree, content
from tests.server_process import ServerProcess

MIB = 1 << 20
BIG = 20 * MIB
_SIZES = (0, 1, 4096, 4096, 4096, 50_000, 50_000, 200_000, MIB, 8 * MIB + 1, BIG)
_MOST_BYTES = 30 * MIB  # of one client; then only small files are written
_MOST_FILES = 30
_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
_LIST = b'<D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/></D:prop></D:propfind>'
_LOCKS = b'<D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'


@dataclass(frozen=True)
class File:
    """`number` gives its bytes."""

    number: int
    size: int

    @property
    def data(self) -> bytes:
        return content(self.number, self.size)


State = Mapping[Path, File | None]


@dataclass(frozen=True)
class Doubt:
    """A change without an answer: the paths it is about are in one of two states."""

    before: State
    after: State
    again: bool  # it may be sent again as it was


class Client:
    """`files` is what must be there, apart from what is in `doubts`. `wrong` is what must not have happened."""

    def __init__(self, servers: Sequence[ServerProcess], number: int, seed: int) -> None:
        self._nodes, self._number = Nodes(servers, seed + number), number
        self._random = random.Random(seed + number)
        self._home: Path = (f"client {number}",)
        self._folders = [self._home, (*self._home, "inner folder")]
        self._written = 0
        self.biggest = BIG
        self.pause = 0.04  # seconds between two requests, at most
        self.files: dict[Path, File] = {}
        self.doubts: list[Doubt] = []
        self.wrong: list[str] = []

    def prepare(self) -> None:
        for folder in self._folders:
            assert self._ask("MKCOL", folder).status == 201
        for size in (BIG, 4096):
            self._put(self._new_name(), size)
        assert len(self.files) == 2

    def work(self, stop: threading.Event) -> None:
        self.close()  # who rested for long may find that the server has gone meanwhile
        ways = {
            self._write: 6,
            self._overwrite: 4,
            self._again: 3,
            self._read: 8,
            self._read_range: 6,
            self._list: 4,
            self._move: 3,
            self._move_over: 1,
            self._delete: 3,
            self._lock: 2,
        }
        while not stop.is_set():
            if len(self.files) > _MOST_FILES:
                self._delete()
            way = self._random.choices(list(ways), weights=list(ways.values()))[0]
            try:
                way()
            except Exception as error:  # of this program: the test has to hear of it
                self.wrong.append(f"{way.__name__}: {error!r}")
                raise
            stop.wait(self._random.uniform(0.0, self.pause))

    # --- what it does

    def _write(self) -> None:
        self._put(self._new_name(), self._size())

    def _overwrite(self) -> None:
        path = self._any_file()
        if path:
            self._put(path, self._size())

    def _again(self) -> None:
        """What a client does that was told to come again: the same PUT, which ends the doubt."""
        for doubt in [doubt for doubt in self.doubts if doubt.again][:1]:
            [(path, file)] = doubt.after.items()
            assert file is not None
            status = self._send_file(path, file)
            if status in (201, 204):
                self.doubts.remove(doubt)
                self.files[path] = file

    def _put(self, path: Path, size: int, token: str = "") -> bool:
        self._written += 1
        file = File(self._number * 1_000_000 + self._written, size)
        expected = 204 if path in self.files else 201
        return self._change("PUT", {path: file}, self._send_file(path, file, token), expected, again=not token)

    def _send_file(self, path: Path, file: File, token: str = "") -> int:
        chunked = not token and self._random.random() < 0.3
        data = file.data
        headers = {"If": f"(<{token}>)"} if token else {}
        if not chunked:
            return self._ask("PUT", path, data, headers).status
        headers |= {"Transfer-Encoding": "chunked", "X-Expected-Entity-Length": str(len(data))}
        return self._ask("PUT", path, data, headers).status

    def _read(self) -> None:
        path = self._any_file()
        if path:
            reply = self._ask("GET", path)
            if reply.status == 200 and reply.body != self.files[path].data:
                self._complain("GET", path, f"{len(reply.body)} other bytes than {self.files[path]}")
            self._require(reply, "GET", path, 200)

    def _read_range(self) -> None:
        path = self._any_file()
        size = self.files[path].size if path else 0
        if path and size:
            first = self._random.randrange(size)
            last = min(size, first + self._random.choice((1, 5000, 3 * MIB, size))) - 1
            reply = self._ask("GET", path, headers={"Range": f"bytes={first}-{last}"})
            if reply.status == 206 and reply.body != self.files[path].data[first : last + 1]:
                self._complain("GET", path, f"range {first}-{last}: {len(reply.body)} other bytes")
            self._require(reply, "GET", path, 206)

    def _list(self) -> None:
        folder = self._random.choice(self._folders)
        reply = self._ask("PROPFIND", folder, _LIST, {"Depth": "1"})
        if reply.status == 207:
            found = dict(_listed(reply.body))
            frozen = self._frozen()
            expected = {path: file.size for path, file in self.files.items() if path[:-1] == folder}
            known = {path: size for path, size in found.items() if path not in frozen}
            if known != {path: size for path, size in expected.items() if path not in frozen}:
                self._complain("PROPFIND", folder, f"expected {expected}, found {known}")
        self._require(reply, "PROPFIND", folder, 207)

    def _move(self) -> None:
        source = self._any_file()
        if source:
            target = self._new_name()
            status = self._ask("MOVE", source, headers={"Destination": url(target), "Overwrite": "F"}).status
            self._change("MOVE", {source: None, target: self.files[source]}, status, 201)

    def _move_over(self) -> None:
        source, target = self._any_file(), self._any_file()
        if source and target and source != target:
            status = self._ask("MOVE", source, headers={"Destination": url(target), "Overwrite": "T"}).status
            self._change("MOVE", {source: None, target: self.files[source]}, status, 204)

    def _delete(self) -> None:
        path = self._any_file()
        if path:
            self._change("DELETE", {path: None}, self._ask("DELETE", path).status, 204)

    def _lock(self) -> None:
        """LOCK, a PUT with the token, UNLOCK, each at whichever node is there."""
        path = self._any_file()
        if not path:
            return
        reply = self._ask("LOCK", path, _LOCKINFO, {"Depth": "0", "Timeout": "Second-3600"})
        if not self._change("LOCK", {path: self.files[path]}, reply.status, 200):
            return
        token = reply.headers["lock-token"].strip("<>")
        if self._put(path, 5000, token):
            reply = self._ask("UNLOCK", path, headers={"Lock-Token": f"<{token}>"})
            self._change("UNLOCK", {path: self.files[path]}, reply.status, 204)

    # --- what is known

    def _change(self, method: str, after: State, status: int, expected: int, again: bool = False) -> bool:
        before = {path: self.files.get(path) for path in after}
        if status == expected:
            self._take(after)
            return True
        if status not in (0, AWAY):
            self._complain(method, next(iter(after)), f"{status} instead of {expected}")
        self.doubts.append(Doubt(before, after, again))
        return False

    def _require(self, reply: Reply, method: str, path: Path, expected: int) -> None:
        if reply.status not in (expected, 0, AWAY):
            self._complain(method, path, f"{reply.status} instead of {expected}: {reply.body[:300]!r}")

    def _complain(self, method: str, path: Path, what: str) -> None:
        last = self.exchanges[-1]
        self.wrong.append(f"node {last.node}, {last.seconds:.2f} s: {method} {'/'.join(path)}: {what}")

    def _frozen(self) -> set[Path]:
        return {path for doubt in self.doubts for path in doubt.after}

    def _any_file(self) -> Path | None:
        files = sorted(self.files.keys() - self._frozen())
        return self._random.choice(files) if files else None

    def _new_name(self) -> Path:
        self._written += 1
        return (*self._random.choice(self._folders), f"{self._written:05d} é.bin")

    def _size(self) -> int:
        used = sum(file.size for file in self.files.values())
        sizes = [size for size in _SIZES if size <= (self.biggest if used < _MOST_BYTES else 50_000)]
        return self._random.choice(sizes)

    def settle(self) -> None:
        """End all doubts by looking, at every node. AssertionError: a change was done in part, or cannot be seen."""
        self.close()
        for doubt in self.doubts:
            states = [
                {path: Body.of(file.data) if file else None for path, file in state.items()}
                for state in (doubt.before, doubt.after)
            ]
            found = [{path: self._seen(path, node) for path in doubt.after} for node in self._nodes.numbers]
            assert found[0] in states and all(each == found[0] for each in found), f"{doubt}: {found}"
            self._take(doubt.after if found[0] == states[1] else doubt.before)
            for path in doubt.after:
                if path in self.files:
                    self._unlock(path)
        self.doubts.clear()

    def _take(self, state: State) -> None:
        for path, file in state.items():
            self.files.pop(path, None)
            if file is not None:
                self.files[path] = file

    def _unlock(self, path: Path) -> None:
        """Whatever a LOCK without an answer left there."""
        reply = self._ask("PROPFIND", path, _LOCKS, {"Depth": "0"})
        assert reply.status == 207, (path, reply)
        for token in ET.fromstring(reply.body).iterfind(".//{DAV:}locktoken/{DAV:}href"):
            assert self._ask("UNLOCK", path, headers={"Lock-Token": f"<{token.text}>"}).status == 204, path

    def verify(self, everywhere: bool = False) -> None:
        """Every listing at every node; every byte at one of them, or `everywhere`."""
        for node in self._nodes.numbers:
            for folder in self._folders:
                reply = self._ask("PROPFIND", folder, _LIST, {"Depth": "1"}, node)
                expected = {path: file.size for path, file in self.files.items() if path[:-1] == folder}
                assert (reply.status, dict(_listed(reply.body))) == (207, expected), f"node {node}"
            for number, (path, file) in enumerate(sorted(self.files.items())):
                if everywhere or number % len(self._nodes.numbers) == node:
                    assert self._seen(path, node) == Body.of(file.data), (node, path, file)

    def _seen(self, path: Path, node: int) -> Body | None:
        reply = self._ask("GET", path, node=node)
        assert reply.status in (200, 404), (path, node, reply.status, reply.body[:300])
        return Body.of(reply.body) if reply.status == 200 else None

    def tree(self) -> Tree:
        """What the NAS shall show."""
        folders = {folder: Node() for folder in self._folders}
        return Tree({**folders, **{path: Node(Body.of(file.data)) for path, file in self.files.items()}})

    # --- HTTP

    def _ask(
        self,
        method: str,
        path: Path,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        node: int | None = None,
    ) -> Reply:
        target = url(path) + ("/" if path in self._folders else "")
        reply = self._nodes.ask(method, target, body, headers or {}, node)
        if reply.status == AWAY and not reply.headers.get("retry-after", "").isdecimal():
            self._complain(method, path, "503 without Retry-After")
        if reply.status >= 500 and reply.status != AWAY:
            self._complain(method, path, f"{reply.status} {reply.body[:300]!r}")
        return reply

    @property
    def exchanges(self) -> list[Exchange]:
        return self._nodes.exchanges

    def close(self) -> None:
        self._nodes.close()


def _listed(answer: bytes) -> Iterator[tuple[Path, int]]:
    """Files and their sizes."""
    for response in ET.fromstring(answer).iter("{DAV:}response"):
        if response.find(".//{DAV:}collection") is None:
            href = response.findtext("{DAV:}href", "").removeprefix("/dav/").strip("/")
            yield (
                tuple(unquote(name) for name in href.split("/")),
                int(response.findtext(".//{DAV:}getcontentlength") or "0"),
            )


@contextlib.contextmanager
def under_load(clients: Sequence[Client]) -> Iterator[None]:
    """All clients work until the end of the block. AssertionError: one hangs."""
    stop = threading.Event()
    threads = [threading.Thread(target=client.work, args=(stop,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * HANG)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
