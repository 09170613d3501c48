"""Entries by their public id: what programs name them by, whatever they are called by now and wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from vfs.core import Kelp
from vfs.errors import Conflict, Deleted, InTrash, NotFound, PreconditionFailed
from vfs.metadata.database import Tx
from vfs.metadata.figures import Figures, LastEvent
from vfs.model import ROOT_ID, Caller, Condition, Entry, EventStatus, Kind, Level, State, StoreStatus
from vfs.operations import guard, nas_state

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
    with kelp.database.read() as tx:
        return _find(tx, caller, uuid, kind)


def _find(tx: Tx, caller: Caller, uuid: str, kind: Kind) -> Entry:
    entry = tx.entries.get(ROOT_ID) if uuid == ROOT and kind == Kind.FOLDER else tx.entries.by_uuid(uuid)
    if entry is None or entry.kind != kind:
        raise NotFound("it does not exist")
    states = [state for _, state, _ in tx.entries.ancestors(entry.id)]
    chain = [id for id, _, _ in tx.entries.ancestors(entry.id)]
    guard.require(tx, caller, chain if entry.is_folder else chain[1:], Level.READ)
    nearest = next((state for state in states if state != State.ACTIVE), State.ACTIVE)
    if nearest == State.TRASHED:
        raise InTrash("it is in the trash")
    if nearest == State.DELETED:
        raise Deleted("it was deleted for good")
    return entry


def change(kelp: Kelp, caller: Caller, uuid: str, kind: Kind, act: Callable[[Entry, Condition], T]) -> T:
    """Do something to the entry of that id, which operations know by its place: `act` gets what it is now, and a
    condition to hand on, by which they see that the place is still its own. When it was moved meanwhile, again.

    Raises what `find` and `act` raise.
    """
    for _ in range(_TRIES):
        entry = find(kelp, caller, uuid, kind)
        moved = False

        def same(now: Entry | None, _tokens: frozenset[str], wanted: int = entry.id) -> None:
            nonlocal moved
            if now is None or now.id != wanted:
                moved = True
                raise PreconditionFailed("it has another place by now")

        try:
            return act(entry, same)
        except (NotFound, PreconditionFailed):
            if not moved and find(kelp, caller, uuid, kind).place == entry.place:
                raise
    raise Conflict("it is moved all the time")


def facts(kelp: Kelp, caller: Caller, entry: Entry) -> Facts:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry.id, Level.READ)
        figures = Figures(tx)
        event, nas = figures.newest_event(entry.id), nas_state.read_in(tx)
        parent = tx.entries.get(entry.parent_id) if entry.parent_id not in (None, ROOT_ID) else None
        objects = figures.objects_of(entry.content_id) if entry.content_id else {}
        path = "/" + "/".join(tx.entries.path(entry.id))
    open_event = event if event is not None and event.status in _OPEN else None
    return Facts(
        path,
        parent.uuid if parent else None,
        cache_status(objects) if entry.content_id else None,
        entry.nas_status,
        _message(entry, open_event, nas),
        open_event.uuid if open_event else "",
    )


def cache_status(objects: Iterable[str]) -> StoreStatus:
    """Of a content, by those of its objects: the worst of them."""
    found = set(objects)
    return next((status for status in _WORST_FIRST if status in found), StoreStatus.AVAILABLE)


def _message(entry: Entry, event: LastEvent | None, nas: nas_state.NasState) -> str:
    if entry.nas_status == StoreStatus.ERROR:
        return (event.error if event else None) or "it could not be carried to the NAS"
    if entry.nas_status != StoreStatus.SYNCING:
        return ""
    return "on its way to the NAS" if nas.up else f"the NAS is away ({nas.reason}): carried there when it is back"
