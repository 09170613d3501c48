"""A file system that shows a folder, and answers each call late when told to.

`python hanging_fuse.py SOURCE MOUNT HANG`: the file HANG says for how many seconds each call hangs (0: not at all);
what hangs is answered at once when it says 0 again, as by an NFS server that comes back.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

import mfusepy
from mfusepy import FuseOSError

_LOOK = 0.05  # seconds between two looks whether it still hangs
_STAT = ("atime", "ctime", "mtime")
_PLAIN = (
    "st_mode",
    "st_ino",
    "st_dev",
    "st_nlink",
    "st_uid",
    "st_gid",
    "st_size",
    "st_blocks",
    "st_blksize",
    "st_rdev",
)
_DISK = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_namemax")


class Passing(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, source: str, hang: Path) -> None:
        self._source, self._hang = source, hang

    def _seconds(self) -> float:
        return float(self._hang.read_text() or 0)

    def _wait(self) -> None:
        """Whoever was killed meanwhile is let go: the kernel keeps a process until its call is answered."""
        begun = time.monotonic()
        while time.monotonic() - begun < self._seconds():
            if mfusepy._libfuse.fuse_interrupted():
                raise FuseOSError(errno.EINTR)
            time.sleep(_LOOK)

    def _at(self, path: str) -> str:
        """The place of a path in the folder, late."""
        self._wait()
        return self._source + path

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        if fh is not None:
            self._wait()
        info = os.fstat(fh) if fh is not None else os.lstat(self._at(str(path)))
        times = {f"st_{name}": getattr(info, f"st_{name}_ns") for name in _STAT}
        return {**{name: getattr(info, name) for name in _PLAIN}, **times}

    def statfs(self, path: str) -> dict[str, int]:
        disk = os.statvfs(self._at(path))
        return {name: getattr(disk, name) for name in _DISK}

    def access(self, path: str, amode: int) -> int:
        if not os.access(self._at(path), amode):
            raise FuseOSError(errno.EACCES)
        return 0

    # --- names

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        with os.scandir(self._at(path)) as entries:
            infos = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return [(name, {"st_mode": info.st_mode, "st_ino": info.st_ino}, 0) for name, info in infos]

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path))
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._source + new)
        return 0

    def link(self, target: str, source: str) -> int:
        os.link(self._source + source, self._at(target))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path), mode)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._at(path), ns=times)
        return 0

    # --- bytes

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, flags: int = os.O_RDWR | os.O_EXCL) -> int:
        return os.open(self._at(path), flags | os.O_CREAT, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._wait()
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._wait()
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path) if fh is None else fh, length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._wait()
        os.fsync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


class Mounted(mfusepy.FUSE):  # type: ignore[misc]
    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        """Flags (not to replace, say) are not for us: said, not forgotten."""
        if flags:
            raise FuseOSError(errno.EINVAL)
        return int(self.operations.rename(os.fsdecode(old), os.fsdecode(new)))


if __name__ == "__main__":
    source, mount, hang = sys.argv[1:]
    where = {"fsname": "kelp-test", "foreground": True, "default_permissions": True, "allow_other": True}
    options = {"use_ino": True, "hard_remove": True, "attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0}
    Mounted(Passing(source, Path(hang)), mount, **where, **options)
