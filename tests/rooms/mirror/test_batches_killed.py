"""A batch may be killed at any write and any delete, and run in two processes at once: what follows sets all right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs import batches
from tests import engines, warm_starts
from tests.mirror_drive import MirrorDrive, TestClock
from vfs.operations import trashing

DAY = 86_400
LATER = 1_800_000_000 + 500 * DAY  # when everything is due

# Runs every batch; the `at`-th write or delete is its last, before it (even) or after it.
_CHILD = """
import contextlib, os, signal, sys
from pathlib import Path
from jobs import batches
from tests.mirror_drive import MirrorDrive, TestClock
from vfs.metadata.database import Database

at, count = int(sys.argv[2]), 0

def step():
    global count
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1

drive = MirrorDrive(Path(sys.argv[1]), clock=TestClock(int(sys.argv[3])))
write, delete = Database.write, type(drive.kelp.cache).delete

@contextlib.contextmanager
def counted(self, *a, **k):
    step()
    with write(self, *a, **k) as tx:
        yield tx
    step()

def counted_delete(self, key):
    step()
    delete(self, key)
    step()

Database.write = counted
type(drive.kelp.cache).delete = counted_delete
freeing = [batch for batch in batches.BATCHES if batch.frees]
for _ in range(3):
    batches.run_all(drive.kelp, freeing)
    drive.clock.advance(61)
print(count)
"""


@pytest.fixture
def aged(open_drive: Callable[..., MirrorDrive]) -> Path:
    """The folder of a drive on which everything that expires is due; only "kept" stays."""
    drive = open_drive()
    folder = drive.settings.data.parent
    drive.put("kept", b"1")
    drive.pass_time(10)
    drive.put("kept", b"2")
    drive.mkdir("f")
    for path in ("f/a", "f/b", "alone"):
        drive.put(path, path.encode())
    drive.settle_down()
    drive.pass_time(100)
    trashing.purge(drive.kelp, drive.caller, drive.trash("f"))
    drive.trash("alone")
    drive.settle_down()
    for number in range(2):
        drive.kelp.cache.put(f"5e551010-0000-4000-8000-00000000000{number}.000001", [b"part"])
        with drive.kelp.database.write() as tx:
            tx.run(
                """INSERT INTO upload_sessions (uuid, content_id, folder_id, name, mime_type, on_conflict, status,
                                                trace_id, created_ns, expires_ns)
                   VALUES (:id, :id, 1, 'n', '', 'ERROR', 'UPLOADING', 't', 1, 1)""",
                id=f"5e551010-0000-4000-8000-00000000000{number}",
            )
    drive.kelp.close()
    return folder


def child(folder: Path, at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CHILD, folder, str(at), str(LATER)]
    return warm_starts.run(command, {**os.environ, "PYTHONPATH": os.getcwd()}, 120)


def finish(folder: Path) -> None:
    """Rounds of a healthy process; nothing is left but what is kept."""
    drive = MirrorDrive(folder, clock=TestClock(LATER + 10_000))
    try:
        for _ in range(12):
            batches.run_all(drive.kelp, [batch for batch in batches.BATCHES if batch.frees])
            drive.settle_down()
            drive.pass_time(61)
        drive.pass_time(100 * DAY)
        batches.run_all(drive.kelp, [batch for batch in batches.BATCHES if batch.frees])
        assert drive.read("kept") == b"2" and drive.shown() == drive.on_nas()
        with drive.kelp.database.read() as tx:
            assert tx.one("SELECT COUNT(*) FROM entries")[0] == 2
            assert tx.one("SELECT COUNT(*) FROM contents")[0] == 1
            assert tx.one("SELECT COUNT(*) FROM versions WHERE state <> 'purged'")[0] == 0
            assert tx.one("SELECT COUNT(*) FROM upload_sessions WHERE status = 'UPLOADING'")[0] == 0
        for info in list(drive.kelp.cache.list("clock-")):  # put to see the store's clock: an orphan in an hour
            drive.kelp.cache.delete(info.key)
        assert len(list(drive.kelp.cache.list())) == 1
        drive.check()
    finally:
        drive.close()


embedded = pytest.mark.skipif(engines.CHOSEN != engines.EMBEDDED, reason="its processes open an embedded drive")


@embedded
def test_killed_at_any_write_and_any_delete(aged: Path) -> None:
    """One after another on the same drive: each goes on where the last one died."""
    dead = 0
    for at in range(60):
        process = child(aged, at)
        assert process.returncode in (0, -signal.SIGKILL), process.stderr
        dead += process.returncode != 0
        if not process.returncode:
            break
    assert dead > 8
    finish(aged)


@embedded
def test_two_processes_at_once(aged: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        for process in both.map(lambda _: child(aged, 10_000), range(2)):
            assert process.returncode == 0, process.stderr
            assert "Traceback" not in process.stderr
    finish(aged)


def test_two_nodes_at_once(aged: Path) -> None:
    nodes = [MirrorDrive(aged, clock=TestClock(LATER)) for _ in range(2)]
    freeing = [batch for batch in batches.BATCHES if batch.frees]
    failures: list[str] = []

    def note(batch: batches.Batch, outcome: object) -> None:
        if isinstance(outcome, Exception):
            failures.append(f"{batch.name}: {outcome}")

    for _ in range(3):
        threads = [threading.Thread(target=batches.run_all, args=(node.kelp, freeing, note)) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for node in nodes:
            node.pass_time(61)
    for node in nodes:
        node.close()
    assert failures == []
    finish(aged)
