"""Entries by their public id: what programs name them by, whatever they are called by now and wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vfs.core import Kelp
from vfs.errors import Conflict, Deleted, Forbidden, InTrash, NotFound, ParentNotFound, PreconditionFailed
from vfs.metadata.database import Tx
from vfs.metadata.figures import Figures
from vfs.metadata.listing import Listing
from vfs.model import Caller, Condition, Entry, Kind, Level, OnConflict, Outcome, Place, State
from vfs.operations import copying, folders, guard, moving, trashing

T = TypeVar("T")
ROOT = "root"  # how the drive itself may be named, beside its own id
_TRIES = 20


def find(kelp: Kelp, caller: Caller, uuid: str, kind: Kind) -> Entry:
    """Raises NotFound, Deleted, InTrash."""
    key = ("by id", caller.rights, uuid, kind)
    return kelp.database.recall(key, lambda tx: _find(tx, caller, uuid, kind))


def _find(tx: Tx, caller: Caller, uuid: str, kind: Kind) -> Entry:
    """One statement where nobody was granted anything: on PostgreSQL more of them are a transaction."""
    is_root = uuid == ROOT and kind == Kind.FOLDER
    found = tx.entries.way_to(None if is_root else uuid) if uuid.isprintable() else None  # PostgreSQL takes no NUL
    if found is None or found[0].kind != kind:
        raise NotFound("it does not exist")
    entry, above, any_grants = found
    if any_grants:
        chain = [id for id, _ in above]
        guard.require(tx, caller, chain if entry.is_folder else chain[1:], Level.READ)
    nearest = next((state for _, state in above if state != State.ACTIVE), State.ACTIVE)
    if nearest == State.TRASHED:
        raise InTrash("it is in the trash")
    if nearest == State.DELETED:
        raise Deleted("it was deleted for good")
    return entry


def change(
    kelp: Kelp, caller: Caller, uuid: str, kind: Kind, act: Callable[[Entry, Condition], T], seen: Entry | None = None
) -> T:
    """Do something to the entry of that id, which operations know by its place: `act` gets what it is now, and a
    condition to hand on, by which they see that the place is still its own. When it was moved meanwhile, again.

    `seen`: what the caller found a moment ago. Raises Forbidden for the drive itself, and what `find` and `act` raise.
    """
    for _ in range(_TRIES):
        entry, seen = seen or find(kelp, caller, uuid, kind), None
        if entry.is_root:
            raise Forbidden("the drive itself stays where it is")
        moved = False

        def same(now: Entry | None, _tokens: frozenset[str], wanted: Entry = entry) -> None:
            nonlocal moved
            if now is None or (now.id, now.uuid) != (wanted.id, wanted.uuid):  # documents change rows (safe saves)
                moved = True
                raise PreconditionFailed("it has another place by now")

        try:
            return act(entry, same)
        except (NotFound, PreconditionFailed):
            if not moved and find(kelp, caller, uuid, kind).place == entry.place:
                raise
    raise Conflict("it is moved all the time")


# --- what can be done ---


def folder(kelp: Kelp, caller: Caller, uuid: str | None) -> Entry:
    """The folder that something is to be in; None: the root. Raises ParentNotFound."""
    try:
        return find(kelp, caller, uuid or ROOT, Kind.FOLDER)
    except (NotFound, InTrash) as error:
        raise ParentNotFound("the folder does not exist") from error


def make_folder(kelp: Kelp, caller: Caller, parent: str | None, name: str, on_conflict: OnConflict) -> Entry:
    """Raises as `folders.make_folder`."""
    place = Place(folder(kelp, caller, parent).id, name)
    return folders.make_folder(kelp, caller, place, on_conflict=on_conflict)


def rename(kelp: Kelp, caller: Caller, uuid: str, kind: Kind, name: str, on_conflict: OnConflict) -> Outcome:
    """Raises as `find` and `moving.move`."""

    def act(entry: Entry, same: Condition) -> Outcome:
        goal = Place(entry.place.folder_id, name)
        return moving.move(
            kelp, caller, entry.place, goal, on_conflict=on_conflict, condition=same, seen=entry, may_stay=True
        )

    return change(kelp, caller, uuid, kind, act)


def move(
    kelp: Kelp, caller: Caller, uuid: str, kind: Kind, target: str | None, name: str | None, on_conflict: OnConflict
) -> Outcome:
    """Into the folder `target` (None: the root), there under `name` (None: its own). Raises as `find` and
    `moving.move`; ParentNotFound when the target is missing."""

    def act(entry: Entry, same: Condition) -> Outcome:
        goal = Place(folder(kelp, caller, target).id, entry.name if name is None else name)
        return moving.move(
            kelp, caller, entry.place, goal, on_conflict=on_conflict, condition=same, seen=entry, may_stay=True
        )

    return change(kelp, caller, uuid, kind, act)


def copy(
    kelp: Kelp, caller: Caller, uuid: str, kind: Kind, target: str | None, name: str | None, on_conflict: OnConflict
) -> Outcome:
    """As `move`; a folder with all that is in it. Raises as `find` and `copying.copy`."""

    def act(entry: Entry, same: Condition) -> Outcome:
        goal = Place(folder(kelp, caller, target).id, entry.name if name is None else name)
        return copying.copy(kelp, caller, entry.place, goal, on_conflict=on_conflict, condition=same)

    return change(kelp, caller, uuid, kind, act)


@dataclass(frozen=True, slots=True)
class Trashed:
    """`below`: files and folders that went along. `event_uuid` as in `Facts`."""

    entry: Entry
    event_uuid: str
    below: int


def trash(kelp: Kelp, caller: Caller, uuid: str, kind: Kind) -> Trashed:
    """Raises as `find` and `trashing.remove`."""

    def act(entry: Entry, same: Condition) -> Entry:
        trashing.remove(kelp, caller, entry.place, condition=same, seen=entry)
        return entry

    entry = change(kelp, caller, uuid, kind, act)
    with kelp.database.scan() as tx:  # nobody reaches what is in it now, so it can be counted without holding it
        event = Figures(tx).open_event(entry.id)
        below = Listing(tx).count_below(entry.id) if entry.is_folder else 0
    return Trashed(entry, event.uuid if event else "", below)
