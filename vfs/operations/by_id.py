"""Entries by their public id: what programs name them by, whatever they are called by now and wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from vfs.core import Kelp
from vfs.errors import Conflict, Deleted, Forbidden, InTrash, NotFound, ParentNotFound, PreconditionFailed
from vfs.metadata.database import Tx
from vfs.metadata.figures import Figures
from vfs.metadata.listing import Listing
from vfs.model import (
    ROOT_ID,
    Caller,
    Condition,
    Entry,
    EventStatus,
    Kind,
    Level,
    OnConflict,
    Outcome,
    Place,
    State,
    StoreStatus,
)
from vfs.operations import copying, folders, guard, moving, nas_state, trashing

T = TypeVar("T")
ROOT = "root"  # how the drive itself may be named, beside its own id
_TRIES = 20
_OPEN = (EventStatus.PENDING, EventStatus.PROCESSING, EventStatus.FAILED)
_WORST_FIRST = (
    *(StoreStatus.ERROR, StoreStatus.MISSING, StoreStatus.EVICTING),
    *(StoreStatus.SYNCING, StoreStatus.PENDING),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a face shows of an entry beside its row. `parent_uuid` None: it lies in the root, or is it."""

    path: str
    parent_uuid: str | None
    cache: StoreStatus | None  # of its content; None for a folder
    nas: StoreStatus | None
    message: str  # "" unless there is something to tell of its way to the NAS
    event_uuid: str  # of the newest change that is on its way, "" when there is none


def find(kelp: Kelp, caller: Caller, uuid: str, kind: Kind) -> Entry:
    """Raises NotFound, Deleted, InTrash."""
    key = ("by id", caller.rights, uuid, kind)
    return kelp.database.recall(key, lambda tx: _find(tx, caller, uuid, kind))


def _find(tx: Tx, caller: Caller, uuid: str, kind: Kind) -> Entry:
    if uuid == ROOT and kind == Kind.FOLDER:
        entry = tx.entries.get(ROOT_ID)
    else:
        entry = tx.entries.by_uuid(uuid) if uuid.isprintable() else None  # PostgreSQL takes no NUL
    if entry is None or entry.kind != kind:
        raise NotFound("it does not exist")
    above = tx.entries.ancestors(entry.id)
    chain = [id for id, _, _ in above]
    guard.require(tx, caller, chain if entry.is_folder else chain[1:], Level.READ)
    nearest = next((state for _, state, _ in above if state != State.ACTIVE), State.ACTIVE)
    if nearest == State.TRASHED:
        raise InTrash("it is in the trash")
    if nearest == State.DELETED:
        raise Deleted("it was deleted for good")
    return entry


def change(kelp: Kelp, caller: Caller, uuid: str, kind: Kind, act: Callable[[Entry, Condition], T]) -> T:
    """Do something to the entry of that id, which operations know by its place: `act` gets what it is now, and a
    condition to hand on, by which they see that the place is still its own. When it was moved meanwhile, again.

    Raises Forbidden for the drive itself, and what `find` and `act` raise.
    """
    for _ in range(_TRIES):
        entry = find(kelp, caller, uuid, kind)
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


# --- what is shown ---


def facts(kelp: Kelp, entry: Entry) -> Facts:
    """Of an entry that the caller has just found or changed."""
    with kelp.database.read() as tx:
        figures, nas = Figures(tx), nas_state.read_in(tx)
        event = figures.open_event(entry.id)
        parent = tx.entries.get(entry.parent_id) if entry.parent_id not in (None, ROOT_ID) else None
        objects = figures.objects_of(entry.content_id) if entry.content_id else {}
        path = "/" + "/".join(tx.entries.path(entry.id))
    is_open = event is not None and event.status in _OPEN
    return Facts(
        path,
        parent.uuid if parent else None,
        cache_status(objects) if entry.content_id else None,
        entry.nas_status,
        nas_message(entry, event.error if event and is_open else None, nas),
        event.uuid if event and is_open else "",
    )


def cache_status(objects: Iterable[str]) -> StoreStatus:
    """Of a content, by those of its objects: the worst of them."""
    found = set(objects)
    return next((status for status in _WORST_FIRST if status in found), StoreStatus.AVAILABLE)


def nas_message(entry: Entry, error: str | None, nas: nas_state.NasState) -> str:
    """What there is to tell of its way to the NAS, "" when nothing; `error` of the change that is on its way.

    Why the NAS is away names folders of the server: that is for those who look after it.
    """
    if entry.nas_status == StoreStatus.ERROR:
        return error or "it could not be carried to the NAS"
    if entry.nas_status != StoreStatus.SYNCING:
        return ""
    return "on its way to the NAS" if nas.up else "the NAS is away: carried there when it is back"
