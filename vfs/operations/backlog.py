"""How far the mirror is: for `kelp status`, `kelp sync wait`, `kelp sync retry`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.metadata.retrying import retried
from vfs.operations import nas_state


@dataclass(frozen=True, slots=True)
class Backlog:
    """Entries on their way to the NAS. `oldest_ns`: when the oldest change not carried was made; None: none."""

    pending: int
    processing: int
    failed: int
    bytes: int
    oldest_ns: int | None
    nas_up: bool
    nas_reason: str
    nas_since_ns: int


@dataclass(frozen=True, slots=True)
class EventInfo:
    uuid: str
    event_type: str
    status: str
    source_path: str | None
    target_path: str | None
    retry_count: int
    error_message: str | None
    created_ns: int


class Waited(Enum):
    MIRRORED = "mirrored"
    FAILED = "failed"
    TIMED_OUT = "timed out"


def backlog(kelp: Kelp) -> Backlog:
    with kelp.database.scan() as tx:
        counts = tx.events.counts()
        size = tx.events.backlog_bytes()
        oldest = tx.events.oldest_ns()
    state = nas_state.read(kelp)
    return Backlog(
        counts.get("PENDING", 0), counts.get("PROCESSING", 0), counts.get("FAILED", 0), size, oldest,
        state.up, state.reason, state.since_ns,
    )  # fmt: skip


def waiting(kelp: Kelp) -> int:
    """Changes that are not on the NAS yet."""
    with kelp.database.scan() as tx:
        counts = tx.events.counts()
    return counts.get("PENDING", 0) + counts.get("PROCESSING", 0)


def next_due_ns(kelp: Kelp) -> int | None:
    """When the next change that nobody is at may be carried: a time that is past, or to come; None: there is none."""
    with kelp.database.read() as tx:
        row = tx.one(
            """SELECT scheduled_ns FROM sync_events s
               WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') AND status = 'PENDING'
                 AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = s.aggregate_id)
               ORDER BY scheduled_ns LIMIT 1"""
        )
    return int(row[0]) if row else None


def note_queue_away(kelp: Kelp, since_ns: int) -> None:
    """Remember, for whoever asks later, since when the queue cannot be reached; 0: it can."""
    with kelp.database.write() as tx:
        tx.accounts.set_value("queue_away_ns", str(since_ns))


def queue_away_since_ns(kelp: Kelp) -> int:
    """As last noted by a worker; 0: it was reached."""
    with kelp.database.read() as tx:
        return int(tx.accounts.value("queue_away_ns") or 0)


def events(kelp: Kelp, limit: int = 50, status: str | None = None) -> list[EventInfo]:
    """Newest first."""
    with kelp.database.scan() as tx:
        return [EventInfo(*row) for row in tx.events.listing(limit, status)]


def wait_until_mirrored(
    kelp: Kelp,
    timeout: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    interval: float = 0.2,
) -> Waited:
    """Wait until every change committed before the call is on the NAS; litter that still waits does not count.

    Waits through an outage. `on_progress(open, failed)` is called at each look, `interval` seconds apart.
    """
    now = kelp.clock.now_ns()
    deadline = None if timeout is None else time.monotonic() + timeout
    with kelp.database.read() as tx:
        upto = tx.events.last_id()
    while True:
        with kelp.database.scan() as tx:
            waiting, failed = tx.events.open_upto(upto, now)
        if on_progress is not None:
            on_progress(waiting, failed)
        if not waiting:
            return Waited.FAILED if failed else Waited.MIRRORED
        if deadline is not None and time.monotonic() >= deadline:
            return Waited.TIMED_OUT
        time.sleep(interval)


@retried
def retry_failed(kelp: Kelp, event_uuid: str | None = None) -> int:
    """FAILED events are due again: one, with all of its entry, or all; how many. Raises NotFound."""
    with kelp.database.write() as tx:
        entry_id = None
        if event_uuid is not None:
            found = tx.events.by_uuid(event_uuid)
            if found is None:
                raise NotFound(f"there is no sync event {event_uuid}")
            entry_id = found[0]
        return tx.events.retry_failed(entry_id, kelp.clock.now_ns())
