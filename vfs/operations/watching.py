"""What changed on the drive, whoever changed it: for those who remember what they saw, as a kernel does for a mount."""

from __future__ import annotations

from dataclasses import dataclass

from vfs.core import Kelp
from vfs.metadata.change_log import Changed
from vfs.metadata.retrying import retried
from vfs.model import Done

__all__ = ["Changed", "Changes", "Feed", "prune"]

_MOST = 2000  # entries told one by one; looking at everything again is cheaper then


@dataclass(frozen=True, slots=True)
class Changes:
    """`everything`: it cannot be told one by one (rights changed, too much did, or the feed slept for too long)."""

    entries: tuple[Changed, ...] = ()
    everything: bool = False


class Feed:
    """What was committed since it was made, each change once, by this process too. For one thread at a time."""

    def __init__(self, kelp: Kelp) -> None:
        """Raises StoreUnavailable."""
        self._kelp = kelp
        self._version = kelp.database.version()
        with kelp.database.read() as tx:
            self._position = tx.change_log.position()

    def look(self) -> Changes:
        """What changed since the last look, as it is now. While nothing does, that costs SQLite nothing, and PostgreSQL
        a round trip. Raises StoreUnavailable; nothing is lost by that."""
        version = self._kelp.database.version()
        if version is not None and version == self._version:
            return Changes()
        with self._kelp.database.read() as tx:
            changed, self._position = tx.change_log.since(self._position, _MOST)
        self._version = version
        return Changes(everything=True) if changed is None else Changes(tuple(changed))


@retried
def prune(kelp: Kelp) -> Done:
    """Forget changes that every feed has seen long ago."""
    with kelp.database.read() as tx:
        if not tx.change_log.is_long():
            return Done()
    with kelp.database.write(quiet=True) as tx:
        count = tx.change_log.prune()
    return Done(count, more=count > 0)
