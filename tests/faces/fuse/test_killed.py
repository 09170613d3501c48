"""A mount that is killed while it tells the kernel to forget a name, and somebody changes another one beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faces.fuse.conftest import MountedDrive
from vfs.model import ROOT_ID, Place
from vfs.operations import folders, writing

_RENAME = "import os, sys; sys.stdin.readline(); os.rename(sys.argv[1], sys.argv[2])"
_FORGETS = "fuse_reverse_inval_entry"  # where the kernel waits for the folder
_ENOUGH = 90.0  # seconds


@pytest.mark.engine(database="sqlite", reason="a writer that waits keeps all others waiting")
def test_nobody_waits_for_a_dead_mount(mounted: MountedDrive) -> None:
    kelp, caller = mounted.kelp, mounted.caller()
    folder = folders.make_folder(kelp, caller, Place(ROOT_ID, "folder"))
    for name in ("a", "known"):
        (mounted.path / "folder" / name).write_bytes(b"1")
    words = [sys.executable, "-c", _RENAME, mounted.path / "folder/a", mounted.path / "folder/b"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdin is not None
        time.sleep(1)  # it has started
        (mounted.path / "folder" / "known").stat()
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
    assert (mounted.path / "folder" / "known").read_bytes() == b"2"


def _waits(pid: int) -> bool:
    """One of its threads, for a folder; proc(5), task and wchan."""
    return any((task / "wchan").read_text() == _FORGETS for task in Path(f"/proc/{pid}/task").iterdir())
