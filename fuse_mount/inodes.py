"""What the kernel has been told, so that it can be told when it is not true any more.

The kernel counts how often it was given an inode and gives the counts back by `forget`; until then it may name the
inode, and keeps name and attributes of it for as long as it was allowed to. Rows of the database need no such counts:
an id is never used twice. Safe to use from many threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Known(NamedTuple):
    """Where the kernel believes an inode to be, and of which row version and which content it was last told."""

    parent_id: int
    name: str
    version: int
    content_id: str | None


class Inodes:
    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._known: dict[int, Known] = {}
        self._groups: dict[int, int] = {}
        self._guard = threading.Lock()
        self._changes = 0
        self._left: set[tuple[int, str]] = set()
        self._outdated: set[int] = set()
        self._removed: set[int] = set()

    def told(self, inode: int, known: Known) -> None:
        """The kernel gets the inode in an answer that it counts (lookup, create, mkdir, an entry of a listing)."""
        with self._guard:
            before = self._known.get(inode)
            if before is not None and before[:2] != known[:2]:
                self._left.add(before[:2])  # it believes in both places now
            self._counts[inode] = self._counts.get(inode, 0) + 1
            self._keep(inode, before, known)

    def refreshed(self, inode: int, known: Known) -> None:
        """The kernel gets newer attributes of an inode that it has. Where it believes it to be it was told by name."""
        before = self._known.get(inode)
        if before is None or before[2:] == known[2:]:
            return  # mostly the folder of a name that came or went: only its time is another
        with self._guard:
            before = self._known.get(inode)
            if before is not None:
                self._keep(inode, before, known._replace(parent_id=before.parent_id, name=before.name))

    def changed(self, inode: int, known: Known) -> None:
        """This mount has moved or written it, as the kernel asked: of this it knows."""
        with self._guard:
            if inode in self._counts:
                self._known[inode] = known

    def _keep(self, inode: int, before: Known | None, known: Known) -> None:
        if before is not None and before.content_id != known.content_id:
            self._outdated.add(inode)  # new attributes alone do not make it forget the bytes
        self._known[inode] = known

    def take_outdated(self) -> tuple[set[tuple[int, str]], set[int]]:
        """What the kernel still believes though it was told better: names (folder's inode, name) at which something
        has been that it got by another name since, and inodes of whose bytes it may have old ones."""
        with self._guard:
            found = self._left, self._outdated
            self._left, self._outdated = set(), set()
            return found

    def forget(self, counts: Iterable[tuple[int, int]]) -> None:
        with self._guard:
            for inode, count in counts:
                left = self._counts.get(inode, 0) - count
                if left > 0:
                    self._counts[inode] = left
                else:
                    self._counts.pop(inode, None)
                    self._known.pop(inode, None)
                    self._groups.pop(inode, None)

    def note_group(self, inode: int, gid: int | None) -> None:
        """What the kernel was told of a folder: the group that everything in it gets when it is made, None: its
        maker's."""
        if gid is not None:
            self._groups[inode] = gid
        elif inode in self._groups:
            self._groups.pop(inode, None)

    def group_kept(self, inode: int) -> int | None:
        """The kernel asks for a folder before it makes something in it, so it was told, and not long ago."""
        return self._groups.get(inode)

    @contextmanager
    def removing(self, inode: int | None) -> Iterator[None]:
        """Around a removal that the kernel asked for: of this one it knows, unless the block raises."""
        if inode is not None:
            self._removed.add(inode)
        try:
            yield
        except BaseException:
            self._removed.discard(inode or 0)
            raise

    def removed(self, inode: int) -> None:
        """As `removing`, of what was removed just now."""
        self._removed.add(inode)

    def take_removed(self, inode: int) -> bool:
        """This mount has removed it, as the kernel asked; said once."""
        if inode not in self._removed:
            return False
        self._removed.discard(inode)
        return True

    def known(self, inode: int) -> Known | None:
        """None: the kernel does not have it, so nothing about it need be told."""
        return self._known.get(inode)

    def all(self) -> list[tuple[int, Known]]:
        """Everything that the kernel has, as it is now: it is to be told of all of it."""
        self._removed.clear()
        with self._guard:
            return list(self._known.items())

    def __len__(self) -> int:
        return len(self._counts)

    def note_change(self) -> None:
        """Names change, here or elsewhere: no page of a listing that was read before may be given out after."""
        self._changes += 1  # a lost increment is as good as the one that overtook it

    @property
    def changes(self) -> int:
        return self._changes
