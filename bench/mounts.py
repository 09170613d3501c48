"""The folders that are compared: a mount of Kelp, one of rclone over a local folder, and the disk itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.client import PASSWORD, Failed
from bench.peers import ROOT
from cli.first_run import ensure_admin
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.operations.backlog import Waited, wait_until_mirrored
from vfs.settings import Settings

KELP, RCLONE, DISK, SYNCED = "Kelp", "rclone", "disk", "disk, synced"
_PATIENCE = 30.0  # seconds to be mounted, or unmounted
_REST = 300.0  # seconds that what goes on behind a mount may take
_WRITE_BACK = 1.0  # seconds after which rclone begins to carry what was closed to the folder


@dataclass(frozen=True)
class Mounted:
    """`path` is where programs work, `pid` the process that answers them; 0: the kernel alone does. `syncs`: programs
    sync each file there, since nobody does it for them. `rest` waits for what goes on behind it."""

    label: str
    path: Path
    pid: int
    rest: Callable[[], None]
    syncs: bool = False

    def cpu(self) -> float:
        """Seconds that its process has been on a CPU."""
        return processes.cpu([self.pid]) if self.pid else 0.0


def missing() -> str:
    """Why nothing can be mounted here."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or not shutil.which("fusermount3"):
        return "it needs /dev/fuse and fusermount3 (Debian: fuse3)"
    return ""


@contextmanager
def kelp(below: Path) -> Iterator[Mounted]:
    data, nas, path = below / "data", below / "nas", below / "mnt"
    for folder in (nas, path):
        folder.mkdir(parents=True)
    settings = Settings.load(None, {}, data=data, nas_root=nas)
    command = [sys.executable, str(ROOT / "kelp.py"), "mount", str(path), "--data", str(data), "--nas", str(nas)]
    with closing(build(settings)) as core:
        ensure_admin(core, {"KELP_ADMIN_PASSWORD": PASSWORD})
        with _running([*command, "--foreground", "--log-level", "warning"], path, below / "log") as pid:
            yield Mounted(KELP, path, pid, lambda: _until_mirrored(core))


def _until_mirrored(core: Kelp) -> None:
    if wait_until_mirrored(core, _REST, interval=0.05) is not Waited.MIRRORED:
        raise Failed(f"the mirror did not come to rest within {_REST:.0f} s")


@contextmanager
def rclone(below: Path) -> Iterator[Mounted]:
    """Names and attributes are remembered for a second by the kernel, as rclone has it by itself."""
    served, cache, path = below / "served", below / "cache", below / "mnt"
    for folder in (served, cache, path):
        folder.mkdir(parents=True)
    command = ["rclone", "mount", str(served), str(path), "--vfs-cache-mode", "full", "--cache-dir", str(cache)]
    command += ["--vfs-write-back", f"{_WRITE_BACK}s", "--config", "/dev/null"]
    with _running(command, path, below / "log") as pid:
        yield Mounted(RCLONE, path, pid, lambda: _until_idle(pid))


def _until_idle(pid: int) -> None:
    """It tells nobody when it has carried all to the folder."""
    until = time.monotonic() + _REST
    while time.monotonic() < until:
        before = processes.cpu([pid])
        time.sleep(_WRITE_BACK + 0.5)
        if processes.cpu([pid]) - before < 0.02:
            return
    raise Failed("rclone did not come to rest")


@contextmanager
def disk(below: Path, *, synced: bool) -> Iterator[Mounted]:
    below.mkdir()
    yield Mounted(SYNCED if synced else DISK, below, 0, os.sync, syncs=synced)


@contextmanager
def _running(command: Sequence[str], path: Path, log: Path) -> Iterator[int]:
    """The process of a mount, which is gone at the end, whatever happened."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT) as process:
        try:
            _wait(lambda: os.path.ismount(path) or process.poll() is not None)
            if process.poll() is not None or not os.path.ismount(path):
                raise Failed(f"it could not be mounted, see {log}")
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            process.kill()
            subprocess.run(["fusermount3", "-u", "-z", "-q", str(path)], check=False)  # nothing when it is gone


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not done() and time.monotonic() < until:
        time.sleep(0.02)
