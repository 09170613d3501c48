"""The process beside a mount that runs the jobs of an embedded drive: it ends with the mount, and is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import vaults
from tests.faces.fuse.conftest import MountedDrive
from tests.services.child import children, command
from tests.waiting import until

pytestmark = pytest.mark.engine(queue="in-process", reason="`kelp worker` runs the jobs")


def _beside(drive: MountedDrive) -> int:
    """The process with the mount's command, which it was forked with: the guardian has one of its own."""
    pid = drive.process.pid
    words = command(pid)
    found: list[int] = []

    def is_one() -> bool:
        """A child that is about to run another program has this command too."""
        found[:] = [child for child in children(pid) if command(child) == words]
        return len(found) == 1

    until(is_one)
    return found[0]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _mirrored(drive: MountedDrive) -> None:
    words = drive.command("sync", "wait", "--timeout", "60")
    assert subprocess.run(words, env=drive.environ, check=False).returncode == 0


def _on_nas(drive: MountedDrive) -> dict[str, bytes | None]:
    if drive.in_vault:
        return vaults.on_nas(drive.nas)
    files = [path for path in drive.nas.iterdir() if path.is_file() and path.name[0] != "."]
    return {path.name.rpartition("__")[2]: path.read_bytes() for path in files}


def test_it_carries_what_the_mount_commits_and_ends_with_it(mounted: MountedDrive) -> None:
    other = _beside(mounted)
    (mounted.top / "a").write_bytes(b"1")
    _mirrored(mounted)
    assert _on_nas(mounted) == {"a": b"1"}
    mounted.unmount()
    assert not _is_alive(other)


def test_it_dies_with_a_mount_that_is_killed(mounted: MountedDrive) -> None:
    other = _beside(mounted)
    mounted.kill()
    until(lambda: not _is_alive(other))


def test_the_mount_does_its_work_when_it_dies(mounted: MountedDrive) -> None:
    os.kill(_beside(mounted), signal.SIGKILL)
    (mounted.top / "a").write_bytes(b"1")
    _mirrored(mounted)
    mounted.unmount()


def test_signals_to_both_end_the_mount_first(mounted: MountedDrive) -> None:
    other = _beside(mounted)
    os.kill(other, signal.SIGTERM)
    os.kill(mounted.process.pid, signal.SIGTERM)
    assert mounted.process.wait(60) == 0
    assert not _is_alive(other)
