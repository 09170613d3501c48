"""How the NAS feels and how much room it has: what is noted, told, and refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jobs import batches, outage
from tests.mirror_drive import StagedNas
from tests.rooms.core.drive import Drive
from vfs.core import Kelp
from vfs.errors import NasDown, NoSpace
from vfs.operations import alerts, nas_health, nas_state
from vfs.operations.nas_health import Feeling
from vfs.storage.object_store import Usage

MIB = 1024 * 1024


def open_alerts(kelp: Kelp) -> list[str]:
    return [alert.kind for alert in alerts.listing(kelp)]


def staged(drive: Drive) -> tuple[Kelp, StagedNas]:
    nas = StagedNas(drive.kelp.nas)
    return replace(drive.kelp, nas=nas), nas  # type: ignore[arg-type]


class Sized(StagedNas):
    """A NAS that says it has so many bytes free."""

    free = 1024 * MIB

    def usage(self) -> Usage:
        return Usage(10_000 * MIB, self.free)


def sized(drive: Drive, free: int) -> tuple[Kelp, Sized]:
    nas = Sized(drive.kelp.nas)
    nas.free = free
    return replace(drive.kelp, nas=nas), nas  # type: ignore[arg-type]


def test_a_small_file_is_written_and_removed(drive: Drive) -> None:
    kelp, nas = staged(drive)
    seen: list[str] = []
    nas.before = lambda method, arguments: seen.append(method)
    assert nas_health.read(kelp).feeling is Feeling.UNKNOWN
    nas_health.check(kelp)
    health = nas_health.read(kelp)
    assert health.feeling is Feeling.HEALTHY and health.last is not None and health.last.seconds is not None
    assert seen == ["probe"]
    assert list((drive.nas / ".kelp" / "tmp").iterdir()) == []


def test_slow_is_told_once_and_its_end_too(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(nas_slow=0.05)
    kelp, nas = staged(drive)
    nas.before = lambda method, arguments: time.sleep(0.06)
    since = drive.clock.now_ns()
    nas_health.check(kelp)
    drive.clock.advance(60)
    nas_health.check(kelp)
    health = nas_health.read(kelp)
    assert (health.feeling, health.since_ns) == (Feeling.SLOW, since)
    assert open_alerts(kelp) == ["NAS_SLOW"]
    nas.calm()
    until_healthy(kelp)
    assert nas_health.read(kelp).feeling is Feeling.HEALTHY
    assert open_alerts(kelp) == []


def until_healthy(kelp: Kelp) -> None:
    """A machine that is busy may be slow once, not always."""
    for _ in range(20):
        nas_health.check(kelp)
        if nas_health.read(kelp).feeling is Feeling.HEALTHY:
            return


def test_an_idle_drive_finds_an_outage(drive: Drive) -> None:
    kelp, nas = staged(drive)

    def gone(method: str, arguments: tuple[Any, ...]) -> None:
        raise NasDown("NAS: gone", "ESTALE")

    nas.before = gone
    batch = next(each for each in batches.BATCHES if each.name == "nas-health")
    batches.run(kelp, batch)
    assert not outage.is_up(kelp)
    nas_health.check(kelp)  # it is known to be down: it is not asked
    health = nas_health.read(kelp)
    assert health.feeling is Feeling.DOWN and "gone" in health.reason
    assert [each.seconds for each in health.history] == [None]


def test_history_is_bounded(drive: Drive) -> None:
    for _ in range(130):
        drive.clock.advance(60)
        nas_health.check(drive.kelp)
    history = nas_health.read(drive.kelp).history
    assert len(history) == 120
    assert history[-1].at_ns == drive.clock.now_ns()


def test_what_waits_counts_as_taken(drive: Drive) -> None:
    kelp, _ = sized(drive, 300 * MIB)  # of which nas.reserve (256 MiB) stay free
    nas_state.require_room(kelp, 1 << 60)  # nobody has measured yet
    nas_state.measure(kelp)
    nas_state.require_room(kelp, 44 * MIB)
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 44 * MIB + 1)
    nas_state.require_room(kelp, 0)  # a folder, an empty file
    drive.put("waits", bytes(10 * MIB))
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 35 * MIB)
    nas_state.require_room(kelp, 34 * MIB)
    nas_state.count_waiting(kelp)  # also without asking the NAS
    known = nas_state.capacity(kelp)
    assert known is not None and known.waiting == 10 * MIB
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 35 * MIB)


def test_a_nas_that_is_away_or_that_others_filled_is_an_outage(drive: Drive) -> None:
    """The cache takes what comes (spec §5): only what Kelp itself would fill the NAS with is refused."""
    kelp, nas = sized(drive, 300 * MIB)
    nas_state.measure(kelp)
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 45 * MIB)
    assert nas_state.free_bytes(kelp, 0) == 44 * MIB
    nas.free = 128 * MIB
    nas_state.measure(kelp)
    nas_state.require_room(kelp, 45 * MIB)
    assert nas_state.free_bytes(kelp, 7 * MIB) == 7 * MIB  # as much as the cache takes
    nas.free = 300 * MIB
    nas_state.measure(kelp)
    outage.declare(kelp, NasDown("the NAS is full", "ENOSPC"))
    nas_state.require_room(kelp, 45 * MIB)


def test_kelp_does_not_go_on_below_the_reserve_that_it_has_reached_itself(drive: Drive) -> None:
    """Small files take whole blocks: with the last of them less than the reserve is free."""
    kelp, _ = sized(drive, 255 * MIB)
    nas_state.measure(kelp)
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 1)
    assert nas_state.free_bytes(kelp, MIB) == 0


def test_what_was_carried_since_the_measure_is_not_counted_as_free(drive: Drive) -> None:
    kelp, _ = sized(drive, 300 * MIB)
    drive.put("waits", bytes(10 * MIB))
    nas_state.measure(kelp)
    drive.mirror()
    with pytest.raises(NoSpace):
        nas_state.require_room(kelp, 35 * MIB)


def test_nearly_full_is_told_once_and_its_end_too(drive: Drive) -> None:
    kelp, nas = sized(drive, 512 * MIB - 1)
    nas_state.measure(kelp)
    nas_state.measure(kelp)
    assert open_alerts(kelp) == ["NAS_NEARLY_FULL"]
    nas.free = 520 * MIB  # not at ease yet
    nas_state.measure(kelp)
    assert open_alerts(kelp) == ["NAS_NEARLY_FULL"]
    nas.free = 2048 * MIB
    nas_state.measure(kelp)
    assert open_alerts(kelp) == []


def test_a_measure_that_found_nothing_new_commits_nothing(drive: Drive) -> None:
    kelp, nas = sized(drive, 5000 * MIB)
    nas_state.measure(kelp)
    before = kelp.database.version()
    nas.free -= MIB // 2
    nas_state.measure(kelp)
    nas_state.count_waiting(kelp)
    assert kelp.database.version() == before
