"""Where a drive is mounted, or was by a process that died: found, made ready, let go."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vfs.errors import ConfigurationError

_log = logging.getLogger(__name__)

KIND = "fuse.kelp"
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)  # nobody answers for it any more; the kernel has cut it off
_TABLE = Path("/proc/self/mountinfo")
_BUSY = 2.0  # seconds; who has just closed his last file there, or looks through all folders, is gone by then


class Mounted(NamedTuple):
    """`device` is MAJOR:MINOR, `path` as the kernel names it."""

    device: str
    path: str
    kind: str


def mounted() -> Iterator[Mounted]:
    """All file systems, the last one at a path being the one that is seen there; proc(5), mountinfo."""
    for line in _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, device, _, path, *_ = fields.split(" ")
        yield Mounted(device, _plain(path), rest.split(" ")[0])


def kind_at(path: Path) -> str | None:
    """The type of the file system that is mounted exactly there."""
    wanted, found = _real(path), None
    for each in mounted():
        if each.path == wanted:
            found = each.kind
    return found


def make_ready(path: Path, *, may_hold_files: bool = False) -> None:
    """Of what a killed `kelp mount` left there, it is freed. Raises ConfigurationError where nothing can be mounted."""
    if kind_at(path) == KIND:
        if not _is_dead(path):
            raise ConfigurationError(f"a drive is mounted at {path} already")
        _log.warning("%s was left by a mount whose process died: it is freed", path)
        _let_go(path, lazily=True)
    try:
        with os.scandir(path) as entries:
            inside = next(entries, None)
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no folder {path} to mount the drive at: make it first") from error
    except OSError as error:
        raise ConfigurationError(f"the drive cannot be mounted at {path}: {error.strerror}") from error
    if inside is not None and not may_hold_files:
        raise ConfigurationError(f"{path} is not empty: what is in it would be hidden (-o nonempty allows it)")


def unmount(path: Path, *, lazily: bool = False) -> None:
    """`lazily`: from the tree at once, and from the programs that use it when they let go.

    Raises ConfigurationError: no drive is mounted there, it is in use, or the user may not.
    """
    kind = kind_at(path)
    if kind is None:
        raise ConfigurationError(f"nothing is mounted at {path}")
    if kind != KIND:
        raise ConfigurationError(f"what is mounted at {path} is no drive of Kelp, but {kind}")
    _let_go(path, lazily=lazily or _is_dead(path))


def _let_go(path: Path, *, lazily: bool) -> None:
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program:
        words = [program, "-u", *(["-z"] if lazily else []), "--", _real(path)]
    else:
        words = ["umount", *(["-l"] if lazily else []), "--", _real(path)]
    end = time.monotonic() + _BUSY
    while (done := subprocess.run(words, capture_output=True, text=True, check=False)).returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it failed"]
        if "busy" in said[0]:
            if time.monotonic() < end:
                time.sleep(0.2)
                continue
            raise ConfigurationError(f"{path} is in use: close the programs that have it open (fuser -vm {path})")
        raise ConfigurationError(f"cannot unmount {path}: {said[0]}")


def _is_dead(path: Path) -> bool:
    """Asked for what no kernel remembers: attributes of a dead mount it goes on showing for a while."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in _DEAD
    return False


def _real(path: Path) -> str:
    """As the kernel names it. The last folder itself is not looked at: it may be the one that nobody answers for."""
    path = Path(os.path.abspath(path))
    return os.path.join(os.path.realpath(path.parent), path.name)


def _plain(field: str) -> str:
    """Blanks, tabs, line ends and backslashes are in octal there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
