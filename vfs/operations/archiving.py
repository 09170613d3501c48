"""A folder with all that is below it, one after the other, for who carries it away as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vfs import turns
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.model import Caller, Entry, Kind, Row
from vfs.operations import reading
from vfs.operations.set_aside import SetAside


@dataclass(frozen=True, slots=True)
class Member:
    """`path`: names from the folder itself (left out for the root) down to it. `entry` as it is at this moment."""

    path: tuple[str, ...]
    entry: Entry
    _kelp: Kelp
    _caller: Caller

    def pieces(self) -> Iterator[bytes]:
        """The content of a file, `entry.size` bytes, held until they have ended. Raises StoreError, also on the way."""
        return reading.open_content(self._kelp, self._caller, self.entry).chunks()


def members(kelp: Kelp, caller: Caller, folder: Entry) -> Iterator[Member]:
    """The folder and what is below it, parents first. Who takes them may take hours.

    What the caller may not read, and what is no more where it was, is left out; each folder is as it was when its turn
    came. No connection to the database is kept, and of each folder on the way some 7,000 rows are in memory at most.
    """
    start = () if folder.is_root else (folder.name,)
    if start:
        yield Member(start, folder, kelp, caller)
    way: list[tuple[tuple[str, ...], int, Iterator[Row]]] = [(start, folder.id, _rows(kelp, caller, folder.id))]
    while way:
        path, folder_id, rows = way[-1]
        row = next(rows, None)
        if row is None:
            way.pop()
            continue
        turns.breathe()
        entry = _still_in(kelp, caller, folder_id, row.id)
        if entry is None or entry.kind not in (Kind.FILE, Kind.FOLDER):
            continue
        yield Member((*path, row.name), entry, kelp, caller)
        if entry.is_folder:
            way.append(((*path, row.name), entry.id, _rows(kelp, caller, entry.id)))


def _rows(kelp: Kelp, caller: Caller, folder_id: int) -> Iterator[Row]:
    try:
        rows = SetAside(reading.list_folder(kelp, caller, folder_id))
    except NotFound:
        return
    yield from rows


def _still_in(kelp: Kelp, caller: Caller, folder_id: int, entry_id: int) -> Entry | None:
    try:
        entry = reading.stat(kelp, caller, entry_id)
    except NotFound:
        return None
    return entry if entry.parent_id == folder_id else None
