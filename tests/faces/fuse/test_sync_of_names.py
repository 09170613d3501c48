"""When an fsync of a folder is answered, a power cut takes no removal back: the log was synced after it was written to,
also where the sync had begun before it was asked for. Seen by strace, whose clock is the program's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import engines
from tests.faces.fuse.conftest import MountedDrive
from tests.faces.test_syncs import why_not

_CALL = re.compile(
    r"(\d+) +([\d.]+) (?:<\.\.\. )?(pwrite64|fdatasync)(?:\(\d+<(.*?)>| resumed).*?(?:<([\d.]+)>|(\.\.\.>))$"
)
_COUNT = 40


def _calls(trace: str) -> tuple[list[float], list[tuple[float, float]]]:
    """When the log was written to (the end), and when it was synced (begin and end)."""
    written, synced, begun = [], [], {}
    for line in trace.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        thread, at, name, path, took, unfinished = found.groups()
        if path is not None and not path.endswith("-wal"):
            continue
        if unfinished:
            begun[thread, name] = float(at)
            continue
        began = begun.pop((thread, name), None) if path is None else float(at)
        if began is None:
            continue
        if name == "pwrite64":
            written.append(began + float(took))
        else:
            synced.append((began, began + float(took)))
    return written, synced


@pytest.mark.skipif(engines.CHOSEN.database != "sqlite", reason="a server has its own log")
def test_what_was_removed_is_on_the_disk(mounted: MountedDrive, tmp_path: Path) -> None:
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    folder, trace = mounted.top / "folder", tmp_path / "trace"
    folder.mkdir()
    for number in range(_COUNT):
        (folder / f"{number}").write_bytes(b"some")
    strace = shutil.which("strace") or ""
    words = (strace, "-f", "-ttt", "-T", "-y", "-e", "trace=pwrite64,fdatasync", "-o", str(trace))
    watching = subprocess.Popen([*words, "-p", str(mounted.process.pid)], stderr=subprocess.PIPE)
    said = watching.stderr.readline() if watching.stderr is not None else b""
    if b"attached" not in said:  # to its own children it may be, to other processes not (ptrace(2), ptrace_scope)
        watching.communicate(timeout=60)
        pytest.skip(f"strace may not look at the mount: {said.decode(errors='replace')}")
    times = []
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(_COUNT):
            asked = time.time()
            os.unlink(folder / f"{number}")
            removed = time.time()
            if number % 3 == 0:
                time.sleep(0.01)  # it may be synced by now
            os.fsync(fd)
            times.append((asked, removed, time.time()))
    finally:
        os.close(fd)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=60)
    written, synced = _calls(trace.read_text())
    for asked, removed, answered in times:
        last = max(at for at in written if at <= removed)
        assert last >= asked, "nothing was written for a removal"
        assert any(last <= begin and end <= answered for begin, end in synced), "answered before it was synced"
    assert os.listdir(folder) == []
