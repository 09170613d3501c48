"""Two nodes of one drive, and clients who meet on the same few names through both.

A node is a `kelp serve` of several processes with a data folder of its own; database, cache and NAS are shared. What a
client does goes over any connection, to any process of any node.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import engines
from tests.faces.rules.requests import LOCKINFO
from tests.server_process import ServerProcess
from tests.services import postgresql
from vfs.bootstrap import build
from vfs.operations import backlog, checking

NAMES = tuple(f"n{number:02}" for number in range(20))
PROCESSES = 2
_LOCK = LOCKINFO % (b"exclusive", b"race")
_HREF = re.compile(r"<D:response>\s*<D:href>([^<]*)</D:href>")  # not those of locks


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def listed(self) -> list[str]:
        """Paths in the answer to a PROPFIND, sorted, without what was asked about."""
        return sorted(path.rstrip("/") for path in _HREF.findall(self.text))[1:]


@dataclass
class Record:
    """What all clients saw: answers by method and status, and seconds that they took by method."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    won: Counter[str] = field(default_factory=Counter)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, status: int, seconds: float) -> None:
        with self.turn:
            self.answers[f"{method} {status}"] += 1
            self.seconds[method].append(seconds)

    def table(self) -> str:
        lines = ["method      count   p50 ms   p99 ms   max ms"]
        every = [one for each in self.seconds.values() for one in each]
        for method, taken in [*sorted(self.seconds.items()), ("all", every)]:
            ranked = sorted(taken)
            marks = (ranked[len(ranked) // 2], ranked[int(len(ranked) * 0.99)], ranked[-1])
            lines.append(f"{method:10} {len(ranked):6} " + " ".join(f"{mark * 1000:8.1f}" for mark in marks))
        return "\n".join([*lines, str(dict(sorted(self.answers.items()))), f"won: {dict(self.won)}"])


class Client:
    """One user's program: some connections to each node, and a request goes over any of them."""

    def __init__(self, nodes: list[ServerProcess], record: Record, seed: str) -> None:
        self._record = record
        self._basic = nodes[0].basic
        self.random = random.Random(seed)
        self._connections = [[node.connect() for _ in range(PROCESSES)] for node in nodes]

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, node: int | None = None, **headers: str
    ) -> Answer:
        """`node`: which one, else any. Raises AssertionError for a 5xx, whatever was asked."""
        connections = self._connections[self.random.randrange(len(self._connections)) if node is None else node]
        connection = self.random.choice(connections)
        sent = {"Authorization": self._basic, **{key.replace("_", "-"): text for key, text in headers.items()}}
        begun = time.monotonic()
        connection.request(method, path, body, sent)
        reply = connection.getresponse()
        answer = Answer(reply.status, reply.headers, reply.read())
        self._record.note(method, answer.status, time.monotonic() - begun)
        if self.random.random() < 0.05:
            connection.close()  # the next request may meet another process
        assert answer.status < 500, f"{method} {path} {headers}: {answer.status} {answer.body[:300]!r}"
        return answer

    def log_in(self) -> None:
        """Once over each connection, so that what passwords cost is not in the record."""
        for connection in (one for each in self._connections for one in each):
            connection.request("HEAD", "/dav/", None, {"Authorization": self._basic})
            assert connection.getresponse().read() == b""

    def sure(
        self, method: str, path: str, body: bytes | None = None, *, node: int | None = None, **headers: str
    ) -> Answer:
        """Nobody can be in the way."""
        answer = self.ask(method, path, body, node=node, **headers)
        assert answer.ok, f"{method} {path} {headers}: {answer.status} {answer.body[:300]!r}"
        return answer

    def lock(self, path: str, *, node: int | None = None, depth: str = "0") -> str:
        """The token, "" when it was refused."""
        answer = self.ask("LOCK", path, _LOCK, node=node, Depth=depth, Timeout="Second-60")
        return answer.headers["Lock-Token"][1:-1] if answer.ok else ""

    def close(self) -> None:
        for connections in self._connections:
            for connection in connections:
                connection.close()


class Racer(Client):
    """Does anything to any of the names, and folders go into each other."""

    def work(self, until: float) -> None:
        deeds: list[Callable[[], None]] = [
            *[self.put] * 4, *[self.put_new] * 2, *[self.make_folder] * 5, *[self.move] * 5, *[self.move_over] * 2,
            self.copy,
            *[self.delete] * 2, *[self.edit_locked] * 3, *[self.lock_folder] * 2, self.label, *[self.look] * 2,
        ]  # fmt: skip
        while time.monotonic() < until:
            self.random.choice(deeds)()

    def _path(self) -> str:
        """A name at the top, or in what may be a folder there."""
        names = self.random.sample(NAMES, self.random.choice((1, 1, 1, 2, 2, 3)))
        return "/dav/" + "/".join(names)

    def _body(self) -> bytes:
        return f"{self.random.random()} ".encode() * self.random.choice((0, 1, 100, 10_000))

    def put(self) -> None:
        self.ask("PUT", self._path(), self._body())

    def put_new(self) -> None:
        self.ask("PUT", self._path(), self._body(), If_None_Match="*")

    def make_folder(self) -> None:
        self.ask("MKCOL", self._path())

    def move(self) -> None:
        self.ask("MOVE", self._path(), Destination=self._path(), Overwrite="F")

    def move_over(self) -> None:
        self.ask("MOVE", self._path(), Destination=self._path(), Overwrite="T")

    def copy(self) -> None:
        self.ask("COPY", self._path(), Destination=self._path(), Depth="0")

    def delete(self) -> None:
        self.ask("DELETE", self._path())

    def edit_locked(self) -> None:
        """Under a lock nobody else comes near it, through any node: neither to it nor to a folder it is in."""
        path = self._path()
        token = self.lock(path)
        if not token:
            return
        if "<D:collection/>" in self.sure("PROPFIND", path, Depth="0").text:
            self.sure("UNLOCK", path, Lock_Token=f"<{token}>")
            return
        for _ in range(self.random.randrange(1, 3)):
            body = self._body()
            self.sure("PUT", path, body, If=f"(<{token}>)")
            assert self.sure("GET", path).body == body, f"{path} is locked, and yet another content was read"
        # Somebody may have locked what the folder lists (RFC 4918 §7.4), which keeps it from going.
        if self.random.random() < 0.5:
            answer = self.ask("DELETE", path, If=f"(<{token}>)")
            if answer.ok:
                return
            assert answer.status == 423, f"DELETE {path}, which is locked: {answer.status}"
        self.sure("UNLOCK", path, Lock_Token=f"<{token}>")

    def lock_folder(self) -> None:
        """With all below it: the holder alone makes and removes there."""
        path = f"/dav/{self.random.choice(NAMES)}"
        token = self.lock(path, depth="infinity")
        if not token:
            return
        if "<D:collection/>" in self.sure("PROPFIND", path, Depth="0").text:
            before = self.sure("PROPFIND", path, Depth="1").listed
            new = f"{path}/mine"
            self.sure("PUT", new, b"mine", If=f"<{path}> (<{token}>)")
            listed = self.sure("PROPFIND", path, Depth="1").listed
            assert listed == sorted([*before, new]), f"{path} is locked with all below it: {before}, then {listed}"
            self.sure("DELETE", new, If=f"<{path}> (<{token}>)")
        self.sure("UNLOCK", path, Lock_Token=f"<{token}>")

    def label(self) -> None:
        body = f"""<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><L:l xmlns:L="urn:l">{self.random.random()}</L:l>
                   </D:prop></D:set></D:propertyupdate>"""
        self.ask("PROPPATCH", self._path(), body.encode())

    def look(self) -> None:
        self.ask("PROPFIND", self.random.choice(("/dav/", self._path())), Depth="1")


class Contest:
    """All clients do the same at the same moment, once and again; exactly one of them may have it."""

    def __init__(self, clients: list[Racer], record: Record) -> None:
        self._clients, self._record = clients, record
        self._barrier = threading.Barrier(len(clients))
        self._won: list[int] = []

    def take_part(self, number: int, round_: int) -> None:
        """The part of client `number`. Raises AssertionError when there is another number of winners than one."""
        client = self._clients[number]
        kind = ("LOCK", "PUT", "MKCOL", "MOVE", "LOCK old", "MOVE folder")[round_ % 6]
        path = f"/dav/contest-{round_}"
        if number == 0:
            self._won.clear()
            if kind in ("LOCK old", "MOVE"):
                client.sure("PUT", path, b"prize")
            elif kind == "MOVE folder":
                client.sure("MKCOL", path)
                client.sure("PUT", f"{path}/in-it", b"prize")
        self._barrier.wait(60)
        answer, losing = self._try(client, kind, path, number)
        assert answer.ok or answer.status in losing, f"{kind} {path}: {answer.status} {answer.body[:300]!r}"
        if answer.ok:
            self._won.append(number)
        self._barrier.wait(60)
        assert len(self._won) == 1, f"{kind} of {path} was won by {self._won}"
        if answer.ok:
            with self._record.turn:
                self._record.won[kind] += 1
            self._clean(client, kind, path, number, answer)
        self._barrier.wait(60)

    def give_up(self) -> None:
        self._barrier.abort()

    def _try(self, client: Racer, kind: str, path: str, number: int) -> tuple[Answer, tuple[int, ...]]:
        """The answer, and what losers are told."""
        if kind.startswith("LOCK"):
            return client.ask("LOCK", path, _LOCK, Depth="0"), (423,)
        if kind == "PUT":
            return client.ask("PUT", path, f"by {number}".encode(), If_None_Match="*"), (412,)
        if kind == "MKCOL":
            return client.ask("MKCOL", path), (405,)
        return client.ask("MOVE", path, Destination=f"{path}-{number}", Overwrite="F"), (404,)

    def _clean(self, client: Racer, kind: str, path: str, number: int, answer: Answer) -> None:
        if kind.startswith("LOCK"):
            client.sure("DELETE", path, If=f"({answer.headers['Lock-Token']})")
            return
        if kind == "PUT":
            assert client.sure("GET", path).body == f"by {number}".encode()
        client.sure("DELETE", f"{path}-{number}" if kind.startswith("MOVE") else path)


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[list[ServerProcess]]:
    """Started and answering, on a database of their own on PostgreSQL; cache and queue are those of the run."""
    server, name = postgresql.shared(), f"kelp_two_nodes_{os.getpid()}"
    server.drop(name)
    server.create(name)
    shared: dict[str, object] = {"cache_url": str(folder / "cache"), "database_url": server.url(name)}
    shared |= {key: value for key, value in engines.settings_of(folder).items() if key != "database_url"}
    nodes = [ServerProcess(folder / node, "--processes", str(PROCESSES), **shared) for node in "ab"]
    try:
        for node in nodes:
            node.data.parent.mkdir()
            node.nas = folder / "nas"
            node.start()
            node.wait_ready()
        yield nodes
    finally:
        for node in nodes:
            node.kill()
        server.drop(name)


def look_at_the_end(nodes: list[ServerProcess]) -> None:
    """Nothing in the logs, no circle, every invariant holds, and the NAS has it all. The nodes have stopped."""
    for node in nodes:
        text = node.log_text()
        bad = re.search(r"^.*( ERROR | WARNING .*given up|Traceback)", text, re.MULTILINE)
        assert not bad, text[bad.start() :][:4000]
    with contextlib.closing(build(nodes[0].settings)) as kelp:
        with kelp.database.read() as tx:
            reached = tx.one(
                """WITH RECURSIVE down(id) AS (
                       SELECT id FROM entries WHERE parent_id IS NULL
                       UNION ALL SELECT e.id FROM entries e JOIN down ON e.parent_id = down.id)
                   SELECT COUNT(*), (SELECT COUNT(*) FROM entries) FROM down"""
            )
            locks = tx.all(
                """SELECT e.id, e.name, e.kind, e.state, e.parent_id, l.infinite, l.token, h.event, h.created_ns
                   FROM dav_locks l JOIN entries e ON e.id = l.entry_id
                   LEFT JOIN file_events h ON h.entry_id = e.id ORDER BY h.id"""
            )
        assert reached[0] == reached[1], "folders lie in a circle"
        assert locks == [], f"a lock was left: {locks}"
        report = checking.check(kelp, mirrored=True)
        assert report.problems == []


def wait_until_mirrored(nodes: list[ServerProcess], seconds: float) -> None:
    with contextlib.closing(build(nodes[0].settings)) as kelp:
        assert backlog.wait_until_mirrored(kelp, seconds) == backlog.Waited.MIRRORED
