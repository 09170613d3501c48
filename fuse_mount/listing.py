"""An opened folder: read page by page, in memory that does not grow with it.

Positions are the kernel's: 1 after ".", 2 after "..", then an entry's id and a bit. Pages go by ids, which nobody
changes, so what is there all the time comes once, whatever comes, goes or is renamed meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter

from fuse_mount.bridge import Bridge
from vfs.operations.posix import Node

PAGE = 400  # entries read at once; the kernel takes some 170 of them at a time
_DOTS = 2
_id = attrgetter("id")

Read = Callable[[int, int], Sequence[Node]]  # (the id to begin after, how many at most)


def position_after(node: Node) -> int:
    return node.id + _DOTS


class Listing:
    def __init__(self, folder_id: int, read: Read, bridge: Bridge) -> None:
        self.folder_id = folder_id
        self._read = read
        self._bridge = bridge
        self._page: Sequence[Node] = ()
        self._changes = -1

    async def after(self, position: int, changes: int) -> Sequence[Node]:
        """Some of what follows `position`; nothing: that was all. `changes`: how often names have changed so far; what
        was read before the last time may be gone, and the kernel would remember it as being there."""
        begin = max(position - _DOTS, 0)
        if changes == self._changes and self._page and self._page[0].id <= begin < self._page[-1].id:
            return self._page[bisect_right(self._page, begin, key=_id) :]
        self._page = await self._bridge.look(self._read, begin, PAGE)
        self._changes = changes
        return self._page
