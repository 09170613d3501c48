"""Each part of a drive in production goes away, or errs, under load; what was acknowledged stays, and all comes back.

Clients see the right bytes or 503 with Retry-After, never another error and never a short answer for a whole one; then
the mirror converges without anybody's help, byte by byte. `-s` shows the times. KELP_OUTAGE_SECONDS is how long a part
is away, at least (3 when unset, and then each part fails in the ways that differ most): on a slow machine until both
nodes say so. From 30 on Kelp's settings are those it comes with, and times are judged.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests.crash.asking import Exchange
from tests.crash.faults import FAULTS, Fault, Span
from tests.crash.ledger import Tree, difference
from tests.crash.load import MIB, Client, under_load
from tests.crash.nas_tree import nas_tree
from tests.crash.parts import Parts, production
from tests.services import postgresql, redis
from tests.waiting import until
from vfs.bootstrap import build
from vfs.operations import checking

SECONDS = float(os.environ.get("KELP_OUTAGE_SECONDS", "3"))
SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
LONG = SECONDS >= 30
_DAILY = (
    *("server processes die", "the worker dies", "Redis dies", "PostgreSQL restarts", "PostgreSQL hangs"),
    *("S3 hangs", "S3 resets uploads", "S3 cuts downloads", "the NAS is not mounted"),
)
IMPATIENT = {} if LONG else {"mirror_lease": 6, "queue_sweep": 1, "mirror_probe": 1, "cache_timeout": 3}
CLIENTS = 4
_BEFORE, _AFTER = (3.0, 6.0) if LONG else (1.0, 2.5)  # seconds of load around a fault
_PAUSE = 0.04 if LONG else 0.2  # seconds at most: two cores have more to do than these clients
_LONGEST = 10.0  # seconds that a request may take (the issue's)
_NOTICED = 3.0  # seconds from which the report names a request
_PATIENCE = 0.0 if LONG else 60.0  # seconds by which a fault lasts longer, when it is noticed late
_WELL = 20.0 if LONG else 60.0  # seconds after which all is well again, once the mirror has converged
_CONVERGED = 120.0  # seconds within which the NAS has all

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(420 + 10 * SECONDS),
    pytest.mark.engine(database="sqlite", cache="folder", queue="in-process", reason="it brings its own, in every run"),
    pytest.mark.skipif(
        bool(postgresql.missing() or redis.missing()), reason=str(postgresql.missing() or redis.missing())
    ),
]


@dataclass
class Drive:
    parts: Parts
    clients: list[Client]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    sys.stdout.write(f"KELP_CRASH_SEED={SEED}\n")
    with production(tmp_path_factory.mktemp("parts"), **IMPATIENT) as parts:
        clients = [Client(parts.servers, number, SEED) for number in range(CLIENTS)]
        for client in clients:
            client.prepare()
        yield Drive(parts, clients)


@dataclass(frozen=True)
class Look:
    """What `/readyz` said. `status` 0: nobody was there."""

    node: int
    at: float
    seconds: float
    status: int
    parts: dict[str, object] = field(default_factory=dict)


@contextmanager
def watched(parts: Parts) -> Iterator[list[Look]]:
    """Ask both nodes again and again."""
    looks: list[Look] = []
    stop = threading.Event()

    def watch(node: int) -> None:
        while not stop.wait(0.3):
            begun = time.monotonic()
            status, said = 0, dict[str, object]()
            with suppress(OSError, http.client.HTTPException):
                status, said = _ready(parts, node)
            looks.append(Look(node, begun, time.monotonic() - begun, status, said))

    threads = [threading.Thread(target=watch, args=(node,), daemon=True) for node in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield looks
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ready(parts: Parts, node: int) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", parts.servers[node].port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("name", FAULTS if "KELP_OUTAGE_SECONDS" in os.environ else _DAILY)
def test_a_part_goes_away(drive: Drive, name: str) -> None:
    parts, clients, fault = drive.parts, drive.clients, FAULTS[name]
    parts.new_log_text()
    for client in clients:
        client.exchanges.clear()
        client.wrong.clear()
        client.biggest = MIB if fault.slow and not LONG else 20 * MIB
        client.pause = _PAUSE
    with watched(parts) as looks:
        with under_load(clients):
            time.sleep(_BEFORE)
            gone = time.monotonic()
            fault.happen(parts, Span(max(SECONDS, fault.least), lambda: _unsaid(fault, looks, gone) == [], _PATIENCE))
            back = time.monotonic()
            time.sleep(_AFTER)
        ended = time.monotonic()
        exchanges = sorted((each for client in clients for each in client.exchanges), key=lambda each: each.begun)
        waited = parts.run("sync", "wait", "--timeout", str(_CONVERGED), seconds=_CONVERGED + 30)
        converged = time.monotonic()
        assert waited.returncode == 0, waited
        until(lambda: all(_is_well(parts, node) for node in range(2)), _WELL)
    _report(name, exchanges, looks, (gone, back, ended, converged))
    assert [client.wrong for client in clients] == [[] for _ in clients]
    _judge(fault, exchanges, looks, gone, back)
    _compare(parts, clients)
    assert "Traceback" not in (told := parts.new_log_text()), told


def _is_well(parts: Parts, node: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        status, said = _ready(parts, node)
        return (status, said["database"], said["cache"], said["queue"], said["nas"]) == (200, "ok", "ok", "ok", "up")
    return False


def _judge(fault: Fault, exchanges: Sequence[Exchange], looks: Sequence[Look], gone: float, back: float) -> None:
    # An answer can be cut where its bytes are nowhere else any more; its length tells the client.
    cut = "cache" in fault.says
    assert fault.breaks or [each for each in exchanges if not (each.status or (cut and each.cut))] == []
    assert _unsaid(fault, [look for look in looks if look.at <= back], gone) == []
    longest = max((each for each in exchanges if not (fault.slow and each.moved > 100_000)), key=lambda e: e.seconds)
    # Another program's turn on a machine under load is no failure; the long form is for a quiet one.
    assert longest.seconds < (_LONGEST if LONG else 3 * _LONGEST), longest


def _unsaid(fault: Fault, looks: Sequence[Look], gone: float) -> list[tuple[int, str, list[str]]]:
    """Nodes that have not told of the fault since `gone`: (node, part, what they said of it)."""
    found = []
    for part, word in fault.says.items():
        for node in range(2):
            said = [str(look.parts.get(part)) for look in tuple(looks) if look.node == node and look.at >= gone]
            if not any(each.startswith(word) for each in said):
                found.append((node, part, said))
    return found


def _compare(parts: Parts, clients: Sequence[Client]) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(Client.settle, clients))
        list(pool.map(Client.verify, clients))
    kelp = build(parts.servers[0].settings)
    try:
        report = checking.check(kelp, mirrored=True, deep=False)
        assert report.ok, report.problems[:20]
    finally:
        kelp.close()
    expected = Tree({path: node for client in clients for path, node in client.tree().nodes.items()})
    actual = nas_tree(parts.nas)
    assert actual == expected, "the NAS differs:\n" + difference(expected, actual)


def test_at_the_end_every_byte_is_as_it_was_stored(drive: Drive) -> None:
    for client in drive.clients:
        client.verify(everywhere=True)
        client.close()
    kelp = build(drive.parts.servers[0].settings)
    try:
        assert checking.check(kelp, mirrored=True).problems == []
    finally:
        kelp.close()
    drive.parts.new_log_text()
    for process in drive.parts.kelp_processes:
        process.stop()
    assert "Traceback" not in (told := drive.parts.new_log_text()), told


def _report(
    name: str, exchanges: Sequence[Exchange], looks: Sequence[Look], times: tuple[float, float, float, float]
) -> None:
    gone, back, ended, converged = times
    good = [each for each in exchanges if 200 <= each.status < 300]
    refused = sum(each.status == 503 for each in exchanges)
    cut = sum(each.cut for each in exchanges)
    lost = sum(not each.status for each in exchanges) - cut
    first = {
        method: min((each.ended for each in good if each.begun >= back and each.method == method), default=math.nan)
        for method in ("PUT", "GET")
    }
    ready = max((look.at for look in looks if look.at >= back and not _well(look)), default=back)
    lines = [
        f"{name}: {back - gone:.1f} s. {len(good)} good, {refused} refused, {lost} lost, {cut} cut. After its return: "
        f"first PUT {first['PUT'] - back:.1f} s, GET {first['GET'] - back:.1f} s, ready {ready - back:.1f} s; "
        f"converged {converged - ended:.1f} s after the load. /readyz: {max(look.seconds for look in looks):.1f} s."
    ]
    slowest = sorted(exchanges, key=lambda each: -each.seconds)[:6]
    for each in [slowest[0], *(each for each in slowest[1:] if each.seconds > _NOTICED)]:
        what = f"{each.method} of {each.moved} bytes: {each.status or each.error}"
        lines.append(f"{what} after {each.seconds:.2f} s, begun at {each.begun - gone:+.1f} s")
    sys.stdout.write("\n" + "\n    ".join(lines) + "\n")


def _well(look: Look) -> bool:
    said = look.parts
    return look.status == 200 and said.get("queue") == "ok" and said.get("nas") == "up"
