"""Several servers, one drive: what one node did, the other knows at once; who meets on a name, meets in the database.

KELP_RACE_SECONDS (8, in a share of all variants 5) and KELP_RACE_SEED make longer and other races.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import sampling
from tests.faces.racing import (
    Client,
    Contest,
    Racer,
    Record,
    look_at_the_end,
    two_nodes,
    wait_until_mirrored,
)
from tests.server_process import ServerProcess
from tests.services import postgresql

SECONDS = float(os.environ.get("KELP_RACE_SECONDS", sampling.usual("8", "5")))
SEED = os.environ.get("KELP_RACE_SEED") or str(random.randrange(1, 1_000_000))
CLIENTS = 16
STEPS = sampling.usual(500, 180)  # of nine kinds
_LABEL = """<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><L:l xmlns:L="urn:l">%s</L:l></D:prop></D:set>
            </D:propertyupdate>"""
_ASK = b'<D:propfind xmlns:D="DAV:"><D:prop><L:l xmlns:L="urn:l"/></D:prop></D:propfind>'

pytestmark = pytest.mark.skipif(bool(postgresql.missing()), reason=postgresql.missing() or "")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    with two_nodes(tmp_path) as started:
        yield started


def test_what_one_node_did_the_other_shows_at_once(nodes: list[ServerProcess]) -> None:
    """Everything is asked of a node that has just been asked about it, so that whatever it keeps in memory is there."""
    record = Record()
    writer = Echo(nodes, record)
    writer.log_in()
    for step in range(STEPS):
        writer.step(step)
    writer.close()
    wait_until_mirrored(nodes, 120)
    for node in nodes:
        node.stop()
    print(record.table())
    look_at_the_end(nodes)


class Echo(Client):
    """Changes by one node, looks through the other, and expects what a dict says."""

    def __init__(self, nodes: list[ServerProcess], record: Record) -> None:
        super().__init__(nodes, record, SEED)
        print(f"KELP_RACE_SEED={SEED}")
        self._files: dict[str, bytes] = {}
        self._folders: list[str] = ["/dav"]
        self._count = 0

    def step(self, number: int) -> None:
        here, there = self.random.sample((0, 1), 2)
        deeds = [self.put, self.put_over, self.move, self.move_folder, self.make_folder, self.delete, self.label,
                 self.lock_and_unlock, self.copy]  # fmt: skip
        folder = self.random.choice(self._folders)
        self._expect_listing(folder, there)
        deeds[number % len(deeds)](folder, here, there)
        self._expect_listing(folder if folder in self._folders else "/dav", there)

    def _expect_listing(self, folder: str, node: int) -> None:
        inside = [path for path in (*self._files, *self._folders) if path.rpartition("/")[0] == folder]
        assert self.sure("PROPFIND", folder, node=node, Depth="1").listed == sorted(inside)

    def _new(self, folder: str) -> str:
        self._count += 1
        return f"{folder}/e{self._count}"

    def _old(self, node: int) -> str:
        """A file that there is, and that the node has just looked at."""
        if not self._files:
            self.put("/dav", node, node)
        path = self.random.choice(list(self._files))
        assert self.sure("GET", path, node=node).body == self._files[path]
        return path

    def put(self, folder: str, here: int, there: int) -> None:
        path, body = self._new(folder), f"{self.random.random()}".encode()
        assert self.ask("GET", path, node=there).status == 404
        etag = self.sure("PUT", path, body, node=here).headers["ETag"]
        found = self.sure("GET", path, node=there)
        assert (found.body, found.headers["ETag"]) == (body, etag)
        self._files[path] = body

    def put_over(self, folder: str, here: int, there: int) -> None:
        path, body = self._old(there), f"{self.random.random()}".encode()
        etag = self.sure("PUT", path, body, node=here).headers["ETag"]
        assert self.sure("HEAD", path, node=there).headers["ETag"] == etag
        assert self.sure("GET", path, node=there).body == body
        assert etag in self.sure("PROPFIND", path, node=there, Depth="0").text.replace("&quot;", '"')
        self._files[path] = body

    def move(self, folder: str, here: int, there: int) -> None:
        source, target = self._old(there), self._new(folder)
        self.sure("MOVE", source, node=here, Destination=target)
        assert self.ask("GET", source, node=there).status == 404
        self._files[target] = self._files.pop(source)
        assert self.sure("GET", target, node=there).body == self._files[target]

    def copy(self, folder: str, here: int, there: int) -> None:
        source, target = self._old(there), self._new(folder)
        self.sure("COPY", source, node=here, Destination=target)
        self._files[target] = self._files[source]
        assert self.sure("GET", target, node=there).body == self._files[target]

    def make_folder(self, folder: str, here: int, there: int) -> None:
        path = self._new(folder if folder.count("/") < 4 else "/dav")
        assert self.ask("PROPFIND", path, node=there, Depth="0").status == 404
        self.sure("MKCOL", path, node=here)
        self._folders.append(path)
        self._expect_listing(path, there)

    def move_folder(self, folder: str, here: int, there: int) -> None:
        if folder == "/dav":
            return
        target = self._new("/dav")
        self.sure("MOVE", folder, node=here, Destination=target)
        self._folders = [_moved(path, folder, target) for path in self._folders]
        self._files = {_moved(path, folder, target): body for path, body in self._files.items()}
        assert self.ask("PROPFIND", folder, node=there, Depth="1").status == 404
        for path in [path for path in self._files if path.startswith(f"{target}/")][:3]:
            assert self.sure("GET", path, node=there).body == self._files[path]

    def delete(self, folder: str, here: int, there: int) -> None:
        path = self._old(there)
        self.sure("DELETE", path, node=here)
        del self._files[path]
        assert self.ask("HEAD", path, node=there).status == 404

    def label(self, folder: str, here: int, there: int) -> None:
        path, text = self._old(there), f"{self.random.random()}"
        self.sure("PROPFIND", path, _ASK, node=there, Depth="0")
        self.sure("PROPPATCH", path, (_LABEL % text).encode(), node=here)
        assert text in self.sure("PROPFIND", path, _ASK, node=there, Depth="0").text

    def lock_and_unlock(self, folder: str, here: int, there: int) -> None:
        path = self._old(there)
        token = self.lock(path, node=here)
        assert token
        assert self.ask("PUT", path, b"refused", node=there).status == 423
        assert not self.lock(path, node=there)
        assert token in self.sure("PROPFIND", path, node=there, Depth="0").text
        self.sure("PUT", path, b"by its holder", node=there, If=f"(<{token}>)")
        self.sure("UNLOCK", path, node=there, Lock_Token=f"<{token}>")
        self.sure("PUT", path, b"free again", node=here)
        self._files[path] = b"free again"


def _moved(path: str, source: str, target: str) -> str:
    return target + path.removeprefix(source) if path == source or path.startswith(f"{source}/") else path


def test_sixteen_clients_race_for_twenty_names(nodes: list[ServerProcess]) -> None:
    """No 5xx, one winner wherever one is promised, no circle; in the end all invariants hold and the NAS has it."""
    print(f"KELP_RACE_SEED={SEED}")
    record = Record()
    clients = [Racer(nodes, record, f"{SEED} {number}") for number in range(CLIENTS)]
    for client in clients:
        client.log_in()
    contest = Contest(clients, record)
    until = time.monotonic() + SECONDS
    rounds = max(6, int(SECONDS))

    def run(number: int) -> None:
        begun = time.monotonic()
        try:
            for round_ in range(rounds):
                clients[number].work(begun + (round_ + 1) * (until - begun) / rounds)
                contest.take_part(number, round_)
        except BaseException:
            contest.give_up()
            raise

    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            errors = [done.exception() for done in [pool.submit(run, number) for number in range(CLIENTS)]]
        for error in errors:
            if error is not None and not isinstance(error, threading.BrokenBarrierError):
                raise error
    finally:
        print(record.table())
    for client in clients:
        client.close()
    begun = time.monotonic()
    wait_until_mirrored(nodes, 120)
    print(f"mirrored after {time.monotonic() - begun:.1f} s")
    for node in nodes:
        node.stop()
    look_at_the_end(nodes)
