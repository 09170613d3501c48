"""How far an entry's way to the NAS is: for a property of WebDAV, `kelp status` and REST."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.metadata.figures import Figures, SyncState
from vfs.model import Caller, Level
from vfs.operations import guard

__all__ = ["SyncState", "below", "of_entry"]


def of_entry(kelp: Kelp, caller: Caller, entry_id: int) -> SyncState:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry_id, Level.READ)
        return Figures(tx).sync_state(entry_id)


def below(kelp: Kelp, caller: Caller, folder_id: int) -> dict[int, SyncState]:
    """Of all that a folder shows directly, by entry, in one statement. Raises NotFound."""
    with kelp.database.scan() as tx:
        guard.reach(tx, caller, folder_id, Level.READ)
        return Figures(tx).sync_states_of_children(folder_id)
