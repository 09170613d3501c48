"""Rename and move: one row changes, whatever hangs below it; no bytes move.

Across the border of a vault only a file is moved, whose bytes are sealed anew before: see `crossing`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, CircularMove, CrossesVault, WrongKind
from vfs.metadata.database import Tx
from vfs.metadata.events import awaited
from vfs.metadata.retrying import retried
from vfs.model import Caller, Condition, Entry, EventType, Kind, Level, OnConflict, Outcome, Place
from vfs.operations import busy, changes, crossing, guard, resealing, sealing, trashing
from vfs.operations.guard import Standing
from vfs.operations.relocation import Relocation
from vfs.operations.resealing import Border


def move(
    kelp: Kelp,
    caller: Caller,
    source: Place,
    target: Place,
    *,
    on_conflict: OnConflict = OnConflict.ERROR,
    condition: Condition | None = None,
    mtime_ns: int | None = None,
    seen: Entry | None = None,
    may_stay: bool = False,
    alike: bool = False,
) -> Outcome:
    """Give an entry another name, another folder, or both, in one transaction.

    `seen`: what the caller has just found at the source, if anything; only a hint.
    OVERWRITE: a file moved over a file on a drive face takes over the document's identity (spec §6, versions);
    everything else that gives way goes to the trash. MERGE: a folder into a folder, file by file; a file whose
    name is taken there is kept beside it under a numbered name. Its locks die with the move (RFC 4918 §9.9);
    those of a file that a file replaces stay with the name.
    `may_stay`: to where it is already means that nothing is to be done; else it is a CircularMove.
    `alike`: only a file gives way to a file, and only an empty folder to a folder (POSIX, rename).
    Raises NotFound, ParentNotFound, InvalidName, AlreadyExists, CircularMove, WrongKind (MERGE of a file; not `alike`),
    NotEmpty, Locked, Forbidden, PreconditionFailed, and what `busy` does for callers who do not wait. Across the border
    of a vault CrossesVault (of a folder, or `alike`), and what `resealing.across` does.
    """
    names.check_segment(target.name)
    guard.check_time(mtime_ns)
    change = partial(
        _move, kelp, caller, source, target, on_conflict, condition, mtime_ns, seen=seen, may_stay=may_stay, alike=alike
    )
    return resealing.across(kelp, change)


@retried
def _move(
    kelp: Kelp,
    caller: Caller,
    source: Place,
    target: Place,
    on_conflict: OnConflict,
    condition: Condition | None,
    mtime_ns: int | None,
    border: Border,
    *,
    seen: Entry | None,
    may_stay: bool,
    alike: bool,
) -> Outcome:
    border.begin()
    with kelp.database.write() as tx:
        guard.lock(kelp, tx, source, target, seen=seen)
        now = kelp.clock.now_ns()
        here, entry = guard.stand_on(kelp, tx, caller, source)
        guard.check_condition(tx, here, condition, now)
        there = guard.stand(kelp, tx, caller, target)
        if not guard.claims(kelp, tx, there, on_conflict):
            there = changes.renamed(there, kelp, tx, entry.is_folder)
        moved = Relocation(here, entry, there, now, border, mtime_ns)
        if moved.crosses:
            sealing.refuse_move(entry, by_rename=alike)
        refuse_circle(here, entry, there, on_conflict)
        busy.refuse_change(tx, caller, entry)
        if _is_same(entry, there):
            if not may_stay:
                raise CircularMove("source and target are the same")
            return Outcome(entry)
        if entry.is_folder or (there.entry is not None and there.entry.is_folder):
            tx.require_tree()
        tx.foresee(
            partial(tx.entries.placing, entry.id),
            partial(tx.entries.written_by, entry.id),
            partial(tx.versions.in_tree, entry.id),
        )
        guard.confirm_removal(tx, caller, here, entry, now)
        if there.entry is not None and there.entry.id != entry.id:
            if alike and on_conflict == OnConflict.OVERWRITE:
                _require_alike(tx, entry, there.entry)
            outcome = _into_taken(kelp, tx, caller, moved, on_conflict)
            border.committing = True
            return outcome
        guard.confirm_write(tx, caller, replace(there, entry=None), now)
        moved_id = _relocate(kelp, tx, caller, moved)
        found = tx.last(lambda: guard.again(tx, moved_id))
        border.committing = True
    return Outcome(found.value)


def _require_alike(tx: Tx, entry: Entry, taken: Entry) -> None:
    if entry.is_folder != taken.is_folder:
        raise WrongKind(f"{taken.name!r} is {'a folder' if taken.is_folder else 'no folder'}")
    if taken.is_folder:
        trashing.require_empty(tx, taken)


def _is_same(entry: Entry, there: Standing) -> bool:
    return there.entry is not None and there.entry.id == entry.id and there.name == entry.name


def refuse_circle(here: Standing, entry: Entry, there: Standing, on_conflict: OnConflict) -> None:
    """Raises CircularMove for a target below the entry, and where it would replace itself or a folder it is in."""
    if entry.id in there.chain:
        raise CircularMove("a folder cannot go into itself")
    replaces = on_conflict in (OnConflict.OVERWRITE, OnConflict.MERGE)
    if replaces and there.entry is not None and there.entry.id in here.chain:
        raise CircularMove("it would replace the folder it is in")


def _into_taken(kelp: Kelp, tx: Tx, caller: Caller, moved: Relocation, on_conflict: OnConflict) -> Outcome:
    """The target name is taken by another entry: what the strategy says."""
    entry, there, now = moved.entry, moved.there, moved.now_ns
    taken = there.taken
    if on_conflict == OnConflict.SKIP:
        return Outcome(entry, skipped=True, existing=taken)
    if on_conflict == OnConflict.RENAME:
        there = changes.renamed(there, kelp, tx, entry.is_folder)
        guard.confirm_write(tx, caller, there, now)
        moved_id = _relocate(kelp, tx, caller, replace(moved, there=there))
        return Outcome(guard.again(tx, moved_id))
    if on_conflict == OnConflict.MERGE:
        if not (entry.is_folder and taken.is_folder):
            raise WrongKind("only a folder can be merged, and only into a folder")
        busy.refuse_below(tx, caller, entry)
        _merge(kelp, tx, caller, moved)
        return Outcome(guard.reach(tx, caller, taken.id, Level.READ)[0], replaced=False)
    if on_conflict != OnConflict.OVERWRITE:
        raise AlreadyExists(f"there is a {there.name!r} already", taken, there.path_of(taken.name))
    busy.refuse_trashing(tx, caller, taken, now)
    # What is moved over a locked file is in that lock then (RFC 4918 §7.5), whichever face moved it: davfs2 goes on
    # using its token, and put the user's next save into lost+found when it was gone. The moved file's own locks die.
    held = tx.locks.on([taken.id], now) if entry.kind == taken.kind == Kind.FILE else []
    give_way(kelp, tx, caller, there, taken, successor=entry.kind == Kind.FILE)
    moved_id = _relocate(kelp, tx, caller, moved)
    for lock in held:
        tx.locks.insert(replace(lock, entry_id=moved_id))
    return Outcome(guard.again(tx, moved_id), replaced=True)


def give_way(kelp: Kelp, tx: Tx, caller: Caller, there: Standing, taken: Entry, *, successor: bool) -> None:
    """What has the target name leaves it: a file on a drive face is succeeded, all else goes to the trash."""
    now = kelp.clock.now_ns()
    if taken.is_folder:
        guard.require(tx, caller, (taken.id, *there.chain), Level.WRITE)
        guard.require_below(tx, caller, taken.id)
    guard.confirm_removal(tx, caller, there, taken, now)
    if caller.on_drive and successor and taken.kind == Kind.FILE:
        changes.leave_name(tx, there, taken, now)
        # Its versions pass to what takes its name, in `_relocate`.
        trashing.mark_deleted(kelp, tx, caller, there, taken, now, expire_versions=False)
    else:
        trashing.put_in_trash(kelp, tx, caller, there, taken, now)


def _relocate(kelp: Kelp, tx: Tx, caller: Caller, moved: Relocation) -> int:
    """The one row changes: its name, its folder, its NAS name; locks on it and below it die. Its id, which is another
    one across the border of a vault."""
    here, entry, there = moved.here, moved.entry, moved.there
    times: dict[str, object] = {}
    if moved.mtime_ns is not None:
        times = {"mtime_ns": moved.mtime_ns, "shown_mtime": moved.mtime_ns // changes.SECOND}
    elif entry.kind == Kind.FILE:
        times = {"mtime_ns": entry.mtime_ns, "shown_mtime": _shown_after_move(tx, entry, there, moved.now_ns)}
    if moved.crosses:
        return crossing.relocate(kelp, tx, caller, moved, times)
    number = tx.events.number()
    _relocate_row(kelp, tx, caller, moved, times | awaited(number))
    event = EventType.RENAME if here.folder_id == there.folder_id else EventType.MOVE
    changes.announce(
        kelp, tx, caller, entry.id, entry.kind, event, moved.now_ns,
        source=here.path_of(entry.name), target=there.path_of(), litter=there.is_litter, number=number,
    )  # fmt: skip
    return entry.id


def _relocate_row(kelp: Kelp, tx: Tx, caller: Caller, moved: Relocation, times: dict[str, object]) -> None:
    here, entry, there, now_ns = moved.here, moved.entry, moved.there, moved.now_ns
    place = changes.relocated_place(kelp, tx, entry, there.folder_id, there.name)
    changes.drop_locks(tx, entry, now_ns)
    naming = sealing.named(tx, there.seal, there.name, there.key)
    columns: dict[str, object] = {"parent_id": there.folder_id, **naming, **place, **times}
    if not there.is_litter:
        columns["born_litter"] = False  # a temporary file that gets a document's name is the document from now on
    if entry.kind == Kind.FILE and there.name != entry.name:
        columns["mime_type"] = sealing.typed(tx, entry, changes.mime_type(there.name, entry.mime_type))
    tx.changed_folders.add(here.folder_id)
    tx.entries.update(entry.id, **columns)
    if entry.kind == Kind.FILE:
        changes.place_versions(kelp, tx, entry.id)
    succeeds = entry.kind == Kind.FILE and changes.succeed(kelp, tx, caller, there, entry.id, entry.uuid, now_ns)
    if (here.folder_id, here.key) != (there.folder_id, there.key):
        changes.leave_name(tx, here, entry, now_ns)
    if succeeds:
        tx.name_memory.settle(here.folder_id, here.key)  # its old name was a temporary one: nobody succeeds there
    if entry.kind != Kind.FILE:
        tx.name_memory.settle(there.folder_id, there.key)
    if entry.is_folder and here.is_litter and not there.is_litter:
        for child, _ in tx.entries.below(entry.id):  # what leaves a litter folder is mirrored at once (spec §5)
            tx.events.expedite(child.id, now_ns)
            if not names.is_litter(child.name):
                tx.entries.update(child.id, born_litter=False)


def _shown_after_move(tx: Tx, entry: Entry, there: Standing, now_ns: int) -> int:
    """MOVE over a name changes what the name shows, so it must show another second (clients.md R8).

    Not when it comes back to its own name, nor when the client set its time.
    """
    memory = tx.name_memory.recall(there.folder_id, there.key)
    itself = entry.id in (memory[0] if memory else 0, there.entry.id if there.entry else 0)
    _, written_ns = tx.entries.written_by(entry.id)
    if itself or written_ns != entry.mtime_ns:
        return entry.shown_mtime
    return changes.shown_mtime(tx, there, entry.shown_mtime * changes.SECOND, now_ns, by_client=False)


def _merge(kelp: Kelp, tx: Tx, caller: Caller, moved: Relocation) -> None:
    """Move what is in the folder that is moved into the one at its target, then what is left, which is folders without
    files, to the trash. No recursion: trees have any depth."""
    entry, now = moved.entry, moved.now_ns
    waiting = [(entry, moved.there)]
    while waiting:
        source, target = waiting.pop()
        if source.vault_id != target.taken.vault_id:
            raise CrossesVault(f"the folders {source.name!r} are not of one vault: nothing is merged")
        guard.require(tx, caller, (target.taken.id, *target.chain), Level.WRITE)
        guard.confirm_write(tx, caller, target, now)
        for row in list(tx.entries.children(source.id)):
            inner, child = guard.stand_on(kelp, tx, caller, Place(source.id, row.name))
            goal = guard.stand(kelp, tx, caller, Place(target.taken.id, row.name))
            if goal.entry is None:
                _relocate(kelp, tx, caller, Relocation(inner, child, goal, now, moved.border))
            elif child.is_folder and goal.entry.is_folder:
                waiting.append((child, goal))
            else:
                goal = changes.renamed(goal, kelp, tx, child.is_folder)
                _relocate(kelp, tx, caller, Relocation(inner, child, goal, now, moved.border))
    trashing.put_in_trash(kelp, tx, caller, moved.here, entry, now)
