"""The handles that the kernel has of open files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from fuse_mount.askers import asking
from fuse_mount.drafts import OpenFile
from vfs.operations.posix import Node


class Handle(NamedTuple):
    inode: int  # the kernel's; the file's own may be another by now (`OpenFiles`)
    file: OpenFile


@dataclass(slots=True)
class Opened:
    """An inode with open handles. `node`: what was last seen of it; it may be deleted by now."""

    node: Node
    handles: int = 0


class Handles:
    """In the loop's thread only."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._handles: dict[int, Handle] = {}
        self._askers: dict[int, int] = {}
        self._opened: dict[int, Opened] = {}

    def add(self, node: Node, file: OpenFile) -> int:
        """The number of a new handle."""
        number = next(self._numbers)
        self._handles[number] = Handle(node.id, file)
        self._askers[number] = asking.get()
        opened = self._opened.setdefault(node.id, Opened(node))
        opened.node, opened.handles = node, opened.handles + 1
        return number

    def __getitem__(self, number: int) -> Handle:
        """For a call that names it; pyfuse3 does not say whose that is, but it is most likely his who opened it."""
        asking.set(self._askers[number])
        return self._handles[number]

    def pop(self, number: int) -> Handle:
        handle = self._handles.pop(number)
        del self._askers[number]
        inode = handle.inode
        opened = self._opened[inode]
        opened.handles -= 1
        if not opened.handles:
            del self._opened[inode]
        return handle

    def of(self, inode: int) -> Opened | None:
        return self._opened.get(inode)
