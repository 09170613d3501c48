"""Who may touch the tree: leases with fences, heartbeats, what a successor and the sweep find."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from jobs import mirror
from jobs.plan import plan
from tests.mirror_drive import Killed, MirrorDrive, Pause
from vfs.operations import claiming, mirroring
from vfs.operations.fences import Fences


def test_a_worker_that_wakes_up_after_its_lease_was_taken_over_does_not_touch_the_tree(drive: MirrorDrive) -> None:
    drive.put("f", b"first")
    drive.settle_down()
    drive.pass_time(10)
    drive.put("f", b"second")
    pause = Pause(lambda method, arguments: method == "write")
    drive.nas.after = pause
    sleeper = threading.Thread(target=drive.drain, args=("sleeper",))
    sleeper.start()
    pause.wait()
    drive.pass_time(31)
    drive.put("f", b"third")
    drive.settle_down("successor")
    seen = drive.raw_nas(private=True)
    pause.resume()
    sleeper.join(30)
    after = {path: content for path, content in drive.raw_nas(private=True).items() if ".kelp/tmp/" not in path}
    assert after == {path: content for path, content in seen.items() if ".kelp/tmp/" not in path}
    mirror.tidy(drive.kelp)
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"third"} and not drive.raw_nas(".kelp/tmp")


def test_a_heartbeat_keeps_a_slow_worker_its_lease(drive: MirrorDrive) -> None:
    drive.put("f", b"slow")
    pause = Pause(lambda method, arguments: method == "write")
    drive.nas.before = pause
    worker = threading.Thread(target=drive.drain, args=("worker",))
    worker.start()
    pause.wait()
    for _ in range(4):
        drive.pass_time(20)
        mirroring.renew(drive.kelp, "worker")
    assert mirroring.take_over(drive.kelp, "successor", 10) == []
    pause.resume()
    worker.join(30)
    drive.check_mirrored()


def test_a_file_that_a_dead_worker_moved_aside_is_not_tidied_away(drive: MirrorDrive) -> None:
    drive.put("a", b"A")
    drive.put("b", b"B")
    drive.settle_down()
    for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
        drive.move(source, target)

    def die_when_aside(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "move" and "/held-" in arguments[1]:
            raise Killed

    drive.nas.after = die_when_aside
    with pytest.raises(Killed):
        drive.settle_down()
    drive.die()
    assert len(mirroring.take_over(drive.kelp, "successor", 10)) >= 1  # which has not looked at the NAS yet
    assert mirror.tidy(drive.kelp).count == 0
    drive.die()
    drive.check_mirrored()
    assert drive.on_nas() == {"a": b"B", "b": b"A"}
    assert drive.raw_nas(".kelp/tmp") == {}


def test_the_sweep_gives_back_what_a_dead_worker_had(drive: MirrorDrive) -> None:
    drive.put("f")
    drive.drain()
    with drive.kelp.database.write() as tx:  # an event that was committed, and begun by someone unknown
        tx.run("UPDATE sync_events SET status = 'PROCESSING'")
        tx.run("UPDATE entries SET nas_name = NULL, nas_parent_id = NULL, nas_key = NULL, nas_content_id = NULL")
        tx.run("UPDATE entries SET nas_name = '', nas_key = '' WHERE id = 1")
    assert mirroring.sweep(drive.kelp)
    drive.check_mirrored()
    assert not mirroring.sweep(drive.kelp)


def test_a_lease_taken_by_a_clock_that_was_wrong_is_taken_over(drive: MirrorDrive) -> None:
    drive.put("f", b"kept")

    def die(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "write":
            raise Killed

    drive.nas.after = die
    with pytest.raises(Killed):
        drive.settle_down()
    drive.die()
    year = 365 * 86_400 * 1_000_000_000
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE mirror_leases SET expires_ns = :then", then=drive.kelp.clock.now_ns() + year)
    drive.check_mirrored()
    assert drive.on_nas() == {"f": b"kept"}


def test_who_checked_a_moment_ago_sees_what_was_taken_over_since_the_clock_was_set_back(drive: MirrorDrive) -> None:
    drive.put("f", b"some")
    jobs, _ = claiming.claim(drive.kelp, "one", 4, plan)
    fences = Fences(drive.kelp, jobs)
    assert [fences.hold(job) for job in jobs] == [True]
    drive.pass_time(-2 * 3600)
    assert [fences.hold(job) for job in jobs] == [True], "nobody has it"
    successors = mirroring.take_over(drive.kelp, "successor", 4)
    assert len(successors) == 1
    assert [fences.hold(job) for job in jobs] == [False]
    mirroring.abandon(drive.kelp, successors)
    drive.settle_down()
    drive.check_mirrored()


def test_what_finds_nothing_to_do_commits_nothing(drive: MirrorDrive) -> None:
    """On SQLite each commit makes all processes forget what they have in memory."""
    drive.put("f")
    drive.put("late.tmp")
    drive.settle_down()
    before = drive.kelp.database.version()
    assert not mirroring.sweep(drive.kelp)
    mirroring.renew(drive.kelp, "worker")
    drive.drain()
    assert drive.kelp.database.version() == before


def test_renewing_makes_nobody_forget_and_is_seen_by_the_holder(drive: MirrorDrive) -> None:
    drive.put("f")
    jobs, _ = claiming.claim(drive.kelp, "worker", 1, plan)
    assert mirroring.still_mine(drive.kelp, jobs[0])
    if drive.kelp.settings.database.url.startswith("sqlite"):
        before = drive.kelp.database.version()
        mirroring.renew(drive.kelp, "worker")
        assert drive.kelp.database.version() == before
    for _ in range(3):
        drive.pass_time(20)
        mirroring.renew(drive.kelp, "worker")
        assert mirroring.still_mine(drive.kelp, jobs[0])
    drive.pass_time(31)
    assert not mirroring.still_mine(drive.kelp, jobs[0])
    drive.die()
    drive.check_mirrored()
