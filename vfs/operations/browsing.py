"""What people browse: a folder page by page, and what was done to an entry."""

from __future__ import annotations

from dataclasses import dataclass

from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.metadata.listing import SORTS, Cursor, Happening, Listing, Shown, Wanted
from vfs.model import ROOT_ID, Caller, Entry, Facts, Kind, Level
from vfs.operations import appearance, by_id, guard, nas_state

__all__ = ["SORTS", "Cursor", "Happening", "Page", "children", "history"]


@dataclass(frozen=True, slots=True)
class Page:
    """`ancestors` from the root down, without the folder itself. `total`: entries of all pages. `after`: where the next
    page begins, None when this is the last."""

    folder: Entry
    ancestors: list[Entry]
    entries: list[tuple[Entry, Facts]]
    total: int
    after: Cursor | None


def children(
    kelp: Kelp,
    caller: Caller,
    uuid: str,
    *,
    sort: str = "name",
    descending: bool = False,
    after: Cursor | None = None,
    limit: int = 100,
) -> Page:
    """Folders first, and what the caller may not read left out. `sort` is one of SORTS.

    Pages follow each other by what they show, not by number: what comes or goes meanwhile shifts nothing.
    Raises NotFound, InTrash, InvalidRequest (`after` is of another folder or order).
    """
    folder = by_id.find(kelp, caller, uuid, Kind.FOLDER)
    with kelp.database.scan() as tx:
        hidden = guard.hidden_in(tx, caller, folder.id)
        listing = Listing(tx)
        found = listing.page(Wanted(folder.id, sort, descending, after, limit + 1, hidden))
        more = listing.cursor(folder.id, sort, found[limit - 1].position) if len(found) > limit else None
        ancestors, nas = _above(tx, folder), nas_state.read_in(tx)
    path = "".join(f"/{each.name}" for each in (*ancestors, folder) if not each.is_root)
    shown = [(each.entry, _facts(each, folder, path, nas)) for each in found[:limit]]
    return Page(folder, ancestors, shown, _total(kelp, caller, folder), more)


def _total(kelp: Kelp, caller: Caller, folder: Entry) -> int:
    """Counted once for all pages that are asked for while nothing changes."""
    key = ("children", caller.rights, folder.id)
    return kelp.database.recall(key, lambda tx: Listing(tx).total(folder.id, guard.hidden_in(tx, caller, folder.id)))


def _above(tx: Tx, folder: Entry) -> list[Entry]:
    ids = [id for id, _, _ in tx.entries.ancestors(folder.id)][:0:-1]
    found = tx.entries.several(ids) if ids else {}
    return [found[id] for id in ids]


def _facts(shown: Shown, folder: Entry, path: str, nas: nas_state.NasState) -> Facts:
    entry = shown.entry
    parent = None if folder.id == ROOT_ID else folder.uuid
    message = appearance.nas_message(entry, shown.error, nas)
    return Facts(f"{path}/{entry.name}", parent, shown.cache, entry.nas_status, message, shown.event_uuid)


def history(
    kelp: Kelp, caller: Caller, uuid: str, kind: Kind, before: int | None, limit: int
) -> tuple[list[Happening], int | None]:
    """What was done to it, newest first, and after which line the next page begins; who was granted what only for who
    may manage the folder. Raises as `by_id.find`."""
    entry = by_id.find(kelp, caller, uuid, kind)
    with kelp.database.read() as tx:
        chain = [id for id, _, _ in tx.entries.ancestors(entry.id)] if entry.is_folder else []
        manages = bool(chain) and guard.level_of(tx, caller, chain) >= Level.MANAGE
        found = Listing(tx).history(entry.id, before, limit + 1, grants=manages)
    return found[:limit], found[limit - 1].id if len(found) > limit else None
