"""What test runs call their mount points, so that a later run frees what one left that was killed.

A mount that is left is in the way: nobody answers for it any more, and if its process hangs, so does whoever comes
across it, beginning with the `rm -r` of old folders.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from cli import mount_points
from vfs.errors import ConfigurationError

_NAME = re.compile(r"kelp-mount-(\d+)-(\d+)(-\w+)?")  # of the test process: its id, and when it began


def name(more: str = "") -> str:
    """For the last folder of a mount point of this process; `more`: where it has several."""
    return f"kelp-mount-{os.getpid()}-{_began(os.getpid())}" + (f"-{more}" if more else "")


def free_left() -> list[Path]:
    """Let go of what processes left that are gone. Never waits for a mount."""
    freed = []
    for mounted in mount_points.mounted():
        path = Path(mounted.path)
        owner = _NAME.fullmatch(path.name)
        if mounted.kind == mount_points.KIND and owner and _began(int(owner[1])) != owner[2]:
            _cut_off(mounted)
            with contextlib.suppress(ConfigurationError):  # another user's
                mount_points.unmount(path, lazily=True)
                freed.append(path)
    return freed


def _began(process: int) -> str:
    """Ticks of the clock since the machine was started (proc(5), stat, field 22): another one has the id later. Empty:
    there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _cut_off(left: mount_points.Mounted) -> None:
    """The kernel ends all calls that wait for its process, with errors (Documentation/filesystems/fuse.rst)."""
    abort = Path("/sys/fs/fuse/connections", left.device.partition(":")[2], "abort")
    with contextlib.suppress(OSError), abort.open("wb") as file:
        if left in mount_points.mounted():  # still: else the device may be another mount's by now
            file.write(b"1")
