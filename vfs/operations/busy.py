"""What callers are refused who asked for it (`Caller.refuse_while_syncing`): what is on its way to the NAS, or read.

Drive faces never are, nor is REST with `Prefer: respond-async`: the change is accepted and the mirror catches up. While
the NAS is known to be down nobody is, else nothing could be done until it is back (spec §5). Called inside the
transaction, after the locks.
"""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import ChildrenSyncing, FolderFailed, InUse, StillSyncing
from vfs.metadata.database import Tx
from vfs.metadata.listing import Listing
from vfs.model import Caller, Entry, StoreStatus
from vfs.operations import guard, nas_state

_MOST_NAMED = 100


def refuse_change(tx: Tx, caller: Caller, entry: Entry) -> None:
    """Before an entry gets another name, place or content. Raises StillSyncing."""
    if caller.refuse_while_syncing and entry.nas_status == StoreStatus.SYNCING and nas_state.read_in(tx).up:
        raise StillSyncing(f"{entry.name!r} is on its way to the NAS", entry)


def refuse_into(kelp: Kelp, caller: Caller, folder: Entry) -> None:
    """Before a file is uploaded into a folder (seed 002 §1-1). Raises StillSyncing, FolderFailed."""
    status = folder.nas_status
    if not caller.refuse_while_syncing or status not in (StoreStatus.SYNCING, StoreStatus.ERROR):
        return
    if not nas_state.read(kelp).up:
        return
    if status == StoreStatus.ERROR:
        raise FolderFailed(f"{folder.name!r} could not be carried to the NAS: an admin must see why")
    raise StillSyncing(f"{folder.name!r} is on its way to the NAS", folder)


def refuse_below(tx: Tx, caller: Caller, folder: Entry) -> None:
    """Before everything in a folder goes somewhere else. Raises Forbidden, rather than name what the caller may not
    see, and ChildrenSyncing."""
    guard.require_below(tx, caller, folder.id)
    if not caller.refuse_while_syncing or not nas_state.read_in(tx).up:
        return
    waiting = Listing(tx).syncing_below(folder.id, _MOST_NAMED)
    if waiting:
        path = "/" + "/".join(tx.entries.path(folder.id))
        found = [(entry, f"{path}/{inner}") for entry, inner in waiting]
        raise ChildrenSyncing("files in it are on their way to the NAS", folder, found)


def refuse_trashing(tx: Tx, caller: Caller, entry: Entry, now_ns: int) -> None:
    """Before an entry goes to the trash. Raises StillSyncing, ChildrenSyncing, InUse."""
    refuse_change(tx, caller, entry)
    if entry.is_folder:
        refuse_below(tx, caller, entry)
    elif caller.refuse_while_syncing and entry.content_id and tx.reading.leased(entry.content_id, now_ns):
        raise InUse(f"{entry.name!r} is being read")
