"""Workers of two servers at one mirror: no entry is carried by two, and nobody stands in anybody's way for good."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from jobs import mirror
from jobs.plan import plan
from tests.rooms.core.drive import Drive
from tests.rooms.mirror.test_only_copies import Forgetful
from tests.rooms.postgresql.racing import Nodes, outcome, race, raw
from tests.rooms.postgresql.test_waiting import listing_held
from vfs.errors import KelpError
from vfs.model import OnConflict
from vfs.nas_model import Job, Situation, Step
from vfs.operations import claiming, copying, mirroring


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


def only_on_the_nas(nodes: Nodes) -> None:
    """f/x. Saved over now, nothing is kept of it, since it was written only just before."""
    for one in (nodes.a, nodes.b):
        one.kelp = replace(one.kelp, small=Forgetful())
    nodes.a.folder("f")
    key = nodes.a.put("f/x", b"only on the NAS").content_id or ""
    nodes.a.mirror()
    with nodes.a.kelp.database.write() as tx:
        tx.run("UPDATE objects SET status = 'MISSING' WHERE key = :key", key=key)
        tx.run("UPDATE entries SET content_ns = :now WHERE content_id = :key", key=key, now=nodes.a.clock.now_ns())
    nodes.a.kelp.cache.delete(key)


def test_a_copy_that_is_not_committed_keeps_the_only_file_on_the_nas(nodes: Nodes) -> None:
    """The copy of a folder takes so long that a file in it is saved over meanwhile, and its mirror job comes first."""
    only_on_the_nas(nodes)
    with race(nodes.url) as at_once, contextlib.ExitStack() as last_lock:
        last_lock.enter_context(listing_held(nodes.url))
        copy = at_once.start_waiting(nodes.a.copy, "f", "g")
        nodes.b.put("f/x", b"saved over")
        mirror.drain(nodes.b.kelp, "second")
        last_lock.close()
        assert not isinstance(outcome(copy), BaseException)
    assert nodes.a.versions("f/x") == []
    nodes.a.mirror()
    assert nodes.a.read("g/x") == b"only on the NAS" and nodes.a.read("f/x") == b"saved over"


def test_a_copy_of_what_was_saved_over_since_it_was_listed_has_what_is_there_by_now(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had listed is nowhere any more: not in the cache, and on the NAS there is another."""
    only_on_the_nas(nodes)
    listed = copying._inner

    def meanwhile(*asked: Any) -> Iterator[Any]:
        found = list(listed(*asked))
        with race(nodes.url) as at_once:
            assert not isinstance(outcome(at_once.start(nodes.b.put, "f/x", b"saved over, longer")), BaseException)
            outcome(at_once.start(mirror.drain, nodes.b.kelp, "second"))
        return iter(found)

    monkeypatch.setattr(copying, "_inner", meanwhile)
    nodes.a.copy("f", "g")
    nodes.a.mirror()
    assert nodes.a.read("g/x") == nodes.a.read("f/x") == b"saved over, longer"


def test_a_copy_that_is_committed_while_a_claim_looks_keeps_the_only_file_on_the_nas(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not there yet when the claim asks who needs the content, not under way any more when it asks who is about to."""
    only_on_the_nas(nodes)
    with race(nodes.url) as at_once, contextlib.ExitStack() as last_lock:
        last_lock.enter_context(listing_held(nodes.url))
        copy = at_once.start_waiting(nodes.a.copy, "f", "g")
        nodes.b.put("f/x", b"saved over")
        found: list[object] = []

        def meanwhile(situation: Situation, fence: int) -> list[Step]:
            if not found:
                last_lock.close()
                found.append(outcome(copy))
            return plan(situation, fence)

        monkeypatch.setattr(mirror, "plan", meanwhile)
        mirror.drain(nodes.b.kelp, "second")
        assert found and not isinstance(found[0], Exception), found
    nodes.a.mirror()
    assert nodes.b.read("g/x") == b"only on the NAS"
