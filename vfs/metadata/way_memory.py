"""The ways to folders that changes have looked up, for the next changes of this process.

Each change begins with a look at all folders above what it is about, to see that they are there: a quarter of the
statements' time of an unlink. A change that leaves all folders where they are (`Tx.leaves_folders`) makes no other way.
So what one has found after it has SQLite's write lock is true for the next one, if no change of anybody else came in
between. That shows by the number that each change gets under that lock (`ChangeCount`), and by SQLite's own count of
commits: it knows of those, too, who count in another file just now, or nowhere. A memory for reading that is a second
old shows what was; this one would put files where nobody finds them.

Of changes that share a commit the first alone may ask: the others see what it has made, and no number tells of that.
Who reads has no lock. He asks for both numbers before his snapshot is taken and again when it is: SQLite counts a
commit before anybody can see it, so if they are the same, his snapshot is the state that they tell of.
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


class _Known(NamedTuple):
    at: tuple[int, int]  # version, commits
    ways: Ways


class WayMemory:
    """Of one process. To be asked and told by who has SQLite's write lock, but for `find`."""

    def __init__(self) -> None:
        self._known = _Known((-1, -1), {})  # replaced as one: others may be looking at it

    def at(self, version: int, commits: int) -> Ways:
        """What is known for a change that makes the next version after this one, and the next commit; what it finds
        before it changes anything it may add."""
        known = self._known
        if known.at != (version, commits) or len(known.ways) >= _MOST:
            known = self._known = _Known((version, commits), {})
        return known.ways

    def find(self, version: int | None, commits: int | None, folder_id: int) -> Way | None:
        """As it was at that version, after so many commits: if both are still the same when it was found. By
        anybody."""
        known = self._known
        return known.ways.get(folder_id) if known.at == (version, commits) else None

    def follow(self, version: int, effects: Collection[Effect | None]) -> None:
        """A commit that makes the version had these effects; None: folders may be somewhere else now. SQLite counts
        none that leaves all as it was: then nothing is known of who makes the next."""
        (before, commits), ways = self._known
        if before == version - 1 and None not in effects and any(any(effect) for effect in effects if effect):
            self._known = _Known((version, (commits + 1) % _ROUND), ways)
