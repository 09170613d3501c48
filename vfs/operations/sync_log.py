"""Changes on their way to the NAS, for who may see the entry that changed; and another try for what failed."""

from __future__ import annotations

from dataclasses import dataclass

from vfs.core import Kelp
from vfs.errors import Forbidden, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.event_log import EventRow
from vfs.metadata.retrying import retried
from vfs.model import Caller, EventStatus, EventType, Level, Role
from vfs.operations import changes, guard

__all__ = ["EventRow", "Page", "Wanted", "listing", "one", "retry"]

_LOOKS = 20  # pages that are gone through for one, when most of what is there is not for this caller


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing is narrowed to; None: not by this. `entry_uuid` names a file or a folder."""

    status: EventStatus | None = None
    event_type: EventType | None = None
    entry_uuid: str | None = None
    since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`after`: what to ask with for the next page; None: this was the last."""

    events: tuple[EventRow, ...]
    after: int | None


def listing(kelp: Kelp, caller: Caller, wanted: Wanted, limit: int, after: int | None = None) -> Page:
    """Newest first. An event of an entry that the caller may not read is absent; a page may be short of them.

    Raises InvalidRequest.
    """
    guard.check_time(wanted.since_ns)
    found: list[EventRow] = []
    with kelp.database.scan() as tx:
        for _ in range(_LOOKS):
            rows = tx.event_log.events(
                limit,
                after,
                status=wanted.status,
                event_type=wanted.event_type,
                entry_uuid=wanted.entry_uuid,
                since_ns=wanted.since_ns,
            )
            seen = _readable(tx, caller, rows)
            for row in rows:
                if len(found) == limit:
                    return Page(tuple(found), after)
                after = row.id
                if row.entry_id in seen:
                    found.append(row)
            if len(rows) < limit:
                return Page(tuple(found), None)
    return Page(tuple(found), after)


def one(kelp: Kelp, caller: Caller, uuid: str) -> EventRow:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        return _one(tx, caller, uuid)


def _one(tx: Tx, caller: Caller, uuid: str) -> EventRow:
    row = tx.event_log.event(uuid)
    if row is None or not _readable(tx, caller, [row]):
        raise NotFound("there is no such sync event")
    return row


def _readable(tx: Tx, caller: Caller, rows: list[EventRow]) -> set[int]:
    """Entries of these events that the caller may read. By where they are now, or were when they went."""
    ids = {row.entry_id for row in rows}
    if caller.role == Role.ADMIN or not tx.grants.any():
        return ids if guard.level_of(tx, caller, ()) >= Level.READ else set()
    levels: dict[tuple[int, ...], Level] = {}
    chains = tx.event_log.chains(ids)
    for chain in set(chains.values()):
        levels[chain] = guard.level_of(tx, caller, chain)
    return {id for id, chain in chains.items() if levels[chain] >= Level.READ}


@retried
def retry(kelp: Kelp, caller: Caller, uuid: str) -> tuple[EventRow, int]:
    """What FAILED of the event's entry is due again: the event as it is then, and how many of them.

    What did not fail stays as it is, so two who ask at once do no harm. Raises NotFound, Forbidden.
    """
    with kelp.database.write() as tx:
        row = _one(tx, caller, uuid)
        if not caller.administers:
            raise Forbidden("only an admin may have it tried again")
        now = kelp.clock.now_ns()
        count = tx.events.retry_failed(row.entry_id, now)
        if count:
            tx.after_commit(lambda: changes.nudge(kelp, row.entry_id, row.trace_id, now))
        return _one(tx, caller, uuid), count
