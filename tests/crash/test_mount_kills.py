"""Programs work on a mount that is killed at random moments.

After each kill it is mounted again at once: every step that a program had an answer to is there byte for byte, the one
that it had none to is done whole or not at all, and what was written and not closed comes back by `--recover`. At the
end nothing else is left, and the NAS shows the same. All that in a vault too.

KELP_MOUNT_KILLS sets the rounds, KELP_CRASH_SEED repeats a run
(the steps are then the same; the moments of the kills depend on the machine).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli import mount_points
from tests import vaults, warm_starts
from tests.crash.ledger import Body, Node, Tree, difference
from tests.crash.mount_ledger import Expected
from tests.crash.nas_tree import nas_tree, vault_tree
from tests.faces.fuse.conftest import MountedDrive, why_not
from vfs.operations import checking, orphans
from vfs.storage.object_store import ObjectInfo, ObjectStore

ROUNDS = int(os.environ.get("KELP_MOUNT_KILLS", "2"))
SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 100_000)
IN_VAULT = 2  # every so many-th round is in a vault once more
PER_DRIVE = 25  # rounds on one drive, with its trash and versions
WRITERS = 4
CHECKED_EVERY = 5  # rounds between two looks at the whole of database and cache
_HOUR_NS = 3600 * 1_000_000_000

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
]


@pytest.mark.parametrize("in_vault", [True] if vaults.ALL else [False, True], ids="in a vault: {}".format)
@pytest.mark.parametrize("first", range(0, ROUNDS, PER_DRIVE))
def test_kills_of_a_mount(tmp_path: Path, first: int, in_vault: bool) -> None:
    sys.stdout.write(f"KELP_CRASH_SEED={SEED}\n")  # pytest shows it when the test fails
    seed, rounds = SEED + first, min(PER_DRIVE, ROUNDS - first)
    chance = random.Random(seed)
    if in_vault and not vaults.ALL:
        rounds = -(-rounds // IN_VAULT)
    drive = MountedDrive(tmp_path, "--log-level", "warning", in_vault=in_vault, mirror_delay=0)
    try:
        drive.start()
        shown: list[dict[str, bytes]] = [{} for _ in range(WRITERS)]
        for number in range(WRITERS):
            _folder(drive, number).mkdir()
        for number in range(1, rounds + 1):
            ledgers = _killed_under_load(drive, chance, seed * 1000 + number)
            expected = [Expected.read(before, ledger) for before, ledger in zip(shown, ledgers, strict=True)]
            assert sum(each.acknowledged for each in expected), "nothing was done before the kill"
            _start_again(drive, chance)
            for writer, each in enumerate(expected):
                shown[writer] = each.judge(_read(_folder(drive, writer)))
                _remove_others(_folder(drive, writer), shown[writer])
            if number % CHECKED_EVERY == 0:
                assert checking.check(drive.kelp).problems == []
        _compare_with_nas(drive, shown)
        assert "Traceback" not in drive.log_text(), drive.log_text()[-5000:]
    finally:
        drive.end()
        drive.kelp.close()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_file_that_is_emptied_again_needs_no_draft(tmp_path: Path, size: int) -> None:
    cut, write = (
        {"what": "cut", "name": "a", "size": 0},
        {"what": "write", "name": "a", "at": 0, "size": 9, "number": 1},
    )
    (tmp_path / "ledger").write_text("\n".join(json.dumps(step) for step in (cut, {"what": "done"}, write)))
    expected = Expected.read({"a": bytes(size)}, tmp_path / "ledger")
    with contextlib.nullcontext() if size == 0 else pytest.raises(AssertionError, match="not closed is gone"):
        expected.judge({"a": bytes(size)})


def _folder(drive: MountedDrive, writer: int) -> Path:
    return drive.top / f"writer {writer}"


def _killed_under_load(drive: MountedDrive, chance: random.Random, seed: int) -> list[Path]:
    """The ledgers of the writers; the mount is dead."""
    ledgers = [drive.data.parent / f"ledger {writer}" for writer in range(WRITERS)]
    for ledger in ledgers:
        ledger.unlink(missing_ok=True)
    with _writers(drive, ledgers, seed):
        until = time.monotonic() + 60
        while not _at_work(ledgers) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.02, 1.2))
        drive.kill()
    return ledgers


def _at_work(ledgers: list[Path]) -> bool:
    """All of them; and a step was acknowledged, else there would be nothing to be found again."""
    return all(ledger.exists() for ledger in ledgers) and any('"done"' in ledger.read_text() for ledger in ledgers)


@contextlib.contextmanager
def _writers(drive: MountedDrive, ledgers: list[Path], seed: int) -> Iterator[None]:
    """They run until the end of the block at least, and end by themselves."""
    words = [sys.executable, "-m", "tests.crash.mount_writer"]
    processes = [
        subprocess.Popen(
            [*words, str(_folder(drive, number)), str(ledger), str(seed * 10 + number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number, ledger in enumerate(ledgers)
    ]
    try:
        yield
        for process in processes:
            told, _ = process.communicate(timeout=90)
            assert process.returncode == 0, told
            assert "Errno 107" in told or "Errno 103" in told, f"it ended before the mount: {told}"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start_again(drive: MountedDrive, chance: random.Random) -> None:
    """What was killed is freed by the next start, or by hand; now and then that one is killed too."""
    if chance.random() < 0.25:
        mount_points.unmount(drive.path)
    if chance.random() < 0.25:
        words = drive.command("mount", str(drive.path), "--foreground", "--recover", "--log-level", "error")
        process = warm_starts.start(words, drive.environ, drive.log)
        time.sleep(chance.uniform(0.2, 1.5))
        process.kill()
        process.wait()
    drive.start("--recover")


def _read(folder: Path) -> dict[str, bytes]:
    return {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(folder)}


def _remove_others(folder: Path, shown: dict[str, bytes]) -> None:
    for entry in list(os.scandir(folder)):
        if entry.name not in shown:
            os.unlink(entry.path)


def _compare_with_nas(drive: MountedDrive, shown: list[dict[str, bytes]]) -> None:
    waited = warm_starts.run(drive.command("sync", "wait", "--timeout", "120"), drive.environ)
    assert waited.returncode == 0, waited
    drive.unmount()
    drive.end()
    above = (vaults.FOLDER,) if drive.in_vault else ()
    expected = {
        (*above, f"writer {number}", name): Node(Body.of(data))
        for number, files in enumerate(shown)
        for name, data in files.items()
    } | {(*above, f"writer {number}"): Node() for number in range(WRITERS)}
    actual = vault_tree(drive.nas) if drive.in_vault else nas_tree(drive.nas)
    assert actual == Tree(expected), "the NAS differs:\n" + difference(Tree(expected), actual)
    assert list((drive.data / "drafts").iterdir()) == [], "a draft is left that nobody offers"
    _look_for_garbage(drive)
    assert checking.check(drive.kelp, mirrored=True).problems == []


def _look_for_garbage(drive: MountedDrive) -> None:
    """What commits have left that were killed half-way is found and removed as soon as it is an hour old."""
    orphans.seek_orphans(replace(drive.kelp, cache=_Aged(drive.kelp.cache)))  # type: ignore[arg-type]
    keys = [info.key for info in drive.kelp.cache.list()]
    for at in range(0, len(keys), 500):
        with drive.kelp.database.read() as tx:
            assert tx.freeing.orphans(keys[at : at + 500], drive.kelp.clock.now_ns()) == []


class _Aged:
    """A cache all of whose objects are two hours older than they are."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        age = 0 if prefix.startswith("clock-") else 2 * _HOUR_NS
        return (info._replace(modified_ns=info.modified_ns - age) for info in self._inner.list(prefix, after))
