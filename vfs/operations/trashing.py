"""Remove, trash, restore, purge."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from vfs.core import Kelp
from vfs.errors import AlreadyExists, Forbidden, NotEmpty, NotFound, WrongKind
from vfs.metadata.database import Tx
from vfs.metadata.events import awaited
from vfs.metadata.retrying import retried
from vfs.metadata.trash import Life
from vfs.model import (
    ROOT_ID,
    Caller,
    Condition,
    Entry,
    EventType,
    Kind,
    Level,
    OnConflict,
    Place,
    State,
    TrashItem,
)
from vfs.operations import busy, changes, folders, guard, sealing
from vfs.operations.guard import Standing

_DAY = 86_400 * changes.SECOND
_SHORT_LIFE_NS = 60 * changes.SECOND


@retried
def remove(
    kelp: Kelp,
    caller: Caller,
    place: Place,
    *,
    condition: Condition | None = None,
    seen: Entry | None = None,
    only: Kind | None = None,
) -> int:
    """Delete an entry from the drive: to the trash, or at once where the litter rule says so (spec §5). Its id.

    `seen`: what the caller has just found there, if anything; only a hint. `only`: nothing but an empty folder, nothing
    but a file (POSIX: rmdir, unlink).
    Raises NotFound, ParentNotFound, WrongKind and NotEmpty (by `only`), Locked, Forbidden, PreconditionFailed, and what
    `busy.refuse_trashing` does.
    """
    with kelp.database.write() as tx:
        guard.lock(kelp, tx, place, seen=seen)
        tx.foresee_ids("sync_events")
        if seen is not None and caller.on_drive:
            tx.foresee(partial(tx.trash.life, seen.id))
        now = kelp.clock.now_ns()
        here, entry = guard.stand_on(kelp, tx, caller, place)
        if only is not None and entry.is_folder != (only == Kind.FOLDER):
            raise WrongKind(f"{entry.name!r} is {'a folder' if entry.is_folder else 'no folder'}")
        if entry.is_folder:
            tx.require_tree()
            if only is not None:
                require_empty(tx, entry)
        tx.leaves_folders = not entry.is_folder
        guard.check_condition(tx, here, condition, now)
        busy.refuse_trashing(tx, caller, entry, now)
        guard.confirm_removal(tx, caller, here, entry, now)
        changes.leave_name(tx, here, entry, now)
        life = tx.trash.life(entry.id) if caller.on_drive else None
        if life is not None and _skips_trash(tx, entry, life, now):
            mark_deleted(kelp, tx, caller, here, entry, now, life)
        else:
            put_in_trash(kelp, tx, caller, here, entry, now)
    return entry.id


def require_empty(tx: Tx, folder: Entry) -> None:
    """Of what is in it counts what the caller may not see, too. Raises NotEmpty."""
    if not tx.entries.is_empty(folder.id):
        raise NotEmpty(f"{folder.name!r} is not empty")


def _skips_trash(tx: Tx, entry: Entry, life: Life, now_ns: int) -> bool:
    """A young folder may hold old documents that were moved into it: those must not vanish with it."""
    if not _is_worthless(tx, entry, life, now_ns):
        return False
    return not entry.is_folder or all(
        _is_worthless(tx, child, tx.trash.life(child.id), now_ns) for child, _ in tx.entries.below(entry.id)
    )


def _is_worthless(tx: Tx, entry: Entry, life: Life, now_ns: int) -> bool:
    """Litter, short-lived (a young row that took over a document with versions is not), or a version elsewhere."""
    # An adopted one may be young, but nobody made it here just to remove it.
    adopted = life.nas_stamp is None and entry.kind == Kind.FILE
    # A clock that was set back makes nothing young.
    young = 0 <= now_ns - life.registered_ns < _SHORT_LIFE_NS and not adopted and not life.has_versions
    return life.born_litter or young or tx.entries.is_succeeded(entry.id)


def put_in_trash(kelp: Kelp, tx: Tx, caller: Caller, here: Standing, entry: Entry, now_ns: int) -> None:
    """One row changes; what is below stays as it is and is unreachable because of it."""
    path = here.path_of(entry.name)
    record = sealing.trash_path(tx, here, entry)
    changes.drop_locks(tx, entry, now_ns)
    number = tx.events.number()
    tx.entries.update(entry.id, entry.parent_id, state=State.TRASHED.value, **awaited(number))
    expires = now_ns + kelp.settings.trash.keep_days * _DAY
    tx.trash.put(entry.id, record, now_ns, expires, caller.user_id)
    changes.announce(kelp, tx, caller, entry.id, entry.kind, EventType.TRASH, now_ns, source=path, number=number)


def mark_deleted(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    here: Standing | None,
    entry: Entry,
    now_ns: int,
    life: Life | None = None,
    *,
    expire_versions: bool = True,
) -> None:
    """One row changes to DELETED for good; its versions have no file any more and expire. `life`: where that was looked
    up, it saves looking for what is not there."""
    changes.drop_locks(tx, entry, now_ns)
    number = tx.events.number()
    tx.entries.update(entry.id, entry.parent_id, state=State.DELETED.value, **awaited(number))
    if expire_versions and (life is None or life.has_versions):
        tx.versions.expire_all(entry.id)
    if entry.state == State.TRASHED:
        tx.trash.take(entry.id)
    source = here.path_of(entry.name) if here else None
    changes.announce(
        kelp, tx, caller, entry.id, entry.kind, EventType.DELETE, now_ns,
        source=source, rushes=life is None or life.waits_as_litter, number=number,
    )  # fmt: skip


def list_trash(kelp: Kelp, caller: Caller) -> list[TrashItem]:
    """What the caller trashed, newest first; an admin sees all."""
    with kelp.database.scan() as tx:
        items = [_item(tx, *row) for row in tx.trash.every()]
    return [item for item in items if caller.administers or item.user_name == caller.name]


def trash_page(kelp: Kelp, caller: Caller, limit: int, before: tuple[int, int] | None = None) -> list[TrashItem]:
    """Like `list_trash`, a part of it: what was trashed before `before` (trashed_ns, entry id)."""
    user_id = None if caller.administers else caller.user_id
    with kelp.database.read() as tx:
        return [_item(tx, *row) for row in tx.event_log.trash(limit, before, user_id)]


def _item(tx: Tx, entry: Entry, path: str, *more: Any) -> TrashItem:
    return TrashItem(entry, sealing.shown_trash_path(tx, path), *more)


@retried
def restore(kelp: Kelp, caller: Caller, uuid: str, *, on_conflict: OnConflict = OnConflict.ERROR) -> Entry:
    """Put a trashed entry back where it was; missing folders on the way are made anew (spec §6, trash).

    Something below a trashed folder can be restored alone. Raises NotFound, AlreadyExists, Forbidden, Locked,
    CrossesVault (it would come into a vault that it was not in), InTrash (the vault that it was in is).
    """
    with kelp.database.write() as tx:
        tx.lock_tree(exclusive=True)
        now = kelp.clock.now_ns()
        entry, path = _in_trash(tx, caller, uuid)
        vault_id, path = sealing.way_back(tx, entry, path)
        folder_id = _folder_for(kelp, tx, caller, path[:-1], ROOT_ID if vault_id is None else vault_id)
        here = guard.stand(kelp, tx, caller, Place(folder_id, entry.name))
        sealing.refuse_return(entry, here.seal)
        if here.entry is not None and on_conflict != OnConflict.RENAME:
            raise AlreadyExists(f"there is a {entry.name!r} already", here.entry)
        if here.entry is not None or not guard.claims(kelp, tx, here, on_conflict):
            here = changes.renamed(here, kelp, tx, entry.is_folder)
        guard.confirm_write(tx, caller, here, now)
        place = changes.relocated_place(kelp, tx, entry, folder_id, here.name)
        tx.trash.take(entry.id)
        tx.changed_folders.add(entry.parent_id)
        tx.entries.update(
            entry.id, state=State.ACTIVE.value, parent_id=folder_id,
            **sealing.named(tx, here.seal, here.name, here.key), **place,
        )  # fmt: skip
        changes.place_versions(kelp, tx, entry.id)
        changes.announce(
            kelp, tx, caller, entry.id, entry.kind, EventType.RESTORE, now, target=here.path_of(), litter=here.is_litter
        )
        return guard.reach(tx, caller, entry.id, Level.READ)[0]


def _in_trash(tx: Tx, caller: Caller, uuid: str) -> tuple[Entry, tuple[str, ...]]:
    """A trash item, or something ACTIVE below one, with its original path: `sealing.way_back` reads it."""
    entry = tx.entries.by_uuid(uuid)
    below: list[str] = []
    ancestors = tx.entries.ancestors(entry.id) if entry else []
    for id, state, name in ancestors:
        if state == State.DELETED:
            break
        if state == State.TRASHED and entry is not None:
            record = tx.trash.record(id)
            if record is None:
                break
            _require_own(tx, caller, id, entry)
            return entry, (*tx.seals.open_text(record[0]).strip("/").split("/"), *reversed(below))
        below.append(tx.seals.open_name(name))
    raise NotFound("it is not in the trash")


def _require_own(tx: Tx, caller: Caller, id: int, entry: Entry) -> None:
    """The trash is one's own, as far as one may still write where `entry` was, the item `id` itself or something below
    it; an admin has all of it. Raises Forbidden."""
    row = tx.one("SELECT user_id FROM trash_metadata WHERE entry_id = :id", id=id)
    if not caller.administers and (row is None or row[0] != caller.user_id):
        raise Forbidden("it was put in the trash by someone else")
    chain = [id for id, _, _ in tx.entries.ancestors(entry.id)]
    guard.require(tx, caller, chain if entry.is_folder else chain[1:], Level.WRITE)


def _folder_for(kelp: Kelp, tx: Tx, caller: Caller, path: Sequence[str], folder_id: int) -> int:
    """The folder of that path in another; missing ones are made. A file in the way of a folder: its numbered name."""
    now = kelp.clock.now_ns()
    for name in path:
        there = tx.entries.child(folder_id, sealing.key_in(kelp, tx, folder_id, name))
        if there is not None and there.is_folder:
            folder_id = there.id
            continue
        here = guard.stand(kelp, tx, caller, Place(folder_id, name))
        if here.entry is not None or not guard.claims(kelp, tx, here, OnConflict.RENAME):
            here = changes.renamed(here, kelp, tx, is_folder=True)
        guard.confirm_write(tx, caller, here, now)
        folder_id = folders.insert(kelp, tx, caller, here, now)
    return folder_id


@retried
def purge(kelp: Kelp, caller: Caller, uuid: str) -> None:
    """Delete a trash item for good. Raises NotFound, Forbidden."""
    with kelp.database.write() as tx:
        tx.lock_tree(exclusive=True)
        entry = tx.entries.by_uuid(uuid, stored=True)  # a batch needs no key
        if entry is None or entry.state != State.TRASHED:
            raise NotFound("it is not in the trash")
        _require_own(tx, caller, entry.id, entry)
        if entry.is_folder:
            guard.require_below(tx, caller, entry.id)
        tx.name_memory.settle_of(entry.id)  # who deletes for good does not want it as a version of the next one
        mark_deleted(kelp, tx, caller, None, entry, kelp.clock.now_ns())


def empty_trash(kelp: Kelp, caller: Caller) -> int:
    """Purge every item the caller sees in the trash; how many."""
    count = 0
    for item in list_trash(kelp, caller):
        with contextlib.suppress(
            NotFound, Forbidden
        ):  # restored or purged meanwhile, or not the caller's to change any more
            purge(kelp, caller, item.entry.uuid)
            count += 1
    return count
