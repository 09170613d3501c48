"""How an entry looks as a file: mode, owner, times, blocks."""

from __future__ import annotations

import stat
from dataclasses import dataclass

import pyfuse3

from vfs.model import Level
from vfs.operations.posix import Node
from vfs.operations.reading import Usage

_BLOCK = 4096  # bytes; what programs are told to write at once, and the unit of df
_SECTOR = 512  # bytes; the unit of st_blocks, whatever the file system (stat(2))
_MANY = 1 << 32  # as many files may be made as ids are left: so to say any number
_WRITABLE = 0o222
_ENTERABLE = 0o111


@dataclass(frozen=True, slots=True)
class Looks:
    """What is shown of entries whose mode and owner nobody has set, and how long the kernel may believe it.

    `umask`: permission bits that such entries lack. `timeout` in seconds.
    """

    uid: int
    gid: int
    umask: int
    timeout: float

    def mode_of(self, *, folder: bool) -> int:
        return (0o777 if folder else 0o666) & ~self.umask

    def of(
        self,
        node: Node,
        *,
        size: int | None = None,
        mtime_ns: int | None = None,
        links: int = 1,
        target: int | None = None,
    ) -> pyfuse3.EntryAttributes:
        """`size` and `mtime_ns` where an open file has others by now. `links` 0: it was deleted and is still open.
        `target`: how long that of a symbolic link is, 0: it could not be read just now."""
        shown = pyfuse3.EntryAttributes()  # its generation is 0: an id is never given to another entry
        shown.st_ino = node.id
        shown.entry_timeout = shown.attr_timeout = self.timeout
        mode, is_folder, level = node.mode, node.is_folder, node.level
        if mode is None:
            mode = self.mode_of(folder=is_folder)
        if level < Level.WRITE:
            mode &= ~_WRITABLE
            if level < Level.READ and not node.is_root:
                mode &= _ENTERABLE
        shown.st_mode = mode | (stat.S_IFDIR if is_folder else stat.S_IFREG)
        # 1 for a folder says that nobody counts the folders in it; find(1) relies on any other number.
        shown.st_nlink = links
        shown.st_uid = self.uid if node.uid is None else node.uid
        shown.st_gid = self.gid if node.gid is None else node.gid
        if size is None:
            size = node.size
        shown.st_size = size
        shown.st_blocks = -(-size // _SECTOR)
        shown.st_blksize = _BLOCK
        if target is not None:
            shown.st_mode, shown.st_size, shown.st_blocks = stat.S_IFLNK | 0o777, target, 0
            if not target:
                shown.entry_timeout = shown.attr_timeout = 0.0
        if mtime_ns is None:
            mtime_ns = node.mtime_ns
        shown.st_mtime_ns = shown.st_atime_ns = mtime_ns
        # The time of the last change of the row is not kept: what there is, and grows with each write, stays the same
        # otherwise. git looks at it.
        shown.st_ctime_ns = mtime_ns if mtime_ns > node.created_ns else node.created_ns
        return shown


def nothing(timeout: float) -> pyfuse3.EntryAttributes:
    """That there is nothing, which the kernel may remember for `timeout` seconds."""
    absent = pyfuse3.EntryAttributes()
    absent.st_ino = 0
    absent.entry_timeout = timeout
    return absent


def statistics(usage: Usage) -> pyfuse3.StatvfsData:
    """What df shows."""
    shown = pyfuse3.StatvfsData()
    shown.f_bsize = shown.f_frsize = _BLOCK
    shown.f_bfree = shown.f_bavail = usage.free // _BLOCK
    shown.f_blocks = shown.f_bfree + -(-usage.used // _BLOCK)
    shown.f_files = shown.f_ffree = shown.f_favail = _MANY
    shown.f_namemax = 255
    return shown
