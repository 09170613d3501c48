"""What a mounted file system has looked at, kept beyond the changes of its own process.

A change that says of itself that it leaves all folders where they are (`Tx.leaves_folders`), and that follows the state
that is remembered with nobody else's in between, makes it the state after: what a node shows depends on its row, on the
times of a folder (`folder_versions`), on rights, and on what is above it. Of these the change names the rows and times
that are others now, and leaves the rest as it is. After any other change, by whomever, nothing is remembered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from vfs.model import Level

if TYPE_CHECKING:
    from vfs.metadata.posix import Node

_MOST = 4096  # nodes kept, names, and folders of whose names something is known; of each, half a KiB at most
_UNKNOWN = object()


class Effect(NamedTuple):
    """Of a change that leaves folders where they are.

    `entries`: rows that are others now, or new. `names`: (folder, name key) of the new ones. `times`: of folders in
    which names came or went, in nanoseconds since 1970.
    """

    entries: Collection[int]
    names: Collection[tuple[int, str]]
    times: Mapping[int, int]


class Seen(NamedTuple):
    """What was found under a name. `beside`: others of the folder, by their name keys. `free_until`: no entry of the
    folder has a key from the name's own up to that one, "" to the end; None: that is not known."""

    node: Node | None
    beside: Iterable[tuple[str, Node]] = ()
    free_until: str | None = None


class _Kept:
    """As it was at one version, for one caller. `gaps`: of a folder, from which name key on, and before which one ("":
    to the end), it has none."""

    __slots__ = ("gaps", "ids", "nodes", "rights", "version")

    def __init__(self, version: int, rights: Hashable) -> None:
        self.version, self.rights = version, rights
        self.nodes: dict[int, Node | None] = {}
        self.ids: dict[tuple[int, str], int] = {}
        self.gaps: dict[int, tuple[str, str]] = {}

    @property
    def is_full(self) -> bool:
        return max(len(self.nodes), len(self.ids), len(self.gaps)) >= _MOST


class NodeMemory:
    """Of one process; safe to use from many threads. For one caller at a time: a mount has one."""

    def __init__(self, version: Callable[[], int | str | None] = lambda: None) -> None:
        """`version`: another after each change of the database, one more after one; None when that cannot be told."""
        self._version = version
        self._guard = threading.Lock()
        self._kept = _Kept(-1, None)

    def by_id(self, rights: Hashable, id: int, look: Callable[[], Node | None]) -> Node | None:
        """The node as `look` finds it, which must depend on the database and the caller's rights alone."""
        now, kept = self._version(), self._kept
        if kept.version == now and kept.rights == rights:
            known = kept.nodes.get(id, _UNKNOWN)
            if known is not _UNKNOWN:
                return known  # type: ignore[return-value]
        found = look()
        if isinstance(now, int):
            with self._guard:
                if (keep := self._at(now, rights)) is not None:
                    keep.nodes[id] = found
        return found

    def by_name(self, rights: Hashable, folder_id: int, key: str, look: Callable[[], Seen]) -> Node | None:
        """As `by_id`, of what has the name in a folder."""
        now, kept = self._version(), self._kept
        if kept.version == now and kept.rights == rights:
            known = kept.nodes.get(kept.ids.get((folder_id, key), 0), _UNKNOWN)
            if known is not _UNKNOWN:
                return known  # type: ignore[return-value]
            gap = kept.gaps.get(folder_id)
            if gap is not None and gap[0] <= key and (key < gap[1] or not gap[1]):
                return None
        seen = look()
        if isinstance(now, int):
            with self._guard:
                if (keep := self._at(now, rights)) is not None:
                    _keep(keep, folder_id, key, seen)
        return seen.node

    def follow(self, version: int, effects: Collection[Effect | None]) -> None:
        """A commit that makes the version, and that nobody has seen yet, has these effects, in their order; None: all
        may be others now."""
        with self._guard:
            kept = self._kept
            if kept.version != version - 1:
                return
            for effect in effects:
                if effect is None:
                    return
                _change(kept, effect)
            kept.version = version

    def _at(self, version: int, rights: Hashable) -> _Kept | None:
        """Where to keep what was looked at after `version` was seen. None: there has been a change since."""
        kept = self._kept
        if kept.version > version:
            return None
        if kept.version < version or kept.rights != rights or kept.is_full:
            kept = self._kept = _Kept(version, rights)
        return kept


def _keep(kept: _Kept, folder_id: int, key: str, seen: Seen) -> None:
    if seen.free_until is not None:
        kept.gaps[folder_id] = key, seen.free_until
    if seen.node is not None:
        kept.ids[folder_id, key], kept.nodes[seen.node.id] = seen.node.id, seen.node
    for other, node in seen.beside:
        kept.ids[folder_id, other], kept.nodes[node.id] = node.id, node


def _change(kept: _Kept, effect: Effect) -> None:
    for id, changed_ns in effect.times.items():
        node = kept.nodes.pop(id, None)
        if node is not None and node.level >= Level.READ:  # else it is shown without its times
            kept.nodes[id] = node._replace(mtime_ns=changed_ns)
    for id in effect.entries:
        kept.nodes.pop(id, None)
    for folder_id, key in effect.names:
        kept.ids.pop((folder_id, key), None)
        gap = kept.gaps.get(folder_id)
        if gap is not None and gap[0] <= key and (key < gap[1] or not gap[1]):
            kept.gaps[folder_id] = key + "\0", gap[1]  # names are mostly made in their order
