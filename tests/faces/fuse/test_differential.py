"""The same random calls on a mount and on a local folder: answers, errors and what is there at the end are the same,
but for what docs/fuse.md names. In a vault too.

KELP_FUSE_STEPS, KELP_FUSE_PROCESSES and KELP_FUSE_SEED make it longer, wider, or repeat it. With several processes each
has a folder of its own, and files in one that all share.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests import vaults
from tests.faces.fuse import divergences
from tests.faces.fuse.conftest import MountedDrive, mounted_drive, new_processes
from tests.faces.fuse.random_calls import TARGETS, Steps
from tests.faces.fuse.sides import Side, Step, is_error, tree

STEPS = int(os.environ.get("KELP_FUSE_STEPS") or 0)
SEED = int(os.environ.get("KELP_FUSE_SEED") or 0) or random.SystemRandom().randrange(1 << 32)
PROCESSES = [int(os.environ["KELP_FUSE_PROCESSES"])] if "KELP_FUSE_PROCESSES" in os.environ else [1, 4]
_SHORT = {1: 300, 4: 400}
_SHARED = "shared"


_LONGEST = 200 + STEPS / 10  # seconds that so many steps may take


@pytest.fixture(scope="module", params=[True] if vaults.ALL else [False, True], ids="in a vault: {}".format)
def mounted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedDrive]:
    with mounted_drive(tmp_path_factory.mktemp("mounted"), longest=_LONGEST, in_vault=request.param) as drive:
        yield drive


@pytest.mark.timeout(400 + STEPS // 5)
@pytest.mark.parametrize("processes", PROCESSES)
def test_a_mount_and_a_local_folder_do_the_same(mounted: MountedDrive, tmp_path: Path, processes: int) -> None:
    mounted.watch(_LONGEST)
    local, mount = tmp_path / "local", mounted.top / f"{processes}"
    for root in (local, mount):
        for name in (*map(str, range(processes)), _SHARED):
            (root / name).mkdir(parents=True)
    steps = (STEPS or _SHORT.get(processes, 600)) // processes
    if processes == 1:
        take_steps(local, mount, 0, steps, SEED, alone=True)
    else:
        in_processes(processes, local, mount, steps, SEED)
    assert tree(mount) == tree(local), f"seed {SEED}"
    remembered = tree(mount)
    mounted.unmount()
    mounted.start()
    assert tree(mount) == remembered, f"seed {SEED}: another after it was mounted again"


def in_processes(count: int, local: Path, mount: Path, steps: int, seed: int) -> None:
    """`count` processes, new ones and no copies of this one. Raises what one of them raised."""
    with ProcessPoolExecutor(count, new_processes(__name__)) as pool:
        for done in [pool.submit(take_steps, local, mount, own, steps, seed) for own in range(count)]:
            done.result()


def take_steps(local: Path, mount: Path, own: int, steps: int, seed: int, *, alone: bool = False) -> None:
    """One process's share. Raises AssertionError with the seed and the last steps."""
    allowed = divergences.named()
    names = tuple(f"{own} {name}" for name in ("a", "b", "c", "c/d"))
    shared = tuple(f"../{_SHARED}/{name}" for name in names)
    sides = Side(local / str(own)), Side(mount / str(own))
    chosen, done = Steps(seed * 16 + own, shared, TARGETS if alone else names), list[str]()
    try:
        for number in range(steps):
            step = chosen.next()
            done.append(step.words)
            told = f"seed {seed}, process {own}, step {number}:\n" + "\n".join(done[-30:])
            agree(chosen, step, sides, allowed, told)
            if number % 50 == 0:
                look_at_all(local, mount, own, told)
    finally:
        for side in sides:
            side.close()


def agree(chosen: Steps, step: Step, sides: tuple[Side, Side], allowed: frozenset[str], told: str) -> None:
    local, mount = sides
    if step.unless in allowed:
        assert is_error(mount.do(step)), f"docs/fuse.md says {step.unless}, but it was done: {told}"
        return
    answers = local.do(step), mount.do(step)
    if is_error(answers[0]) and step.words.startswith("open ") and " as " in step.words:
        chosen.failed_to_open()
    if answers[0] != answers[1]:
        raise AssertionError(f"{told}\nlocal: {answers[0]!r:.300}\nmount: {answers[1]!r:.300}")


def look_at_all(local: Path, mount: Path, own: int, told: str) -> None:
    """In the folder that all share: what is one's own is as it has to be, and others' files come and go."""
    names = [os.listdir(root / _SHARED) for root in (local, mount)]
    mine = [sorted(name for name in listed if name.startswith(f"{own} ")) for listed in names]
    assert mine[0] == mine[1], told
    assert len(names[1]) == len(set(names[1])), told
    for name in names[1]:
        try:
            os.lstat(mount / _SHARED / name)
        except FileNotFoundError:
            assert not name.startswith(f"{own} "), told
