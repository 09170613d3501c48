"""Eight clients at once on the same few names, served by four processes: nothing that was acknowledged is lost.

Every change names what it replaces, by its entity tag or under a lock, and every content that is sent is another one.
So a content is born once and ends once, and in the end the drive holds exactly those that were born and did not end: a
lost update, a stale answer, or a lock that another process did not see, gives a content that ends twice or is missing.

KELP_HAMMER_SECONDS (8, in a share of all variants 5) and KELP_HAMMER_SEED make longer and other runs.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests import sampling
from tests.faces.rules.requests import LOCKINFO
from tests.server_process import ServerProcess, server_process
from vfs.bootstrap import build
from vfs.operations import checking

SECONDS = float(os.environ.get("KELP_HAMMER_SECONDS", sampling.usual("8", "5")))
SEED = int(os.environ.get("KELP_HAMMER_SEED", "0")) or random.randrange(1, 1_000_000)
CLIENTS, PROCESSES = 8, 4
FOLDERS = ("/dav/d1", "/dav/d2", "/dav/d3")
FILES = ("/dav/a", "/dav/b", "/dav/c", *(f"{folder}/{name}" for folder in FOLDERS for name in "xy"))
LOCK = LOCKINFO % (b"exclusive", b"hammer")
_ENTRY = re.compile(r"<D:href>([^<]*[^/<])</D:href>.*?<D:getetag>([^<]*)</D:getetag>", re.DOTALL)


@dataclass
class Ledger:
    """Entity tags: what was born with which body, and what ended by whom. `read`: what answers said to hold."""

    born: dict[str, bytes] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    read: list[tuple[str, bytes]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def birth(self, etag: str, body: bytes) -> None:
        with self.turn:
            assert etag not in self.born, f"{etag} was given to two contents"
            self.born[etag] = body

    def end(self, etag: str, who: str) -> None:
        with self.turn:
            assert etag not in self.ended, f"{etag} was ended by {self.ended[etag]} and by {who}: one of them is lost"
            self.ended[etag] = who

    def live(self) -> dict[str, bytes]:
        return {etag: body for etag, body in self.born.items() if etag not in self.ended}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def etag(self) -> str:
        return str(self.headers["ETag"])


class Client:
    """Some connections, each to whichever process took it; every request goes over another one."""

    def __init__(self, server: ServerProcess, ledger: Ledger, number: int) -> None:
        self._server, self._ledger, self._number = server, ledger, number
        self._random = random.Random(f"{SEED} {number}")
        self._connections = [server.connect() for _ in range(PROCESSES)]
        self._sent = 0

    def work(self, until: float) -> None:
        deeds: list[Callable[[], None]] = [
            *[self.put_new] * 4, *[self.put_over] * 4, *[self.delete] * 2, *[self.move] * 3, *[self.edit_locked] * 4,
            *[self.move_over_locked] * 2, self.make_folder, self.move_folder, self.remove_locked_folder,
            *[self.read] * 3,
        ]  # fmt: skip
        while time.monotonic() < until:
            self._random.choice(deeds)()
        self.close()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, *, sure: bool = False, **headers: str) -> Answer:
        """`sure`: nobody can be in the way, so anything but a 2xx is a failure."""
        connection = self._random.choice(self._connections)
        sent = {"Authorization": self._server.basic, **{key.replace("_", "-"): text for key, text in headers.items()}}
        connection.request(method, path, body, sent)
        reply = connection.getresponse()
        answer = Answer(reply.status, reply.headers, reply.read())
        if self._random.random() < 0.1:
            connection.close()  # the next request may meet another process
        with self._ledger.turn:
            self._ledger.answers[f"{method} {answer.status}"] += 1
        allowed = (200, 201, 204, 207) if sure else (200, 201, 204, 207, 404, 405, 409, 412, 423)
        assert answer.status in allowed, f"{method} {path} {headers}: {answer.status} {answer.body[:300]!r}"
        return answer

    # --- deeds ---

    def put_new(self) -> None:
        body = self._another()
        answer = self.ask("PUT", self._file(), body, If_None_Match="*")
        if answer.status == 201:
            self._ledger.birth(answer.etag, body)

    def put_over(self) -> None:
        path, body = self._file(), self._another()
        seen = self._look(path)
        if seen:
            answer = self.ask("PUT", path, body, If_Match=seen)
            if answer.status == 204:
                self._replaced(seen, answer.etag, body)

    def delete(self) -> None:
        path = self._file()
        seen = self._look(path)
        if seen and self.ask("DELETE", path, If_Match=seen).status == 204:
            self._ledger.end(seen, self._who("DELETE"))

    def move(self) -> None:
        source, target = self._random.sample(FILES, 2)
        seen = self._look(source)
        if seen:
            self.ask("MOVE", source, Destination=target, Overwrite="F", If_Match=seen)

    def edit_locked(self) -> None:
        """What Windows does: while the lock is held nobody else comes near, and every process knows the last write."""
        path = self._file()
        token = self._lock(path)
        if token:
            seen = self._look(path, sure=True)
            for _ in range(self._random.randrange(3)):
                body = self._another()
                answer = self.ask("PUT", path, body, sure=True, If=f"(<{token}>)")
                self._replaced(seen, answer.etag, body)
                seen = answer.etag
                now = self.ask("GET", path, sure=True)
                assert (now.etag, now.body) == (seen, body), f"{path} is locked, and yet another content was read"
            self.ask("UNLOCK", path, sure=True, Lock_Token=f"<{token}>")

    def move_over_locked(self) -> None:
        """A safe save: the lock of the target stays with its name (RFC 4918 §7.5)."""
        source, target = self._random.sample(FILES, 2)
        token = self._lock(target)
        if token:
            old, new = self._look(target, sure=True), self._look(source)
            if new:
                asked = {"Destination": target, "If_Match": new, "If": f"<{target}> (<{token}>)"}
                if self.ask("MOVE", source, None, **asked).status == 204:
                    self._ledger.end(old, self._who("MOVE"))
                    assert self._look(target, sure=True) == new
            self.ask("UNLOCK", target, sure=True, Lock_Token=f"<{token}>")

    def make_folder(self) -> None:
        self.ask("MKCOL", self._random.choice(FOLDERS))

    def move_folder(self) -> None:
        source, target = self._random.sample(FOLDERS, 2)
        self.ask("MOVE", source, Destination=target, Overwrite="F")

    def remove_locked_folder(self) -> None:
        path = self._random.choice(FOLDERS)
        answer = self.ask("LOCK", path, LOCK)
        if answer.status in (200, 201):  # 201: there was no such folder, and now there is an empty file
            token = answer.headers["Lock-Token"]
            for etag in self.listed(path, sure=True).values() if answer.status == 200 else ():
                self._ledger.end(etag, self._who("DELETE folder"))
            self.ask("DELETE", path, sure=True, If=f"({token})")

    def read(self) -> None:
        answer = self.ask("GET", self._file())
        if answer.status == 200:
            with self._ledger.turn:
                self._ledger.read.append((answer.etag, answer.body))

    # --- parts of deeds ---

    def listed(self, path: str, *, sure: bool = False) -> dict[str, str]:
        """Path → entity tag of the files in a folder, or of the file itself."""
        answer = self.ask("PROPFIND", path, sure=sure, Depth="1")
        responses = answer.body.decode().split("<D:response>") if answer.status == 207 else []
        return {match[1]: match[2] for match in map(_ENTRY.search, responses) if match}

    def _lock(self, path: str) -> str:
        """The token of a new lock, "" when it was refused. It may have made an empty file."""
        answer = self.ask("LOCK", path, LOCK, Depth="0")
        if answer.status == 201:
            self._ledger.birth(self._look(path, sure=True), b"")
        return answer.headers["Lock-Token"][1:-1] if answer.status in (200, 201) else ""

    def _look(self, path: str, *, sure: bool = False) -> str:
        answer = self.ask("HEAD", path, sure=sure)
        return answer.etag if answer.status == 200 else ""

    def _replaced(self, old: str, new: str, body: bytes) -> None:
        self._ledger.end(old, self._who("PUT"))
        self._ledger.birth(new, body)

    def _another(self) -> bytes:
        self._sent += 1
        return f"{self._number}.{self._sent} ".encode() * self._random.choice((1, 100, 20_000))

    def _file(self) -> str:
        return self._random.choice(FILES)

    def _who(self, deed: str) -> str:
        return f"{deed} of client {self._number}"


def test_nothing_acknowledged_is_lost_among_processes(tmp_path: Path) -> None:
    print(f"KELP_HAMMER_SEED={SEED}")
    ledger = Ledger()
    with server_process(tmp_path, "--processes", str(PROCESSES)) as server:
        until = time.monotonic() + SECONDS
        clients = [Client(server, ledger, number) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(client.work, until) for client in clients]:
                done.result()
        compare(Client(server, ledger, CLIENTS), ledger)
        server.stop()
    print(sorted(ledger.answers.items()))
    assert not [line for line in server.log_text().splitlines() if " ERROR " in line or "Traceback" in line]
    with contextlib.closing(build(server.settings)) as kelp:
        report = checking.check(kelp)
        assert report.ok, report.problems


def compare(client: Client, ledger: Ledger) -> None:
    """What is there is what has to be there, and whatever was read on the way was what had been written."""
    found = client.listed("/dav")
    for folder in FOLDERS:
        found |= client.listed(folder)
    assert sorted(found.values()) == sorted(ledger.live())
    for path, etag in found.items():
        assert client.ask("GET", path, sure=True).body == ledger.born[etag], path
    for etag, body in ledger.read:
        assert ledger.born.get(etag) == body, etag
    assert len(ledger.ended) > SECONDS, "too little happened to prove anything"
    client.close()
