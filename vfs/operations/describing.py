"""All that is known of one entry, for people who look after a drive: where its bytes are, and what holds them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.metadata.figures import Figures, LastEvent
from vfs.model import Caller, DavLock, Entry, Level, Version
from vfs.operations import guard, reading

__all__ = ["Description", "LastEvent", "describe"]


@dataclass(frozen=True, slots=True)
class Description:
    """`cached`: objects and bytes of its content, by their status in the cache; empty for folders and empty files.

    `nas_path` is relative to the NAS' root, None while it is not there. `event` is the newest change that the mirror
    had of it. `readers`: processes ("host:pid") that are noted to read it.
    """

    path: tuple[str, ...]
    cached: Mapping[str, tuple[int, int]]
    nas_path: str | None
    event: LastEvent | None
    versions: list[Version]
    locks: list[tuple[DavLock, tuple[str, ...]]]
    readers: list[str]


def describe(kelp: Kelp, caller: Caller, entry: Entry) -> Description:
    """Raises NotFound."""
    content_id, now = entry.content_id, kelp.clock.now_ns()
    locks = reading.locks_on(kelp, entry.id)
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry.id, Level.READ)
        figures, there = Figures(tx), tx.mirror.nas_chain(entry.id)
        readers = figures.readers(content_id, now) if content_id else []
        return Description(
            tx.entries.path(entry.id),
            figures.objects_of(content_id) if content_id else {},
            there[1] if there else None,
            figures.newest_event(entry.id),
            tx.versions.of(entry.id),
            locks,
            [":".join(owner.split(":")[:2]) for owner, _ in readers],
        )
