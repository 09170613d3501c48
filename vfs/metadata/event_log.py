"""SQL of what people ask about sync events, alerts and the trash: pages of them, newest first.

A page begins after a row that the caller has seen, so what comes meanwhile shifts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs.metadata import event_numbers
from vfs.metadata.entries import COLUMNS, entry_of
from vfs.metadata.lists import portions
from vfs.model import Entry

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_NEWEST = (1 << 63) - 1  # no id and no time is later

_EVENT = """s.id, s.uuid, s.event_type, s.status, s.aggregate_type, s.aggregate_id, e.uuid,
            s.source_path, s.target_path, s.retry_count, s.error_message, s.trace_id,
            s.created_ns, s.scheduled_ns, s.processed_ns"""
_ALERT = "id, uuid, kind, subject, severity, message, count, opened_ns, last_ns, closed_ns"


class EventRow(NamedTuple):
    id: int
    uuid: str
    event_type: str
    status: str
    aggregate_type: str  # FILE or FOLDER
    entry_id: int
    entry_uuid: str
    source_path: str | None
    target_path: str | None
    retry_count: int
    error_message: str | None
    trace_id: str
    created_ns: int
    scheduled_ns: int
    processed_ns: int | None


class EventLog:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def events(
        self,
        limit: int,
        before: int | None,
        *,
        status: str | None = None,
        event_type: str | None = None,
        entry_uuid: str | None = None,
        since_ns: int | None = None,
    ) -> list[EventRow]:
        """Those that fit all that is not None, with smaller ids than `before`."""
        wanted = {"status": status, "event_type": event_type}
        clauses = [f"s.{name} = :{name}" for name, value in wanted.items() if value is not None]
        if entry_uuid is not None:
            clauses.append("s.aggregate_id = (SELECT id FROM entries WHERE uuid = :entry)")
        if since_ns is not None:
            clauses.append("s.created_ns >= :since")
        values = {**wanted, "entry": entry_uuid, "since": since_ns}
        rows = self._tx.all(
            f"""SELECT {_EVENT} FROM sync_events s JOIN entries e ON e.id = s.aggregate_id
                WHERE {" AND ".join(("s.id < :before", *clauses))} ORDER BY s.id DESC LIMIT :limit""",
            before=_NEWEST if before is None else before,
            limit=limit,
            **{name: value for name, value in values.items() if value is not None},
        )
        return [self._event(row) for row in rows]

    def event(self, uuid: str) -> EventRow | None:
        sql = f"SELECT {_EVENT} FROM sync_events s JOIN entries e ON e.id = s.aggregate_id WHERE s.id = :id"
        row = self._tx.one(sql, id=event_numbers.number_of(self._tx, uuid))
        return self._event(row) if row else None

    def _event(self, row: Sequence[Any]) -> EventRow:
        """Of a list over the whole drive: without the key of a vault, its paths are called sealed."""
        event, shown = EventRow(*row), self._tx.seals.shown_text
        source, target = event.source_path, event.target_path
        return event._replace(source_path=source and shown(source), target_path=target and shown(target))

    def chains(self, ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """The folders that hold each entry, nearest first, whatever their states; of a folder itself too, in front."""
        found: dict[int, tuple[int, ...]] = {}
        for marks, values in portions(sorted(set(ids))):
            rows = self._tx.all(
                f"""WITH RECURSIVE up(start, id, parent_id, kind, depth) AS (
                        SELECT id, id, parent_id, kind, 0 FROM entries WHERE id IN ({marks})
                        UNION ALL
                        SELECT up.start, e.id, e.parent_id, e.kind, up.depth + 1
                        FROM entries e JOIN up ON e.id = up.parent_id
                    )
                    SELECT start, id FROM up WHERE kind = 'folder' ORDER BY start, depth""",
                **values,
            )
            for start, id in rows:
                found[start] = (*found.get(start, ()), id)
        return found

    def alerts(self, limit: int, before: int | None, *, only_open: bool, user_id: int | None) -> list[Sequence[Any]]:
        """(id, uuid, kind, subject, severity, message, count, opened_ns, last_ns, closed_ns) with smaller ids than
        `before`; `user_id`: only what is about his uploads and his files."""
        theirs = """ AND (
            kind = 'UPLOAD_EXPIRES' AND subject IN (SELECT uuid FROM upload_sessions WHERE user_id = :user)
            OR kind = 'TARGET_FOLDER_DELETED' AND subject IN (SELECT uuid FROM entries WHERE owner_id = :user))"""
        return self._tx.all(
            f"""SELECT {_ALERT} FROM alerts WHERE id < :before {"AND closed_ns IS NULL" if only_open else ""}
                {"" if user_id is None else theirs} ORDER BY id DESC LIMIT :limit""",
            before=_NEWEST if before is None else before,
            limit=limit,
            **({} if user_id is None else {"user": user_id}),
        )

    def trash(
        self, limit: int, before: tuple[int, int] | None, user_id: int | None
    ) -> list[tuple[Entry, str, int, int, str]]:
        """Entry, original path, trashed_ns, expires_ns, user's name of what was trashed before (trashed_ns, entry id);
        `user_id`: by that user."""
        sql = f"""SELECT {COLUMNS}, t.original_path, t.trashed_ns, t.expires_ns, COALESCE(u.name, '')
                  FROM trash_metadata t JOIN entries e ON e.id = t.entry_id LEFT JOIN users u ON u.id = t.user_id
                  WHERE e.state = 'TRASHED' AND (t.trashed_ns, e.id) < (:time, :id)
                  {"" if user_id is None else "AND t.user_id = :user"}
                  ORDER BY t.trashed_ns DESC, e.id DESC LIMIT :limit"""
        time_ns, id = before or (_NEWEST, _NEWEST)
        values = {} if user_id is None else {"user": user_id}
        return [
            (entry_of(row, self._tx.seals, shown=True), *row[-4:])
            for row in self._tx.all(sql, time=time_ns, id=id, limit=limit, **values)
        ]
