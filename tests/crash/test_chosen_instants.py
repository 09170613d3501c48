"""A process is killed at every single instant of short scripts; whatever the instant, nothing is lost or half done.

After each kill the drive shows the state before or after the step that was under way, and what was acknowledged; then
the mirror, taken over by a new process, brings the NAS to what the drive shows. Pairs: the new process is killed too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests import engines, vaults
from tests.crash import dying
from tests.crash.scripts import SCRIPTS
from tests.crash.vault_drive import VaultMirrorDrive, drive_of, new_drive
from tests.mirror_drive import MirrorDrive, TestClock, Tree
from vfs.operations import trashing

PAIRS = int(os.environ.get("KELP_CRASH_ROUNDS", "10"))
SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
# Every so many-th instant, beginning elsewhere in each script; on other engines than the embedded ones each takes some
# times as long. `make crash` takes every one.
IN_VAULT = 6  # … and of so many times as many, once more in a vault
STRIDE = int(os.environ.get("KELP_CRASH_STRIDE", "6" if engines.CHOSEN == engines.EMBEDDED else "16"))

# Seconds at which the drive's clock begins in each part. What was there before is old for the script; none is later
# than the real time, which the cache's files have.
NOW = int(time.time())
BEFORE, STARTED, RECOVERING, RECOVERED = NOW - 40_000, NOW - 30_000, NOW - 20_000, NOW - 10_000

pytestmark = pytest.mark.crash
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.crash.dying"])


@dataclass(frozen=True)
class Shown:
    """What people see: files and folders, older versions of each file, what is in the trash."""

    tree: Tree
    versions: dict[str, list[bytes]]
    trash: list[str]

    @classmethod
    def on(cls, drive: MirrorDrive) -> Shown:
        tree = drive.shown()
        versions = {path: drive.versions(path) for path, content in tree.items() if content is not None}
        trashed = sorted(item.original_path for item in trashing.list_trash(drive.kelp, drive.caller))
        return cls(tree, versions, trashed)


@dataclass(frozen=True)
class Rehearsal:
    """A script's drive before the steps, and what it shows before the first and after each."""

    script: str
    drive: Path
    states: list[Shown]


def rehearse(script: str, folder: Path, *, in_vault: bool = vaults.ALL) -> Rehearsal:
    drive = new_drive(folder / "before", TestClock(BEFORE), in_vault=in_vault)
    for step in SCRIPTS[script].before:
        step(drive)
        drive.pass_time(10)
    drive.check_mirrored()
    drive.close()
    engines.copy_drive(folder / "before", folder / "rehearsal")
    drive = drive_of(folder / "rehearsal", TestClock(STARTED))
    states = [Shown.on(drive)]
    for step in SCRIPTS[script].steps:
        step(drive)
        states.append(Shown.on(drive))
    check_mirrored(drive, script)
    drive.close()
    return Rehearsal(script, folder / "before", states)


def killed(target: object, *arguments: object) -> bool:
    """Run in a process of its own; False when it came to its end. Raises AssertionError when it failed."""
    process = _processes.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"the process failed: {process.exitcode}"
    return process.exitcode != 0


def verify(folder: Path, rehearsal: Rehearsal) -> None:
    """The drive shows one of two states; nothing is damaged; the mirror brings the NAS there too."""
    acks = (folder / "acks").stat().st_size if (folder / "acks").exists() else 0
    drive = drive_of(folder, TestClock(RECOVERED))
    try:
        drive.check(mirrored=False)
        shown = Shown.on(drive)
        assert shown in rehearsal.states[acks : acks + 2], f"{acks} steps were acknowledged: {shown}"
        drive.die()
        check_mirrored(drive, rehearsal.script)
        assert Shown.on(drive) == shown
    finally:
        drive.close()


def check_mirrored(drive: MirrorDrive, script: str) -> None:
    if not SCRIPTS[script].cut or isinstance(drive, VaultMirrorDrive):
        drive.check_mirrored()
        return
    drive.settle_down()
    drive.check()
    notes = [json.loads(note.read_text()) for note in (drive.root / ".kelp/names").glob("*")]
    told = {note["nas_name"]: note["name"] for note in notes}
    assert {told[name]: content for name, content in drive.raw_nas().items()} == drive.shown()


def instant(folder: Path) -> str:
    return (folder / "instant").read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_killed_at_instants(script: str, tmp_path: Path) -> None:
    kill_at_instants(rehearse(script, tmp_path), tmp_path, STRIDE)


@pytest.mark.skipif(vaults.ALL, reason="all of them are in a vault")
@pytest.mark.parametrize("script", SCRIPTS)
def test_killed_at_instants_in_a_vault(script: str, tmp_path: Path) -> None:
    kill_at_instants(rehearse(script, tmp_path, in_vault=True), tmp_path, STRIDE * IN_VAULT)


def kill_at_instants(rehearsal: Rehearsal, tmp_path: Path, stride: int) -> None:
    script = rehearsal.script
    for number in count(1 + list(SCRIPTS).index(script) % stride, stride):
        folder = tmp_path / str(number)
        engines.copy_drive(rehearsal.drive, folder)
        if not killed(dying.play, folder, STARTED, number, script):
            break
        try:
            verify(folder, rehearsal)
        except Exception as error:
            raise AssertionError(f"killed at instant {number}, {instant(folder)}: {error}") from error
        engines.drop_below(folder)
        shutil.rmtree(folder)
    assert number > 10


def test_killed_again_while_it_recovers(tmp_path: Path) -> None:
    sys.stdout.write(f"KELP_CRASH_SEED={SEED}\n")  # pytest shows it when the test fails
    random_ = random.Random(SEED)
    rehearsals: dict[str, Rehearsal] = {}
    for pair in range(PAIRS):
        script = random_.choice(list(SCRIPTS))
        if script not in rehearsals:
            rehearsals[script] = rehearse(script, tmp_path / script.replace(" ", "_"))
        folder = tmp_path / f"pair {pair}"
        engines.copy_drive(rehearsals[script].drive, folder)
        numbers = [random_.randint(1, 60) for _ in range(3)]
        killed(dying.play, folder, STARTED, numbers[0], script)
        for later, number in enumerate(numbers[1:]):
            killed(dying.recover, folder, RECOVERING + later * 1_000, number)
        try:
            verify(folder, rehearsals[script])
        except Exception as error:
            raise AssertionError(f"{script!r} killed at instants {numbers}: {error}") from error
        engines.drop_below(folder)
        shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def _fork_server_stopped() -> Iterator[None]:
    """The server that the processes are forked from would outlive the tests."""
    yield
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
