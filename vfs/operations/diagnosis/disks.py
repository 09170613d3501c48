"""On what kind of file system a folder is, as Linux tells it, and what that means for what is kept there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset("nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre beegfs glusterfs fuse davfs".split())
_VOLATILE = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_LAYER = frozenset(("overlay", "aufs"))


class Mount(NamedTuple):
    """`kind` as in /proc/filesystems; `options` of the mount and of the file system."""

    kind: str
    place: str
    options: frozenset[str]

    @property
    def is_network(self) -> bool:
        """Its files may be another machine's. FUSE counts too: what is behind it nobody can tell."""
        return self.kind in _NETWORK or self.kind.startswith("fuse.")

    @property
    def is_volatile(self) -> bool:
        return self.kind in _VOLATILE

    @property
    def is_layer(self) -> bool:
        """The writable layer of a container, which goes with it."""
        return self.kind in _LAYER

    @property
    def is_soft(self) -> bool:
        """An NFS mount that gives up, and may so report an error for what was written long before (nfs(5))."""
        return self.kind in ("nfs", "nfs4") and bool({"soft", "softerr"} & self.options)


def mount_of(path: Path) -> Mount | None:
    """None where there is no such table (macOS). Raises OSError; may hang where the disk does."""
    try:
        table = _TABLE.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    return find(os.path.realpath(path), table)


def find(path: str, table: str) -> Mount | None:
    """The mount that `path` (absolute, without links) is on, by a table in the form of mountinfo (proc(5)).

    Of several at one place the last is on top.
    """
    best: Mount | None = None
    for line in table.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if not dash or len(fields) < 6 or len(kinds) < 3:
            continue
        place = _unescaped(fields[4])
        below = place == "/" or path == place or path.startswith(place + "/")
        if below and (best is None or len(place) >= len(best.place)):
            best = Mount(kinds[0], place, frozenset(fields[5].split(",")) | frozenset(kinds[2].split(",")))
    return best


def _unescaped(text: str) -> str:
    number: Callable[[re.Match[str]], str] = lambda match: chr(int(match[1], 8))  # noqa: E731
    return _OCTAL.sub(number, text)
