"""SQL of what monitors ask every few seconds: each statement walks an index of what is open, never a whole table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_OPEN = "status IN ('PENDING', 'PROCESSING', 'FAILED')"  # as in the index `sync_events_due`, or SQLite does not use it


@dataclass(frozen=True, slots=True)
class Waiting:
    """Entries with a change that the NAS lacks. `oldest_ns`: when the oldest such change was made; None: there is none.

    `retried`: entries among them whose carrying failed at least once, by a fault of their own.
    """

    pending: int
    processing: int
    failed: int
    retried: int
    oldest_ns: int | None


class SyncState(NamedTuple):
    """`status`: SYNCING, AVAILABLE or ERROR. `message`: what went wrong with the newest change, None: nothing."""

    status: str
    message: str | None


class LastEvent(NamedTuple):
    """The newest change of an entry, as the mirror has it."""

    uuid: str
    event_type: str
    status: str
    retries: int
    error: str | None
    trace_id: str
    created_ns: int
    processed_ns: int | None
    scheduled_ns: int


class Figures:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def waiting(self) -> Waiting:
        """As long as the backlog: 1,000,000 changes take a second or two."""
        row = self._tx.one(
            f"""SELECT COUNT(DISTINCT CASE WHEN status = 'PENDING' THEN aggregate_id END),
                       COUNT(DISTINCT CASE WHEN status = 'PROCESSING' THEN aggregate_id END),
                       COUNT(DISTINCT CASE WHEN status = 'FAILED' THEN aggregate_id END),
                       COUNT(DISTINCT CASE WHEN status <> 'FAILED' AND retry_count > 0 THEN aggregate_id END),
                       MIN(CASE WHEN status <> 'FAILED' THEN created_ns END)
                FROM sync_events WHERE {_OPEN}"""
        )
        return Waiting(*row)

    def open_alerts(self) -> dict[tuple[str, ...], float]:
        """How many are open, by kind and severity."""
        rows = self._tx.all("SELECT kind, severity, COUNT(*) FROM alerts WHERE closed_ns IS NULL GROUP BY 1, 2")
        return {(kind, severity): count for kind, severity, count in rows}

    def locks(self, now_ns: int) -> int:
        """Live DAV locks."""
        return int(self._tx.one("SELECT COUNT(*) FROM dav_locks WHERE expires_ns > :now", now=now_ns)[0])

    def uploads(self) -> int:
        """Multipart uploads that may go on."""
        sql = "SELECT COUNT(*) FROM upload_sessions WHERE status IN ('INIT', 'UPLOADING')"
        return int(self._tx.one(sql)[0])

    def unsettled(self) -> dict[str, int]:
        """Objects on their way out of the cache or into it, or bad everywhere, by status."""
        rows = self._tx.all(
            """SELECT status, COUNT(*) FROM objects
               WHERE status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR') GROUP BY status"""
        )
        return dict(rows)

    def carriers(self, now_ns: int) -> int:
        """Entries that a worker is carrying to the NAS just now."""
        return int(self._tx.one("SELECT COUNT(*) FROM mirror_leases WHERE expires_ns > :now", now=now_ns)[0])

    def objects_of(self, content_id: str) -> dict[str, tuple[int, int]]:
        """How many objects of a content the cache has in each status, and their bytes."""
        rows = self._tx.all(
            """SELECT o.status, COUNT(*), COALESCE(SUM(o.size), 0) FROM contents c
               LEFT JOIN file_parts p ON p.content_id = c.id AND c.parts > 1
               JOIN objects o ON o.key = COALESCE(p.object_key, c.id) AND c.parts > 0
               WHERE c.id = :id GROUP BY o.status""",
            id=content_id,
        )
        return {status: (int(count), int(size)) for status, count, size in rows}

    def newest_event(self, entry_id: int) -> LastEvent | None:
        """Looks at all that the entry ever had."""
        sql = f"SELECT {_EVENT} FROM sync_events s WHERE s.aggregate_id = :id ORDER BY s.id DESC LIMIT 1"
        row = self._tx.one(sql, id=entry_id)
        return LastEvent(*row) if row else None

    def open_event(self, entry_id: int) -> LastEvent | None:
        """The newest that is not done, at once: of a file that is written all day thousands are."""
        sql = f"SELECT {_EVENT} FROM entries e JOIN sync_events s ON s.id = e.active_sync_event_id WHERE e.id = :id"
        row = self._tx.one(sql, id=entry_id)
        return LastEvent(*row) if row else None

    def readers(self, content_id: str, now_ns: int) -> list[tuple[str, int]]:
        """(process, until when it is noted) of who reads a content."""
        sql = "SELECT owner, expires_ns FROM reader_leases WHERE content_id = :id AND expires_ns > :now ORDER BY owner"
        return [(row[0], row[1]) for row in self._tx.all(sql, id=content_id, now=now_ns)]

    def sync_state(self, entry_id: int) -> SyncState:
        return SyncState(*self._tx.one(f"{_SYNC_STATE} WHERE e.id = :id", id=entry_id)[1:])

    def sync_states_of_children(self, folder_id: int) -> dict[int, SyncState]:
        rows = self._tx.all(f"{_SYNC_STATE} WHERE e.parent_id = :folder AND e.state = 'ACTIVE'", folder=folder_id)
        return {row[0]: SyncState(*row[1:]) for row in rows}


_EVENT = """s.uuid, s.event_type, s.status, s.retry_count, s.error_message, s.trace_id, s.created_ns,
            s.processed_ns, s.scheduled_ns"""
_SYNC_STATE = """SELECT e.id, e.nas_status, s.error_message
                 FROM entries e LEFT JOIN sync_events s ON s.id = e.active_sync_event_id"""
