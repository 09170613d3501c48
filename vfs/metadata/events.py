"""SQL of sync events: the outbox that the mirror works off, and the history of what it was asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vfs import trace
from vfs.metadata import event_numbers
from vfs.metadata.lists import listed
from vfs.model import EventType, Kind, StoreStatus

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# Said beside the status wanted, word for word as in the index `sync_events_due`: without it SQLite does not see that
# the index has all such rows, and looks at every event there ever was (18 ms at 200,000, several times a second).
_OPEN = "status IN ('PENDING', 'PROCESSING', 'FAILED')"
TARGET_DELETED = "TARGET_FOLDER_DELETED"  # how the message of an event begins whose target folder was gone
# … which is FAILED until a person changes something: not covered by the change that brought the file back home.
_HOMELESS = f"status = 'FAILED' AND error_message LIKE '{TARGET_DELETED}%'"
_NOBODYS = "AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = sync_events.aggregate_id)"

_INSERT, _INSERT_NUMBERED = (
    f"""INSERT INTO sync_events ({id}uuid, event_type, status, aggregate_type, aggregate_id, source_path,
                                 target_path, trace_id, scheduled_ns, litter, created_ns)
        VALUES ({value}:uuid, :event, 'PENDING', :kind, :entry, :source, :target, :trace, :scheduled, :litter, :now)"""
    for id, value in (("", ""), ("id, ", ":id, "))
)

_JOINED_WITHIN_NS = 2_000_000_000  # of a program that makes a file and closes it; what comes later is news
# Of events that are not carried: whether one is as `Events.to_join` wants it.
_TO_JOIN = f"""SELECT id, status = 'PENDING' AND event_type = 'SYNC' AND retry_count = 0 AND litter = :litter
                   AND created_ns BETWEEN :now - {_JOINED_WITHIN_NS} AND :now AND scheduled_ns <= :now {_NOBODYS}
               FROM sync_events WHERE aggregate_id = :id AND {_OPEN} LIMIT 2"""


def awaited(number: int | None) -> dict[str, object]:
    """The columns of an entry that waits for that event, which has the number of `Events.number`."""
    return {"nas_status": StoreStatus.SYNCING.value, "active_sync_event_id": number}


class Events:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._numbered = 0  # the last one that this transaction gave a number

    def number(self) -> int | None:
        """What the next event will have, to be noted in its entry's row along with what changes there (`awaited`), and
        to be given to `add`. None where asking would be a round trip, and nobody foresaw it: then `add` notes it."""
        if not self._tx.commits_in_order:
            return self._tx.new_id("sync_events")
        if not self._numbered:  # then this transaction has made none
            self._numbered = self._tx.last_event_id or 0
        if not self._numbered:
            self._numbered = self._tx.one(f"SELECT {event_numbers.LAST}")[0]
        self._numbered += 1
        return self._numbered

    def to_join(self, entry_id: int, now_ns: int, *, litter: bool) -> int | None:
        """The number of an event that may stand for one more new content: the only one of the entry that is not
        carried, made a moment ago, and nobody is at it or has been. Who carries it looks at what the entry shows when
        he begins.

        None, too, where asking would be a round trip.
        """
        if not self._tx.commits_in_order:
            return None
        rows = self._tx.all(_TO_JOIN, id=entry_id, now=now_ns, litter=litter)
        return rows[0][0] if len(rows) == 1 and rows[0][1] else None

    @trace.step("db.sync_event_insert")
    def add(
        self,
        entry_id: int,
        kind: Kind,
        event: EventType,
        *,
        source: str | None,
        target: str | None,
        trace_id: str,
        now_ns: int,
        scheduled_ns: int,
        litter: bool,
        number: int | None = None,
    ) -> None:
        """Write the outbox row of a change and mark the entry SYNCING, unless its row has the event's `number`."""
        id = self.number() if number is None else number
        event_uuid = event_numbers.uuid_of(id)
        self._tx.run(
            _INSERT if id is None else _INSERT_NUMBERED,
            id=id,
            uuid=event_uuid,
            event=event.value,
            kind="FOLDER" if kind == Kind.FOLDER else "FILE",
            entry=entry_id,
            source=source,
            target=target,
            trace=trace_id,
            scheduled=scheduled_ns,
            litter=litter,
            now=now_ns,
        )
        if number is None:
            self._note(entry_id, event_uuid)

    def _note(self, entry_id: int, event_uuid: str) -> None:
        with trace.span("db.storage_object_update"):
            self._tx.run(  # by its uuid: asking for the number would be a round trip
                """UPDATE entries SET nas_status = 'SYNCING',
                          active_sync_event_id = (SELECT id FROM sync_events WHERE uuid = :event) WHERE id = :id""",
                id=entry_id,
                event=event_uuid,
            )

    def due(self, now_ns: int, limit: int) -> list[int]:
        """Entries with a change to carry and nobody at it, oldest first (an entry may stand in it twice)."""
        rows = self._tx.all(
            f"""SELECT aggregate_id FROM sync_events s WHERE {_OPEN} AND status = 'PENDING' AND scheduled_ns <= :now
               AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = s.aggregate_id)
               ORDER BY scheduled_ns, id LIMIT :limit""",
            now=now_ns,
            limit=limit,
        )
        return [row[0] for row in rows]

    def due_are(self, these: Collection[EventType], now_ns: int, most: int) -> bool:
        """Whatever waits to be carried now is of these kinds. False where so many wait: it looks at no more of them."""
        marks, values = listed(sorted(these))
        count, of_these = self._tx.one(
            f"""SELECT COUNT(*), SUM(CASE WHEN event_type IN ({marks}) THEN 1 ELSE 0 END) FROM (
                    SELECT event_type FROM sync_events WHERE {_OPEN} AND status = 'PENDING' AND scheduled_ns <= :now
                    LIMIT :most) due""",
            now=now_ns,
            most=most,
            **values,
        )
        return bool(count == (of_these or 0) and count < most)

    def newest(self, entry_id: int) -> int | None:
        """The newest event of an entry that is not carried yet."""
        sql = "SELECT MAX(id) FROM sync_events WHERE aggregate_id = :id AND status IN ('PENDING', 'PROCESSING')"
        row = self._tx.one(sql, id=entry_id)
        return row[0] if row else None

    def traces(self, event_ids: Sequence[int]) -> dict[int, str]:
        """Trace ids of the requests that made these events."""
        marks, values = listed(event_ids)
        rows = self._tx.all(f"SELECT id, trace_id FROM sync_events WHERE id IN ({marks})", **values)
        return {row[0]: row[1] for row in rows}

    def has_failed(self, entry_id: int) -> bool:
        """It could not be carried, for good or so far."""
        sql = """SELECT 1 FROM sync_events WHERE aggregate_id = :id AND (status = 'FAILED'
                 OR status IN ('PENDING', 'PROCESSING') AND retry_count > 0) LIMIT 1"""
        return self._tx.one(sql, id=entry_id) is not None

    def start(self, entry_ids: Sequence[int]) -> None:
        marks, values = listed(entry_ids)
        self._tx.run(
            f"UPDATE sync_events SET status = 'PROCESSING' WHERE aggregate_id IN ({marks}) AND status = 'PENDING'",
            **values,
        )

    def cover(self, upto: Mapping[int, int], now_ns: int, status: str = "DONE") -> None:
        """The NAS has what the events of these entries up to those asked for."""
        self._tx.many(
            f"""UPDATE sync_events SET status = :status, processed_ns = :now
               WHERE aggregate_id = :id AND id <= :upto AND status IN ('PENDING', 'PROCESSING', 'FAILED')
               AND NOT ({_HOMELESS} AND processed_ns >= (SELECT created_ns FROM sync_events WHERE id = :upto))""",
            [{"id": id, "upto": event, "now": now_ns, "status": status} for id, event in upto.items()],
        )

    def await_none(self, upto: Mapping[int, int]) -> None:
        """These entries wait for none of their events up to those any more."""
        self._tx.many(
            """UPDATE entries SET nas_status = 'AVAILABLE', active_sync_event_id = NULL
               WHERE id = :id AND active_sync_event_id <= :upto""",
            [{"id": id, "upto": event} for id, event in upto.items()],
        )

    def put_off(self, entry_id: int, until_ns: int) -> None:
        """Give the entry back without using up a retry."""
        self._tx.run(
            """UPDATE sync_events SET status = 'PENDING',
                      scheduled_ns = CASE WHEN scheduled_ns > :until THEN scheduled_ns ELSE :until END
               WHERE aggregate_id = :id AND status IN ('PENDING', 'PROCESSING')""",
            id=entry_id,
            until=until_ns,
        )

    def retries(self, entry_id: int) -> int:
        sql = """SELECT COALESCE(MIN(retry_count), 0) FROM sync_events
                 WHERE aggregate_id = :id AND status IN ('PENDING', 'PROCESSING')"""
        return int(self._tx.one(sql, id=entry_id)[0])

    def retry_later(self, entry_id: int, until_ns: int, message: str) -> None:
        self._tx.run(
            """UPDATE sync_events SET status = 'PENDING', scheduled_ns = :until, retry_count = retry_count + 1,
                      error_message = :message
               WHERE aggregate_id = :id AND status IN ('PENDING', 'PROCESSING')""",
            id=entry_id,
            until=until_ns,
            message=message,
        )

    @trace.step("db.sync_event_failed")
    def fail(self, entry_id: int, upto: int, message: str, now_ns: int) -> None:
        self._tx.run(
            """UPDATE sync_events SET status = 'FAILED', error_message = :message, processed_ns = :now
               WHERE aggregate_id = :id AND id <= :upto AND status IN ('PENDING', 'PROCESSING')""",
            id=entry_id,
            upto=upto,
            message=message,
            now=now_ns,
        )
        sql = "UPDATE entries SET nas_status = 'ERROR' WHERE id = :id AND active_sync_event_id <= :upto"
        with trace.span("db.storage_error"):
            self._tx.run(sql, id=entry_id, upto=upto)

    def came_from(self, entry_id: int) -> str | None:
        """The path that an entry had before its last move that was not carried."""
        row = self._tx.one(
            f"""SELECT source_path FROM sync_events WHERE aggregate_id = :id AND {_OPEN}
                AND event_type IN ('MOVE', 'RENAME') AND source_path IS NOT NULL ORDER BY id LIMIT 1""",
            id=entry_id,
        )
        return row[0] if row else None

    def retry_failed(self, entry_id: int | None, now_ns: int) -> int:
        """FAILED events (of one entry, or all) are due again; how many."""
        of_one = "" if entry_id is None else " AND aggregate_id = :id"
        failed = f"{_OPEN} AND status = 'FAILED'{of_one}"
        values = {} if entry_id is None else {"id": entry_id}
        self._tx.run(
            f"""UPDATE entries SET nas_status = 'SYNCING'
                WHERE nas_status = 'ERROR' AND id IN (SELECT aggregate_id FROM sync_events WHERE {failed})""",
            **values,
        )
        sql = f"""UPDATE sync_events SET status = 'PENDING', retry_count = 0, scheduled_ns = :now, processed_ns = NULL
                  WHERE {failed}"""
        return self._tx.count(sql, now=now_ns, **values)

    def any_abandoned(self, now_ns: int) -> bool:
        """There is something for `give_back_abandoned` or `pull_back`."""
        row = self._tx.one(
            f"""SELECT EXISTS (SELECT 1 FROM sync_events WHERE {_OPEN} AND status = 'PROCESSING' {_NOBODYS})
                    OR EXISTS (SELECT 1 FROM sync_events WHERE {_OPEN} AND status = 'PENDING' AND created_ns > :now)""",
            now=now_ns,
        )
        return bool(row[0])

    def give_back_abandoned(self) -> None:
        """PROCESSING with nobody at it (its worker died and was settled) is PENDING again."""
        self._tx.run(f"UPDATE sync_events SET status = 'PENDING' WHERE {_OPEN} AND status = 'PROCESSING' {_NOBODYS}")

    def pull_back(self, now_ns: int) -> None:
        """Changes made "in the future" (the clock was set back since) are due now, not when it gets there again."""
        self._tx.run(
            f"""UPDATE sync_events SET scheduled_ns = :now, created_ns = :now
                WHERE {_OPEN} AND status = 'PENDING' AND created_ns > :now""",
            now=now_ns,
        )

    # --- what would wait for ever ---

    def is_open(self, entry_id: int) -> bool:
        """Some event of the entry is not carried: it waits, is at work, or FAILED."""
        sql = f"SELECT 1 FROM sync_events WHERE aggregate_id = :id AND {_OPEN} LIMIT 1"
        return self._tx.one(sql, id=entry_id) is not None

    def any_scheduled_after(self, when_ns: int) -> bool:
        sql = f"SELECT 1 FROM sync_events WHERE {_OPEN} AND status = 'PENDING' AND scheduled_ns > :when LIMIT 1"
        return self._tx.one(sql, when=when_ns) is not None

    def schedule_now(self, after_ns: int, now_ns: int) -> int:
        """What is scheduled beyond `after_ns` is due now; how many."""
        return self._tx.count(
            f"""UPDATE sync_events SET scheduled_ns = :now
                WHERE {_OPEN} AND status = 'PENDING' AND scheduled_ns > :after""",
            now=now_ns,
            after=after_ns,
        )

    def any_failed(self) -> bool:
        """After its last retry."""
        sql = f"SELECT 1 FROM sync_events WHERE {_OPEN} AND status = 'FAILED' AND NOT ({_HOMELESS}) LIMIT 1"
        return self._tx.one(sql) is not None

    def expedite(self, entry_id: int, now_ns: int) -> None:
        """A change that waited (litter) is due now."""
        sql = """UPDATE sync_events SET scheduled_ns = :now, litter = FALSE
                 WHERE aggregate_id = :id AND status = 'PENDING' AND litter"""
        self._tx.run(sql, id=entry_id, now=now_ns)

    # --- what people ask ---

    def counts(self) -> dict[str, int]:
        rows = self._tx.all(
            f"SELECT status, COUNT(DISTINCT aggregate_id) FROM sync_events WHERE {_OPEN} GROUP BY status"
        )
        return dict(rows)

    def backlog_bytes(self) -> int:
        sql = f"""SELECT COALESCE(SUM(size), 0) FROM entries e WHERE e.id IN (
                 SELECT aggregate_id FROM sync_events WHERE {_OPEN} AND status <> 'FAILED')
                 AND e.nas_content_id IS DISTINCT FROM e.content_id"""
        return int(self._tx.one(sql)[0])

    def oldest_ns(self) -> int | None:
        row = self._tx.one(f"SELECT MIN(created_ns) FROM sync_events WHERE {_OPEN} AND status <> 'FAILED'")
        return row[0] if row else None

    def last_id(self) -> int:
        return int(self._tx.one("SELECT COALESCE(MAX(id), 0) FROM sync_events")[0])

    def open_upto(self, upto: int, now_ns: int) -> tuple[int, int]:
        """(not carried, FAILED) among events up to `upto`; litter that still waits does not count."""
        row = self._tx.one(
            f"""SELECT COUNT(*) FILTER (WHERE status IN ('PENDING', 'PROCESSING')
                                       AND NOT (litter AND scheduled_ns > :now)),
                      COUNT(*) FILTER (WHERE status = 'FAILED')
               FROM sync_events WHERE id <= :upto AND {_OPEN}""",
            upto=upto,
            now=now_ns,
        )
        return row[0], row[1]

    def by_uuid(self, uuid: str) -> tuple[int, str] | None:
        """(entry id, status) of an event."""
        number = event_numbers.number_of(self._tx, uuid)
        row = self._tx.one("SELECT aggregate_id, status FROM sync_events WHERE id = :id", id=number)
        return (row[0], row[1]) if row else None

    def listing(self, limit: int, status: str | None = None) -> list[tuple[Any, ...]]:
        """(uuid, type, status, source, target, retries, error, created_ns), newest first."""
        rows = self._tx.all(
            """SELECT uuid, event_type, status, source_path, target_path, retry_count, error_message, created_ns
               FROM sync_events WHERE (CAST(:status AS TEXT) IS NULL OR status = :status)
               ORDER BY id DESC LIMIT :limit""",
            status=status,
            limit=limit,
        )
        shown = self._tx.seals.shown_text
        return [(*row[:3], *(path and shown(path) for path in row[3:5]), *row[5:]) for row in rows]
