"""The ways to folders that changes have looked up, for the next changes of this process.

Each change begins with a look at all folders above what it is about, to see that they are there: a quarter of the
statements' time of an unlink. A change that leaves all folders where they are (`Tx.leaves_folders`) makes no other way.
So what one has found after it has SQLite's write lock is true for the next one, if no change of anybody else came in
between. That shows by the number that each change gets under that lock (`ChangeCount`), and by SQLite's own count of
commits: it knows of those, too, who count in another file just now, or nowhere. A memory for reading that is a second
old shows what was; this one would put files where nobody finds them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from vfs.metadata.node_memory import Effect

_MOST = 1000  # folders
_ROUND = 1 << 32


class Way(NamedTuple):
    """To a folder that is there, of a drive without vaults. `chain`: its id and its ancestors', nearest first; `path`:
    their names, from the root."""

    chain: tuple[int, ...]
    path: tuple[str, ...]


Ways: TypeAlias = dict[int, Way]  # by the folder's id


class WayMemory:
    """Of one process. To be asked and told by who has SQLite's write lock."""

    def __init__(self) -> None:
        self._at = (-1, -1)  # version, commits
        self._ways: Ways = {}

    def at(self, version: int, commits: int) -> Ways:
        """What is known for a change that makes the next version after this one, and the next commit; what it finds
        before it changes anything it may add."""
        if self._at != (version, commits) or len(self._ways) >= _MOST:
            self._at, self._ways = (version, commits), {}
        return self._ways

    def follow(self, version: int, effects: Collection[Effect | None]) -> None:
        """A commit that makes the version had these effects; None: folders may be somewhere else now. SQLite counts
        none that leaves all as it was: then nothing is known of who makes the next."""
        before, commits = self._at
        if before == version - 1 and None not in effects and any(any(effect) for effect in effects if effect):
            self._at = version, (commits + 1) % _ROUND
