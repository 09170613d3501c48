"""The folders that are compared: a mount of Kelp, one of rclone over a local folder, and the disk itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from bench import processes
from bench.client import PASSWORD, Failed
from bench.peers import ROOT
from bench.servers import free_port
from cli.first_run import ensure_admin
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.operations.backlog import Waited, wait_until_mirrored
from vfs.settings import Settings

KELP, RCLONE, RCLONE_SYNCED, DISK, SYNCED = "Kelp", "rclone", "rclone, synced", "disk", "disk, synced"
_PATIENCE = 30.0  # seconds to be mounted, or unmounted
_EVERY = 0.05  # seconds between two looks whether all is stored
_SETTLED = 0.5  # seconds without any work, after which none comes
_REST = 300.0  # seconds that what goes on behind a mount may take
_WRITE_BACK = "100ms"  # after which rclone begins to carry what was closed to the folder; by itself it waits for 5 s


@dataclass(frozen=True)
class Mounted:
    """`path` is where programs work, `pid` the process that answers them; 0: the kernel alone does. `sync`: programs
    call it for each file there that they have written, before they close it, since nobody else makes it durable; None:
    that is not asked for; `sync_folder`: as `sync`, of a folder in which they have removed a file, after its fsync.
    `rest` waits for what goes on behind it, and tells when it was over (time.perf_counter)."""

    label: str
    path: Path
    pid: int
    rest: Callable[[], float]
    sync: Callable[[Path], None] | None = None
    sync_folder: Callable[[Path], None] | None = None

    def cpu(self) -> float:
        """Seconds that its process has been on a CPU, and those that it has started for what goes on behind it."""
        return processes.cpu(processes.tree(self.pid)) if self.pid else 0.0


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


def _until_mirrored(core: Kelp) -> float:
    if wait_until_mirrored(core, _REST, interval=_EVERY) is not Waited.MIRRORED:
        raise Failed(f"the mirror did not come to rest within {_REST:.0f} s")
    return time.perf_counter()


@contextmanager
def rclone(below: Path, *, synced: bool = False) -> Iterator[Mounted]:
    """Names and attributes are remembered for a second by the kernel, as rclone has it by itself."""
    served, cache, path = below / "served", below / "cache", below / "mnt"
    for folder in (served, cache, path):
        folder.mkdir(parents=True)
    command = ["rclone", "mount", str(served), str(path), "--vfs-cache-mode", "full", "--cache-dir", str(cache)]
    port = free_port()
    command += ["--vfs-write-back", _WRITE_BACK, "--config", "/dev/null"]
    command += ["--rc", "--rc-no-auth", "--rc-addr", f"127.0.0.1:{port}"]
    with _running(command, path, below / "log") as pid:
        rest = partial(_until_carried, port)
        if not synced:
            yield Mounted(RCLONE, path, pid, rest)
        else:
            kept = [cache / kind / "local" / str(served.resolve())[1:] for kind in ("vfs", "vfsMeta")]
            yield Mounted(
                *(RCLONE_SYNCED, path, pid, rest, lambda file: _sync(file.relative_to(path), kept)),
                sync_folder=lambda folder: _fsync(served / folder.relative_to(path)),
            )


def _sync(file: Path, kept: Sequence[Path]) -> None:
    """What rclone has in its cache of a file that is open: its bytes, and what it notes about them, each with the
    folder that has the name. With that it goes on after a power cut. It does not do it by itself: its fsync does
    nothing, its close neither, and what it does at the release, which the kernel tells it of later, is a copy without a
    sync, also with --vfs-write-back 0 (rclone 1.60.1: cmd/mount/file.go, vfs/read_write.go, vfs/vfscache/item.go)."""
    for folder in kept:
        _fsync(folder / file)
        _fsync((folder / file).parent)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _until_carried(port: int) -> float:
    """It tells how much is on its way to the folder (rclone.org/rc, vfs/stats); of a file that was closed just now it
    hears a moment later."""
    until, since = time.monotonic() + _REST, 0.0
    while time.monotonic() < until:
        with urlopen(Request(f"http://127.0.0.1:{port}/vfs/stats", method="POST"), timeout=_PATIENCE) as answer:
            cache = json.load(answer)["diskCache"]
        now = time.perf_counter()
        since = 0.0 if cache["uploadsInProgress"] or cache["uploadsQueued"] else since or now
        if since and now - since > _SETTLED:
            return since
        time.sleep(_EVERY)
    raise Failed("rclone did not come to rest")


def _synced() -> float:
    os.sync()
    return time.perf_counter()


@contextmanager
def disk(below: Path, *, synced: bool) -> Iterator[Mounted]:
    below.mkdir()
    yield Mounted(SYNCED if synced else DISK, below, 0, _synced, _fsync if synced else None)


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
