"""A mount that is killed, whatever it and its programs are at just then, is gone; and the next one is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fuse_mount import guardian as guardian_program
from tests.faces.fuse.conftest import MountedDrive
from tests.services.child import children, command, parent
from tests.waiting import until
from vfs.model import Place
from vfs.operations import folders, writing

_RENAME = "import os, sys; sys.stdin.readline(); os.rename(sys.argv[1], sys.argv[2])"
_FORGETS = "fuse_reverse_inval_entry"  # where the kernel waits for the folder
_ENOUGH = 90.0  # seconds


@pytest.mark.engine(database="sqlite", reason="a writer that waits keeps all others waiting")
def test_nobody_waits_for_a_dead_mount(mounted: MountedDrive) -> None:
    kelp, caller = mounted.kelp, mounted.caller()
    folder = folders.make_folder(kelp, caller, Place(mounted.top.stat().st_ino, "folder"))
    for name in ("a", "known"):
        (mounted.top / "folder" / name).write_bytes(b"1")
    words = [sys.executable, "-c", _RENAME, mounted.top / "folder/a", mounted.top / "folder/b"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdin is not None
        time.sleep(1)  # it has started
        (mounted.top / "folder" / "known").stat()
        writing.put_file(kelp, caller, Place(folder.id, "known"), [b"2"])
        with kelp.database.write() as tx:  # so the rename waits
            tx.accounts.set_value("test", "1")
            program.stdin.write(b"now\n")
            program.stdin.flush()
            end = time.monotonic() + 4
            while not _waits(mounted.process.pid) and time.monotonic() < end:
                time.sleep(0.01)
            mounted.process.kill()
        mounted.process.wait(timeout=_ENOUGH)
        program.communicate(timeout=_ENOUGH)
    mounted.start()
    assert (mounted.top / "folder" / "known").read_bytes() == b"2"


def test_the_guardian_of_a_dead_mount_leaves_the_next_one_alone(mounted: MountedDrive) -> None:
    """However late it comes: the next mount has the device number of the one before, unless somebody else took it."""
    device = mounted.path.stat().st_dev
    until(lambda: _guardians(mounted.process.pid))
    (guardian,) = _guardians(mounted.process.pid)
    os.kill(guardian, signal.SIGSTOP)
    try:
        mounted.kill()
        Path(f"/sys/fs/fuse/connections/{os.minor(device)}/abort").write_text("1")
        mounted.start()
        is_the_same = mounted.path.stat().st_dev == device
    finally:
        os.kill(guardian, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{guardian}").exists() or parent(Path(f"/proc/{guardian}/stat")) == 0)
    (mounted.top / "file").write_bytes(b"it answers")
    assert mounted.process.poll() is None, f"the same device: {is_the_same}"


@pytest.mark.parametrize("parent_is", ["gone", "another"])
def test_a_guardian_that_starts_after_the_end_of_its_mount_ends_too(tmp_path: Path, parent_is: str) -> None:
    """`another`: who is the parent of all below him that have lost theirs, as systemd of a user's processes."""
    abort = tmp_path / "abort"
    abort.touch()
    with abort.open("r+") as file:
        number = "1" if parent_is == "gone" else str(os.getppid())
        words = [sys.executable, "-I", "-S", guardian_program.__file__, number]
        subprocess.run(words, stdin=file, check=True, timeout=_ENOUGH)
    assert abort.read_text() == "1"


def _guardians(pid: int) -> list[int]:
    return [each for each in children(pid) if b"guardian.py" in command(each)]


def _waits(pid: int) -> bool:
    """One of its threads, for a folder; proc(5), task and wchan."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if (task / "wchan").read_text() == _FORGETS:
                return True
    return False
