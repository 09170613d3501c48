"""Copy: new rows that share the contents of the old ones; no bytes are copied, but across the border of a vault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, CircularMove, Conflict, CrossesVault, StoreUnavailable, WrongKind
from vfs.ids import new_id
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import (
    Caller,
    Condition,
    Content,
    Entry,
    EventType,
    Kind,
    Level,
    OnConflict,
    Outcome,
    Place,
    State,
    StoreStatus,
)
from vfs.operations import busy, changes, contents, folders, guard, moving, resealing, sealing, vaults_of, writing
from vfs.operations.guard import Standing
from vfs.operations.resealing import Border


def copy(
    kelp: Kelp,
    caller: Caller,
    source: Place,
    target: Place,
    *,
    on_conflict: OnConflict = OnConflict.ERROR,
    deep: bool = True,
    condition: Condition | None = None,
    mtime_ns: int | None = None,
) -> Outcome:
    """Copy a file, or a folder with (`deep`) or without what is in it, in one transaction.

    A copy over a file keeps the row that is there, with its locks, and makes a version; over anything else
    with OVERWRITE, what is there goes to the trash. Times and dead properties travel. Folders the caller may
    not read are left out. Across the border of a vault all contents are sealed anew first. Raises NotFound,
    ParentNotFound, InvalidName, AlreadyExists, CircularMove, WrongKind, CrossesVault (a vault itself, or one in the
    folder), Locked, Forbidden, PreconditionFailed, what `busy` does of what gives way, and `resealing.across`.
    """
    names.check_segment(target.name)
    guard.check_time(mtime_ns)
    change = partial(_copy, kelp, caller, source, target, on_conflict, deep, condition, mtime_ns)
    return resealing.across(kelp, change)


@retried
def _copy(
    kelp: Kelp,
    caller: Caller,
    source: Place,
    target: Place,
    on_conflict: OnConflict,
    deep: bool,
    condition: Condition | None,
    mtime_ns: int | None,
    border: Border,
) -> Outcome:
    border.begin()
    with kelp.database.write() as tx:
        guard.lock(kelp, tx, source, target)
        now = kelp.clock.now_ns()
        here, entry = guard.stand_on(kelp, tx, caller, source, Level.READ)
        guard.check_condition(tx, here, condition, now)
        there = guard.stand(kelp, tx, caller, target)
        sealing.refuse_vault(entry)
        if there.entry is not None and there.entry.is_folder:
            tx.require_tree()
        if on_conflict == OnConflict.MERGE:
            raise WrongKind("a copy cannot be merged")
        moving.refuse_circle(here, entry, there, on_conflict)
        if there.entry is not None:
            if on_conflict == OnConflict.SKIP:
                return Outcome(entry, skipped=True, existing=there.entry)
            if on_conflict == OnConflict.ERROR:
                taken = there.entry
                raise AlreadyExists(f"there is a {there.name!r} already", taken, there.path_of(taken.name))
            if on_conflict == OnConflict.OVERWRITE and there.entry.id == entry.id:
                raise CircularMove("source and target are the same")
        if (there.entry is not None and on_conflict == OnConflict.RENAME) or not guard.claims(
            kelp, tx, there, on_conflict
        ):
            there = changes.renamed(there, kelp, tx, entry.is_folder)
        replaced = there.entry is not None
        if there.entry is not None and there.entry.kind == entry.kind == Kind.FILE:
            outcome = Outcome(_over(kelp, tx, caller, entry, there, there.entry, mtime_ns, border), replaced=True)
            border.committing = True
            return outcome
        if there.entry is not None:
            busy.refuse_trashing(tx, caller, there.entry, now)
            moving.give_way(kelp, tx, caller, there, there.entry, successor=entry.kind == Kind.FILE)
            there = replace(there, entry=None)
        guard.confirm_write(tx, caller, there, now)
        _require_sealed(tx, caller, entry, there, border, deep)
        copied = _tree(kelp, tx, caller, entry, there, deep, mtime_ns, border)
        outcome = Outcome(guard.reach(tx, caller, copied, Level.READ)[0], replaced=replaced)
        border.committing = True
    return outcome


def _over(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    entry: Entry,
    there: Standing,
    taken: Entry,
    mtime_ns: int | None,
    border: Border,
) -> Entry:
    busy.refuse_change(tx, caller, taken)
    guard.confirm_write(tx, caller, there, kelp.clock.now_ns())
    _require_sealed(tx, caller, entry, there, border)
    content = _content(tx, entry, there, border)
    by_client = mtime_ns is not None
    mtime = entry.mtime_ns if mtime_ns is None else mtime_ns
    mime_type = changes.mime_type(taken.name, entry.mime_type)
    copied = writing.show(kelp, tx, caller, there, taken, content, mtime, by_client=by_client, mime_type=mime_type)
    tx.properties.copy(entry.id, taken.id)
    return copied


def _content(tx: Tx, entry: Entry, there: Standing, border: Border) -> Content:
    """The content of a file, certain not to be freed while the copy is made (design §3); or what was sealed of it for
    the vault that the copy is in."""
    if entry.content_id is None:
        raise WrongKind(f"{entry.name!r} is not a file")
    if sealing.crosses(sealing.seal_of(entry), there.seal):
        return border.content(tx, entry.content_id, there.seal and there.seal.vault_id)
    if not tx.contents.hold(entry.content_id):
        raise StoreUnavailable("the content is just being freed", retry_after=1)
    return contents.get(tx, entry.content_id)


def _require_sealed(tx: Tx, caller: Caller, entry: Entry, there: Standing, border: Border, deep: bool = False) -> None:
    """All contents that a copy across the border of a vault needs are there. Raises `Unsealed`, CrossesVault."""
    if not sealing.crosses(sealing.seal_of(entry), there.seal):
        return
    wanted = [] if entry.content_id is None else [(entry.content_id, entry.size)]
    waiting = [entry.id] if entry.is_folder and deep else []
    while waiting:
        folder_id = waiting.pop()
        hidden = guard.hidden_in(tx, caller, folder_id)
        for row in tx.entries.children(folder_id):
            if row.id in hidden:
                continue
            if row.vault_id != entry.vault_id:
                _refuse_inner_vault(row.name)
            if row.content_id is not None:
                wanted.append((row.content_id, row.size))
            else:
                waiting.append(row.id)
    border.require(wanted, there.seal and there.seal.vault_id, entry.uuid)


def _refuse_inner_vault(name: str) -> None:
    raise CrossesVault(f"{name!r} in it is a vault: copy what is in that by itself, to where it shall be")


def _tree(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    entry: Entry,
    there: Standing,
    deep: bool,
    mtime_ns: int | None,
    border: Border,
) -> int:
    """Copy one entry to a free name, then (`deep`) what is in it; the new id. No recursion: trees have any depth."""
    copied, inner = _one(kelp, tx, caller, entry, there, mtime_ns, border)
    waiting = list(inner) if deep else []
    while waiting:
        child, place = waiting.pop()
        if not sealing.crosses(sealing.seal_of(child), place.seal):
            child = _kept(tx, child)
        _, inner = _one(kelp, tx, caller, child, place, None, border)
        waiting += inner
    return copied


def _one(
    kelp: Kelp, tx: Tx, caller: Caller, entry: Entry, there: Standing, mtime_ns: int | None, border: Border
) -> tuple[int, Iterator[tuple[Entry, Standing]]]:
    """Copy an entry without what is in it; the new id, and what is in it with its place there. Raises CrossesVault: a
    vault in a folder that is none."""
    if entry.is_vault:
        _refuse_inner_vault(entry.name)
    if entry.kind == Kind.FILE:
        return _file(kelp, tx, caller, entry, there, mtime_ns, border), iter(())
    mtime = entry.mtime_ns if mtime_ns is None else mtime_ns
    folder_id = folders.insert(kelp, tx, caller, there, kelp.clock.now_ns(), mtime)
    tx.properties.copy(entry.id, folder_id)
    return folder_id, _inner(kelp, tx, caller, entry, (folder_id, *there.chain), (*there.path, there.name))


def _inner(
    kelp: Kelp, tx: Tx, caller: Caller, folder: Entry, chain: tuple[int, ...], path: tuple[str, ...]
) -> Iterator[tuple[Entry, Standing]]:
    """What the caller may read in a folder, each with its free place in the new folder `chain[0]`."""
    hidden = guard.hidden_in(tx, caller, folder.id)
    for row in list(tx.entries.children(folder.id)):
        child = tx.entries.get(row.id)
        if child is not None and child.id not in hidden:
            key = sealing.key_in(kelp, tx, chain[0], child.name)
            yield child, Standing(chain, path, child.name, key, None, tx.seals.of(chain[0]))


def _kept(tx: Tx, entry: Entry) -> Entry:
    """What is in a folder that is copied, whose rows nobody has locked: as it is by now, when its content can no longer
    go. It may have been saved over since it was listed, and what it showed then be nowhere any more. Raises Conflict:
    it is gone."""
    while entry.content_id is not None and not tx.holds_all:
        tx.look_again("entries")
        tx.foresee(partial(tx.contents.hold, entry.content_id), partial(tx.entries.get, entry.id))
        tx.contents.hold(entry.content_id)
        now = tx.entries.get(entry.id)
        if now is None:
            raise Conflict("a file was removed for good while its folder was copied")
        if now.content_id == entry.content_id:
            break
        entry = replace(now, name=entry.name)
    return entry


def _file(
    kelp: Kelp, tx: Tx, caller: Caller, entry: Entry, there: Standing, mtime_ns: int | None, border: Border
) -> int:
    content = _content(tx, entry, there, border)
    vaults_of.require_same(there.seal, content)
    copy_uuid = new_id()
    now = kelp.clock.now_ns()
    mtime = entry.mtime_ns if mtime_ns is None else mtime_ns
    by_client = mtime_ns is not None or tx.name_memory.recall(there.folder_id, there.key) is None
    entry_id = tx.entries.insert(
        uuid=copy_uuid,
        parent_id=there.folder_id,
        **sealing.born(tx, there.seal, there.name, there.key, changes.mime_type(there.name, entry.mime_type)),
        kind=Kind.FILE.value,
        state=State.ACTIVE.value,
        content_id=content.id,
        content_user_id=caller.user_id,
        content_ns=now,
        size=entry.size,
        mtime_ns=mtime,
        shown_mtime=changes.shown_mtime(tx, there, mtime, now, by_client=by_client),
        created_ns=now,
        registered_ns=now,
        born_litter=there.makes_litter,
        owner_id=caller.user_id,
        nas_status=StoreStatus.SYNCING.value,
        **changes.nas_place(kelp, tx, there.folder_id, there.name, Kind.FILE, (0, copy_uuid), now),
    )
    tx.properties.copy(entry.id, entry_id)
    changes.succeed(kelp, tx, caller, there, entry_id, copy_uuid, now)
    changes.announce(
        kelp, tx, caller, entry_id, Kind.FILE, EventType.COPY, now, target=there.path_of(), litter=there.is_litter
    )
    return entry_id
