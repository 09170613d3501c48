"""A file goes into a vault, or out of it: there it is another row, and the one before is gone for good.

A row is in one vault for ever. So the move makes a new one, with a content that was sealed anew (`resealing`), under
the public id of the old one. That never goes to the trash: of what went into a vault, nothing plain stays. Older
contents do not go along.
"""

from __future__ import annotations

import uuid

from vfs.core import Kelp
from vfs.errors import WrongKind
from vfs.metadata.crossings import Crossings
from vfs.metadata.database import Tx
from vfs.model import Caller, Entry, EventType, Kind, State, StoreStatus
from vfs.operations import changes, sealing, trashing, vaults_of
from vfs.operations.guard import Standing
from vfs.operations.relocation import Relocation


def relocate(kelp: Kelp, tx: Tx, caller: Caller, moved: Relocation, times: dict[str, object]) -> int:
    """The new row's id. `times`: its columns. Raises `Unsealed`, StoreUnavailable."""
    here, entry, there, border, now_ns = moved.here, moved.entry, moved.there, moved.border, moved.now_ns
    if entry.content_id is None:
        raise WrongKind(f"{entry.name!r} is not a file")
    vault_id = there.seal and there.seal.vault_id
    border.require([(entry.content_id, entry.size)], vault_id, entry.uuid)
    content = border.content(tx, entry.content_id, vault_id)
    vaults_of.require_same(there.seal, content)
    tx.entries.update(entry.id, uuid=str(uuid.uuid4()))
    new_id = _insert(kelp, tx, entry, there, content.id, times)
    tx.properties.copy(entry.id, new_id)
    Crossings(tx).hand_over(entry.id, new_id)
    changes.succeed(kelp, tx, caller, there, new_id, entry.uuid, now_ns)
    changes.remember_shown(tx, here.folder_id, here.key, entry.shown_mtime, now_ns)
    trashing.mark_deleted(kelp, tx, caller, None, entry, now_ns)
    if here.seal is None:
        Crossings(tx).forget_plain(entry.id, new_id)
    # Where it was is not told of what was in a vault: the event may be of a plain file now.
    source = here.path_of(entry.name) if here.seal is None else None
    changes.announce(
        kelp, tx, caller, new_id, Kind.FILE, EventType.MOVE, now_ns,
        source=source, target=there.path_of(), litter=there.is_litter, rushes=False,
    )  # fmt: skip
    return new_id


def _insert(kelp: Kelp, tx: Tx, entry: Entry, there: Standing, content_id: str, times: dict[str, object]) -> int:
    stamp, born_litter, registered_ns, _ = tx.entries.placing(entry.id)
    same_name = there.name == entry.name
    mime_type = entry.mime_type if same_name else changes.mime_type(there.name, entry.mime_type)
    new = (0, entry.uuid)
    return tx.entries.insert(
        uuid=entry.uuid,
        parent_id=there.folder_id,
        **sealing.born(tx, there.seal, there.name, there.key, mime_type),
        kind=Kind.FILE.value,
        state=State.ACTIVE.value,
        content_id=content_id,
        size=entry.size,
        created_ns=entry.created_ns,
        registered_ns=registered_ns,
        born_litter=born_litter and there.is_litter,
        owner_id=entry.owner_id,
        nas_status=StoreStatus.SYNCING.value,
        **times,
        **changes.nas_place(kelp, tx, there.folder_id, there.name, Kind.FILE, new, stamp or registered_ns),
    )
