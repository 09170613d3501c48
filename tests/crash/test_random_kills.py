"""Clients write, move, copy, delete and lock while the server is killed at random moments.

After each restart every acknowledged change is there byte for byte, and each request without an answer is done whole
or not at all; at the end the NAS shows the same tree. All that in a vault too.

KELP_CRASH_ROUNDS sets the rounds, KELP_CRASH_SEED repeats a run
(the requests are then the same; the moments of the kills depend on the machine).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import vaults
from tests.crash.client import Client
from tests.crash.ledger import Tree, difference
from tests.crash.nas_tree import nas_tree, plain, vault_tree
from tests.server_process import ServerProcess, server_process
from vfs.bootstrap import build
from vfs.operations import backlog, checking
from vfs.operations.backlog import Waited

ROUNDS = int(os.environ.get("KELP_CRASH_ROUNDS", "10"))
SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
IN_VAULT = 4  # every so many-th round is in a vault once more
PER_DRIVE = 50  # rounds on one drive, with its trash and versions: 500 would fill a disk
CLIENTS = 4
PLACES = ((vaults.FOLDER,),) if vaults.ALL else ((), (vaults.FOLDER,))
CHECKED_EVERY = 10  # rounds between two looks at the whole of database, cache and NAS

pytestmark = pytest.mark.crash


@pytest.mark.timeout(600)
@pytest.mark.parametrize("above", PLACES, ids="/".join)
@pytest.mark.parametrize("first", range(0, ROUNDS, PER_DRIVE))
def test_random_kills(tmp_path: Path, first: int, above: tuple[str, ...]) -> None:
    sys.stdout.write(f"KELP_CRASH_SEED={SEED}\n")  # pytest shows it when the test fails
    seed, rounds = SEED + first, min(PER_DRIVE, ROUNDS - first)
    kills = random.Random(seed)
    if above and not vaults.ALL:
        rounds = -(-rounds // IN_VAULT)
    with server_process(tmp_path) as server:
        if above:
            _make_vault(server)
        clients = [Client(server, f"client {number}", seed + number, above) for number in range(CLIENTS)]
        for number in range(1, rounds + 1):
            with _Running(client.work for client in clients):
                time.sleep(kills.uniform(0.02, 1.2))
                if number == rounds:
                    _wait_for_work(clients, rounds)
                server.kill()
            if kills.random() < 0.25:  # once more, while it comes up and settles what it left
                server.start()
                time.sleep(kills.uniform(0.3, 1.5))
                server.kill()
            if number % CHECKED_EVERY == 0:
                _check(server, mirrored=False)
            server.start()
            server.wait_ready()
            with _Running(client.verify for client in clients):
                pass
        assert all(client.acknowledged > rounds for client in clients), [client.acknowledged for client in clients]
        _compare_with_nas(server, clients, vault_tree if above else nas_tree)
        assert "Traceback" not in server.log_text() and " ERROR " not in server.log_text(), server.log
    shutil.rmtree(tmp_path)


def _wait_for_work(clients: list[Client], rounds: int) -> None:
    """On a machine under load each client shall have had more than one answer per round, too."""
    end = time.monotonic() + 60
    while not all(client.acknowledged > rounds for client in clients) and time.monotonic() < end:
        time.sleep(0.01)


class _Running:
    """Run each in a thread of its own until the block and they are done. Raises what any of them raised."""

    def __init__(self, actions: Iterable[Callable[[], None]]) -> None:
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(action,)) for action in actions]

    def _run(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


def _make_vault(server: ServerProcess) -> None:
    with contextlib.closing(build(server.settings)) as kelp:
        vaults.make_vault(kelp)


def _compare_with_nas(server: ServerProcess, clients: list[Client], seen: Callable[[Path], Tree]) -> None:
    kelp = build(server.settings)
    try:
        waited = backlog.wait_until_mirrored(kelp, timeout=60 + PER_DRIVE)
        assert waited is Waited.MIRRORED, (waited, backlog.backlog(kelp), backlog.events(kelp, 10, "FAILED"))
    finally:
        kelp.close()
    server.stop()
    expected = plain(Tree({path: node for client in clients for path, node in client.tree.nodes.items()}))
    actual = seen(server.nas)
    assert actual == expected, "the NAS differs:\n" + difference(expected, actual)
    _check(server, mirrored=True)


def _check(server: ServerProcess, *, mirrored: bool) -> None:
    kelp = build(server.settings)
    try:
        report = checking.check(kelp, mirrored=mirrored)
        assert report.ok, report.problems[:20]
    finally:
        kelp.close()
