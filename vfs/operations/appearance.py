"""What faces show of an entry beside its row: its path, what each store has of it, what there is to tell."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.metadata.database import Tx
from vfs.metadata.listing import Listing, Seen
from vfs.model import ROOT_ID, Entry, Facts, StoreStatus
from vfs.operations import nas_state


def of(kelp: Kelp, entry: Entry) -> Facts:
    """Of an entry that the caller has just found or changed. Raises NotFound when its row is gone."""
    with kelp.database.read() as tx:
        seen, path = Listing(tx).seen(entry.id), tx.entries.path(entry.id)
    if seen is None:
        raise NotFound("it does not exist")
    return _facts(entry, seen, "/" + "/".join(path))


def as_written(tx: Tx, entry_id: int, folders: tuple[str, ...]) -> tuple[Entry, Facts]:
    """The last look of a change that wrote a file into the folder with that path: to ask after the commit is a
    transaction more, and what was read before is forgotten by then."""
    seen = Listing(tx).seen(entry_id, stored=True)
    if seen is None:
        raise AssertionError("a row written in this transaction is there")
    entry = seen.entry
    return entry, _facts(entry, seen, "/" + "/".join((*folders, entry.name)))


def _facts(entry: Entry, seen: Seen, path: str) -> Facts:
    return Facts(
        path,
        None if entry.parent_id in (None, ROOT_ID) else seen.parent_uuid,
        seen.cache,
        entry.nas_status,
        nas_message(entry, seen.error, nas_state.parse(seen.nas)),
        seen.event_uuid,
    )


def nas_message(entry: Entry, error: str | None, nas: nas_state.NasState) -> str:
    """What there is to tell of its way to the NAS, "" when nothing; `error` of the change that is on its way.

    Why the NAS is away names folders of the server: that is for those who look after it.
    """
    if entry.nas_status == StoreStatus.ERROR:
        return error or "it could not be carried to the NAS"
    if entry.nas_status != StoreStatus.SYNCING:
        return ""
    return "on its way to the NAS" if nas.up else "the NAS is away: carried there when it is back"
