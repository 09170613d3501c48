"""Make a folder."""

from __future__ import annotations

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists
from vfs.ids import new_id
from vfs.metadata.database import Tx
from vfs.metadata.events import awaited
from vfs.metadata.retrying import retried
from vfs.model import Caller, Condition, Entry, EventType, Kind, OnConflict, Place, State
from vfs.operations import changes, guard, sealing
from vfs.operations.guard import Standing


@retried
def make_folder(
    kelp: Kelp,
    caller: Caller,
    place: Place,
    *,
    on_conflict: OnConflict = OnConflict.ERROR,
    condition: Condition | None = None,
    mtime_ns: int | None = None,
) -> Entry:
    """Make an empty folder; with strategy RENAME under the next free numbered name.

    Raises ParentNotFound, InvalidName, AlreadyExists (`existing`), Locked, Forbidden, PreconditionFailed.
    """
    names.check_segment(place.name)
    guard.check_time(mtime_ns)
    with kelp.database.write() as tx:
        tx.leaves_folders = True
        guard.lock(kelp, tx, place)
        tx.foresee_ids("entries")
        tx.foresee_ids("sync_events")
        now = kelp.clock.now_ns()
        here = guard.stand(kelp, tx, caller, place)
        guard.check_condition(tx, here, condition, now)
        if here.entry is not None and on_conflict != OnConflict.RENAME:
            raise AlreadyExists(f"there is a {place.name!r} already", here.entry, here.path_of(here.entry.name))
        if here.entry is not None or not guard.claims(kelp, tx, here, on_conflict, condition):
            here = changes.renamed(here, kelp, tx, is_folder=True)
        guard.confirm_write(tx, caller, here, now)
        folder_id = insert(kelp, tx, caller, here, now, mtime_ns)
        made = tx.last(lambda: guard.again(tx, folder_id))
    return made.value


def insert(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    here: Standing,
    now_ns: int,
    mtime_ns: int | None = None,
    *,
    vault_id: int | None = None,
) -> int:
    """The row and event of a new folder; its id. `vault_id`: it is the root of that vault."""
    folder_uuid = new_id()
    mtime = now_ns if mtime_ns is None else mtime_ns
    number = tx.events.number()
    folder_id = tx.entries.insert(
        uuid=folder_uuid,
        parent_id=here.folder_id,
        **sealing.born(tx, here.seal, here.name, here.key, root_of=vault_id),
        kind=Kind.FOLDER.value,
        state=State.ACTIVE.value,
        mtime_ns=mtime,
        shown_mtime=mtime // changes.SECOND,
        created_ns=now_ns,
        registered_ns=now_ns,
        born_litter=here.makes_litter,
        owner_id=caller.user_id,
        **awaited(number),
        **changes.nas_place(kelp, tx, here.folder_id, here.name, Kind.FOLDER, (0, folder_uuid), now_ns),
    )
    changes.announce(
        kelp, tx, caller, folder_id, Kind.FOLDER, EventType.MKDIR, now_ns,
        target=here.path_of(), litter=here.is_litter, what="create", rushes=False, number=number,
    )  # fmt: skip
    return folder_id
