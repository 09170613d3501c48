"""One outage under steady load, from the first fault to the time when all is as before; and what clients felt."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests import warm_starts
from tests.crash.asking import Exchange
from tests.crash.ledger import Tree, difference
from tests.crash.load import MIB, Client, under_load
from tests.crash.nas_tree import nas_tree
from tests.outages.nas_places import WAYS, NasPlace
from tests.server_process import PROGRAM, ServerProcess
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.operations import checking, nas_state

CLIENTS = 3
_CONVERGED = 180.0  # seconds within which the NAS has all, once it is back


@dataclass
class Drive:
    """A started server on a NAS that can go away, and clients that know what must be there."""

    server: ServerProcess
    kelp: Kelp  # the same drive, opened beside it while the NAS was there
    nas: NasPlace
    clients: list[Client]

    @property
    def exchanges(self) -> list[Exchange]:
        return sorted((each for client in self.clients for each in client.exchanges), key=lambda each: each.begun)

    def failures(self) -> list[object]:
        """Requests that were not answered as on a good day, and what clients say was wrong."""
        bad = [each for each in self.exchanges if not each.status or each.status >= 500]
        return [*bad, *(complaint for client in self.clients for complaint in client.wrong)]


@contextlib.contextmanager
def drive_on(way: str, folder: Path, seed: int, **settings: object) -> Iterator[Drive]:
    given: dict[str, Any] = {"nas_reserve": 0, **settings}
    with WAYS[way](folder / "place") as nas:
        server = ServerProcess(folder, new=True, **given)
        server.data.parent.mkdir(parents=True, exist_ok=True)
        server.nas = nas.root
        clients = [Client([server], number, seed) for number in range(CLIENTS)]
        try:
            server.start()
            server.wait_ready()
            for client in clients:
                client.prepare()
                client.biggest = MIB
            with contextlib.closing(build(server.settings)) as kelp:
                yield Drive(server, kelp, nas, clients)
        finally:
            with contextlib.suppress(AssertionError, OSError):  # the test has failed then, and said why
                nas.come_back()
            for client in clients:
                client.close()
            server.kill()


def nas_is(drive: Drive) -> str:
    return "up" if nas_state.read(drive.kelp).up else "down"


def wait_for(drive: Drive, state: str, seconds: float) -> float:
    """Seconds until the drive takes its NAS for "up", or "down"."""
    begun = time.monotonic()
    while nas_is(drive) != state:
        assert time.monotonic() < begun + seconds, f"the NAS is not taken to be {state} after {seconds:.0f} s"
        time.sleep(0.05)
    return time.monotonic() - begun


@dataclass
class Course:
    """How an outage went: times are monotonic; `noticed` and `returned` in seconds."""

    way: str
    begun: float = 0.0
    gone: float = 0.0
    noticed: float = 0.0
    back: float = 0.0
    returned: float = 0.0
    ended: float = 0.0
    converged: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)

    def phase(self, each: Exchange) -> str:
        if each.begun < self.gone:
            return "before"
        return "during" if each.begun < self.back else "after"

    def report(self) -> str:
        """Milliseconds by method before, during and after it."""
        found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for each in self.exchanges:
            for method in (each.method, "all"):
                found[method][self.phase(each)].append(each.seconds * 1000)
        phases = ("before", "during", "after")
        lines = [
            f"{self.way}: away for {self.back - self.gone:.0f} s, noticed after {self.noticed:.1f} s, up again"
            f" {self.returned:.1f} s after its return, all there {self.converged - self.ended:.1f} s after the load",
            f"{'':>10} " + " ".join(f"{phase + ': n, median, p95, most':>34}" for phase in phases) + "  during/before",
        ]
        for method, by_phase in sorted(found.items(), key=lambda item: -len(item[1]["during"])):
            cells = " ".join(f"{_numbers(by_phase[phase]):>34}" for phase in phases)
            ratio = ""
            if by_phase["before"] and by_phase["during"]:
                pairs = [(share(by_phase[phase], s) for phase in ("during", "before")) for s in (0.5, 0.95)]
                ratio = ", ".join(f"{during / before:.2f}" for during, before in pairs)
            lines.append(f"{method:>10} {cells}  {ratio}")
        return "\n".join(lines)


def share(numbers: Sequence[float], share: float) -> float:
    return sorted(numbers)[min(int(share * len(numbers)), len(numbers) - 1)]


def _numbers(each: Sequence[float]) -> str:
    return f"{len(each)}, {median(each):.1f}, {share(each, 0.95):.1f}, {max(each):.1f}" if each else "-"


def suffer(drive: Drive, way: str, seconds: float, around: float, limit: float) -> Course:
    """Load; after `around` seconds the NAS goes for `seconds`, and load goes on for as long after it is back."""
    course = Course(way, begun=time.monotonic())
    with under_load(drive.clients):
        time.sleep(around)
        drive.nas.go()
        course.gone = time.monotonic()
        course.noticed = wait_for(drive, "down", limit)
        time.sleep(max(0.0, seconds - course.noticed))
        assert nas_is(drive) == "down"
        drive.nas.come_back()
        course.back = time.monotonic()
        course.returned = wait_for(drive, "up", 60)
        time.sleep(around)
    course.ended = time.monotonic()
    settle(drive)
    course.converged = time.monotonic()
    course.exchanges = drive.exchanges
    return course


def settle(drive: Drive) -> None:
    """Until nothing waits for the NAS. AssertionError: something waits too long, or failed."""
    until = time.monotonic() + _CONVERGED
    while waiting := _open_events(drive.kelp):
        assert time.monotonic() < until, f"does not come to the NAS: {waiting[:10]}"
        time.sleep(0.1)


def _open_events(kelp: Kelp) -> list[tuple[Any, ...]]:
    sql = """SELECT event_type, status, retry_count, error_message FROM sync_events
             WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') ORDER BY status, id"""
    with kelp.database.read() as tx:
        return [tuple(row) for row in tx.all(sql)]


def verify(drive: Drive) -> None:
    """Everything is there: through the drive, on the NAS, and by Kelp's own rules; nothing was held against an entry.

    AssertionError: it is not.
    """
    assert not (failed := drive.failures()), failed
    assert [client.doubts for client in drive.clients] == [[] for _ in drive.clients]
    for client in drive.clients:
        client.close()  # the server may be another one by now
        client.verify()
    expected = Tree({path: node for client in drive.clients for path, node in client.tree().nodes.items()})
    actual = nas_tree(drive.nas.files)
    assert actual == expected, "the NAS differs:\n" + difference(expected, actual)
    assert checking.check(drive.kelp, mirrored=True).problems == []
    with drive.kelp.database.read() as tx:
        burnt = tx.all("SELECT event_type, retry_count, error_message FROM sync_events WHERE retry_count > 0")
    assert burnt == [], "retries were used up"


def alerts_of(drive: Drive, kind: str) -> list[bool]:
    """Of each alert of this kind, oldest first: is it over?"""
    with drive.kelp.database.read() as tx:
        rows = tx.all("SELECT closed_ns FROM alerts WHERE kind = :kind ORDER BY id", kind=kind)
    return [row[0] is not None for row in rows]


def says(drive: Drive, *words: str, seconds: float) -> str:
    """What a `kelp` command says. AssertionError: it fails, or takes longer."""
    line = [sys.executable, str(PROGRAM), *words, "--data", str(drive.server.data), "--nas", str(drive.server.nas)]
    try:
        done = warm_starts.run(line, drive.server.environ, seconds)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"kelp {' '.join(words)} takes more than {seconds:.0f} s") from error
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout
