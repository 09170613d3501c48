"""Workers of two servers at one mirror: no entry is carried by two, and nobody stands in anybody's way for good."""

from __future__ import annotations

import random
import threading
from functools import partial

from jobs import mirror
from jobs.plan import plan
from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import Nodes, outcome, race, raw
from vfs.errors import KelpError
from vfs.model import OnConflict
from vfs.nas_model import Job
from vfs.operations import claiming, mirroring


def claims(drive: Drive, owner: str) -> list[Job]:
    """What one worker gets when it claims until nothing is due."""
    found: list[Job] = []
    while True:
        jobs, covered = claiming.claim(drive.kelp, owner, 4, plan)
        found += jobs
        if not jobs and not covered:
            return found


def test_no_entry_is_claimed_by_two(nodes: Nodes) -> None:
    for folder in "fgh":
        nodes.a.folder(folder)
    nodes.a.mirror()
    for number in range(40):
        nodes.a.put(f"{'fgh'[number % 3]}/{number}")
    nodes.a.clock.advance(61)
    with race(nodes.url) as at_once:
        workers = [
            partial(claims, node, f"{name}-{n}") for n in range(3) for name, node in (("a", nodes.a), ("b", nodes.b))
        ]
        found = at_once.all_at_once(workers)
    jobs = [job for each in found if isinstance(each, list) for job in each]
    assert all(isinstance(each, list) for each in found), found
    assert sorted(job.situation.entry_id for job in jobs) == sorted({job.situation.entry_id for job in jobs})
    assert len(jobs) == 40
    assert len({job.fence for job in jobs}) == 40
    mirroring.abandon(nodes.a.kelp, jobs)


def test_a_claim_waits_for_another(nodes: Nodes) -> None:
    nodes.a.put("a")
    with race(nodes.url) as at_once:
        with raw(nodes.url) as beside, beside.transaction():
            beside.execute("SELECT pg_advisory_xact_lock(%s, 2)", (0x6B656C70,))
            worker = at_once.start_waiting(claiming.claim, nodes.a.kelp, "one", 4, plan)
            nodes.b.put("b")  # people do not wait for the mirror
        found = outcome(worker)
    assert isinstance(found, tuple) and len(found[0]) >= 1
    mirroring.abandon(nodes.a.kelp, found[0])


def test_workers_of_two_servers_keep_up_with_people(nodes: Nodes) -> None:
    """People rename, replace and remove while four workers carry; the check at the end says that the NAS has it all."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def carry(node: Drive, owner: str) -> None:
        while not stop.is_set():
            mirror.drain(node.kelp, owner)

    def change(node: Drive, seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(60):
            path, other = (f"{chosen.choice(('', 'f/', 'g/'))}{chosen.choice('abcd')}" for _ in range(2))
            deeds = (
                partial(node.put, path, f"{chosen.random()}".encode()),
                partial(node.move, path, other, OnConflict.OVERWRITE),
                partial(node.remove, path),
                partial(node.folder, chosen.choice("fg")),
                partial(node.move, *chosen.sample(("f", "g", "h"), 2), OnConflict.OVERWRITE),
            )
            try:
                chosen.choice(deeds)()
            except AssertionError:
                continue  # there was no such folder when its path was looked up
            except KelpError as error:
                errors.append(error)

    with race(nodes.url) as at_once:
        carriers = [at_once.start(carry, node, f"{n}") for n, node in enumerate([nodes.a, nodes.b] * 2)]
        people = [at_once.start(change, node, n) for n, node in enumerate([nodes.a, nodes.b] * 2)]
        found = [outcome(each) for each in people]
        stop.set()
        assert [outcome(each) for each in carriers] == [None] * 4
    assert found == [None] * 4
    refused = {type(error).__name__ for error in errors}
    assert refused <= {"NotFound", "AlreadyExists", "ParentNotFound", "WrongKind", "CircularMove"}, refused
