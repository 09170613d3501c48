"""SIGKILL in the middle of learning, scrubbing and repairing: the next one ends what was begun, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.adopted import unlearn
from tests.rooms.core import planted
from tests.rooms.core.conftest import drive_with, finished  # noqa: F401  # fixtures
from tests.rooms.core.drive import START_NS, Drive
from tests.services.child import bound_to_parent
from vfs.model import PART_SIZE
from vfs.operations import checking, restoring, scrubbing

ROUNDS = 6

# Scrubs and repairs for ever; by its clock a month lies between two rounds.
WORK = """
import os, sys
from pathlib import Path
from vfs.bootstrap import build
from vfs.operations import checking, scrubbing
from vfs.settings import Settings

class Clock:
    now = int(sys.argv[2])
    def now_ns(self):
        return self.now

clock = Clock()
kelp = build(Settings.load(None, os.environ, data=Path(sys.argv[1])), clock=clock)
print("ready", flush=True)
while True:
    clock.now += 30 * 86_400 * 10**9
    while scrubbing.run(kelp).more:
        pass
    checking.check(kelp, repair=True)
"""


@pytest.fixture
def drive(drive_with: object) -> Iterator[Drive]:  # noqa: F811
    opened: Drive = drive_with(scrub_rate=2**40)  # type: ignore[operator]
    planted.make_sound(opened)
    opened.put("many", os.urandom(2 * PART_SIZE + 5))
    opened.mirror()
    yield opened


def work_and_die(drive: Drive, seconds: float) -> None:
    data = drive.kelp.settings.data
    environ = {**os.environ, **engines.environ_of(data), "KELP_SCRUB_RATE": str(2**40)}
    command = bound_to_parent([sys.executable, "-c", WORK, data, str(drive.clock.now)], signal.SIGKILL)
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, env=environ, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(seconds)
        assert child.poll() is None, "it died by itself"
        child.kill()
    grow_old(drive)


def grow_old(drive: Drive) -> None:
    """What a killed replacement left of the new object is an orphan: it goes when it is old by its disk's clock."""
    then = time.time() - 2 * 3600
    for file in (drive.kelp.settings.data / "cache").rglob("*"):
        if file.is_file():
            os.utime(file, (then, then))


def plant(drive: Drive, chosen: random.Random) -> None:
    """Damage of one side of each of several contents, and an adopted file that nobody has read."""
    drive.damaged = True
    planted.rot(planted.nas_file(drive, "many"), chosen.randrange(2 * PART_SIZE))
    planted.rot_object(drive, planted.key_of(drive, "long"), chosen.randrange(planted.LONG))
    for name in chosen.sample(["no file", "flipped bit on the NAS", "no object", "flipped bit in the cache"], 1):
        planted.STORES[name].do(drive)
    for name in chosen.sample(["no version", "flipped bit of a version"], 1):
        planted.STORES[name].do(drive)
    planted.STORES["no trash item"].do(drive)
    (key,) = drive.sql("SELECT content_id FROM entries WHERE name = 'in'")[0]
    unlearn(drive.kelp, key)


def bring_back(drive: Drive) -> None:
    """Who dies between the removal of a bad object and the end of its replacement leaves it on the NAS only, as if it
    had been evicted; it comes back when somebody wants it. Only what is in both stores may be damaged in either."""
    with drive.kelp.database.read() as tx:
        found = [tx.contents.get(row[0]) for row in tx.all("SELECT id FROM contents ORDER BY id")]
    for content in found:
        assert content is not None and restoring.restore(drive.kelp, content).left == 0


def held(drive: Drive) -> list[bytes]:
    """What people would miss."""
    return [drive.read(path) for path in ("f/in", "b", "long", "copy", "many")] + drive.versions("b")


def test_killed_at_any_moment(drive: Drive) -> None:
    chosen, before = random.Random(5), held(drive)
    for _ in range(ROUNDS):
        plant(drive, chosen)
        work_and_die(drive, chosen.uniform(0.0, 0.4))
        drive.clock.now = max(drive.clock.now, START_NS) + 10_000 * 86_400 * 10**9 // ROUNDS
        checking.check(drive.kelp, repair=True)  # what stands still is freed first
        scrubbing.run(drive.kelp)
        assert checking.check(drive.kelp, repair=True).problems == []
        bring_back(drive)
        assert held(drive) == before
        drive.mirror()
        assert checking.check(drive.kelp, mirrored=True).problems == []
    drive.damaged = False
