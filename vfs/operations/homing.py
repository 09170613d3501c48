"""The second defence (spec §5): what hangs on a folder whose row is gone comes back to where it was.

Trashing or purging a folder takes along what is in it, and the database lets no row go that another one refers to; so
this is the work of a bug, or of a database that was restored in part.
"""

from __future__ import annotations

from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.metadata.events import TARGET_DELETED
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Caller, Entry, EventType, Kind, State
from vfs.nas_model import Recorded
from vfs.operations import access, alerts, changes, logged, sealing
from vfs.operations.alerts import AlertKind
from vfs.operations.mirroring import make_due


def homeless(tx: Tx, entry_id: int) -> int | None:
    """The entry above this one, or itself, that is ACTIVE in a folder which is not there; None when there is none."""
    above = tx.entries.ancestors(entry_id)
    last = above[-1][0] if above else ROOT_ID
    if last == ROOT_ID or any(state != State.ACTIVE for _, state, _ in above):
        return None
    return last


@retried
def bring_home(kelp: Kelp, entry_id: int) -> None:
    """Move a homeless entry to the folder that it came from, or the root; under a numbered name where its own is taken.

    The change that led there is FAILED, and stays so while nobody changes the entry; an admin is told.
    """
    caller = access.system_caller(kelp, "mirror")
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree(exclusive=True)
        tx.lock_rows([entry_id])
        entry = tx.entries.get(entry_id)
        if entry is None or homeless(tx, entry_id) != entry_id or tx.leases.held(entry_id):
            return
        now = kelp.clock.now_ns()
        source = tx.events.came_from(entry_id)
        _fail(kelp, tx, entry, now)
        _forget_place(kelp, tx, entry, now)
        _move(kelp, tx, caller, entry, source, now)


def _fail(kelp: Kelp, tx: Tx, entry: Entry, now_ns: int) -> None:
    message = f"{TARGET_DELETED}: the folder that {logged.name(entry)} was moved to does not exist any more"
    newest = tx.events.newest(entry.id)
    if newest is not None:
        tx.events.fail(entry.id, newest, message, now_ns)
    alerts.open_in(kelp, tx, AlertKind.TARGET_FOLDER_DELETED, f"{message}; it is back where it was", entry.uuid)


def _forget_place(kelp: Kelp, tx: Tx, entry: Entry, now_ns: int) -> None:
    """What is recorded below a folder that is not there can be anywhere on the NAS: it is written anew."""
    parent_id = tx.mirror.row(entry.id)[9]
    if parent_id is None or tx.mirror.nas_chain(parent_id) is not None:
        return
    if entry.kind == Kind.FOLDER:
        below = tx.mirror.recorded_below(entry.id)
        tx.mirror.unrecord_below(entry.id)
        for id, _ in below:
            make_due(tx, id, now_ns)
    tx.mirror.record(entry.id, Recorded(), kelp.nas.properties.folds_case)


def _move(kelp: Kelp, tx: Tx, caller: Caller, entry: Entry, source: str | None, now_ns: int) -> None:
    folder_id, path = _original_folder(kelp, tx, entry, source)
    name, key = entry.name, sealing.key_in(kelp, tx, folder_id, entry.name)
    if tx.entries.child(folder_id, key) is not None:
        name = changes.free_name(kelp, tx, folder_id, entry.name, entry.is_folder)
        key = sealing.key_in(kelp, tx, folder_id, name)
    place = changes.relocated_place(kelp, tx, entry, folder_id, name)
    naming = sealing.named(tx, tx.seals.of(folder_id), name, key)
    tx.entries.update(entry.id, parent_id=folder_id, **naming, **place)
    if entry.kind == Kind.FILE:
        changes.place_versions(kelp, tx, entry.id)
    target = "/".join(("", *path, name))
    changes.announce(kelp, tx, caller, entry.id, entry.kind, EventType.MOVE, now_ns, target=target, what="back home")


def _original_folder(kelp: Kelp, tx: Tx, entry: Entry, source: str | None) -> tuple[int, tuple[str, ...]]:
    """The folder of a path, when it is still there; else the root. With the names on the way to it.

    Of an entry in a vault only a folder of the same vault, else the vault itself: nothing gets out of it like this.
    """
    above = tuple(tx.seals.open_text(source or "").strip("/").split("/")[:-1])
    folder = sealing.find(kelp, tx, above)
    seal = tx.seals.of(entry.id)
    vault_id = None if seal is None or seal.is_root else seal.vault_id
    if folder is not None and folder.is_folder and folder.vault_id == vault_id:
        return folder.id, above
    if vault_id is None:
        return ROOT_ID, ()
    root = tx.vaults.root(vault_id)
    return root, tx.entries.path(root)
