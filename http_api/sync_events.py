"""Changes on their way to the NAS: `GET /sync-events`, one of them, and another try."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from http_api.models import Model, ns_of, time_of
from http_api.paging import NextCursor, PageQuery, cursor_of, numbers_of
from http_api.routing import Ask, Reply, Route
from vfs.model import EventStatus, EventType
from vfs.operations import sync_log
from vfs.operations.sync_log import Wanted


class SyncEvent(Model):
    """One of `fileId` and `folderId` is set. `scheduledAt`: not tried before."""

    id: str
    event_type: EventType
    status: EventStatus
    file_id: str | None
    folder_id: str | None
    source_path: str | None
    target_path: str | None
    retry_count: int
    error_message: str | None
    trace_id: str
    created_at: datetime
    scheduled_at: datetime
    processed_at: datetime | None


class SyncEvents(Model):
    success: Literal[True] = True
    sync_events: list[SyncEvent]
    next_cursor: NextCursor


class SyncEventAnswer(Model):
    success: Literal[True] = True
    sync_event: SyncEvent


class Retried(SyncEventAnswer):
    retried: Annotated[int, Field(description="failed changes of that file or folder that are tried again")]


class SyncEventsQuery(PageQuery):
    status: EventStatus | None = None
    type: EventType | None = None
    file_id: Annotated[str | None, Field(max_length=100, description="of a file, or of a folder")] = None
    since: Annotated[AwareDatetime | None, Field(description="made at that time or later")] = None


def list_events(ask: Ask) -> Reply:
    query = ask.query(SyncEventsQuery)
    since = None if query.since is None else ns_of(query.since)
    after = numbers_of(query.cursor, 1)
    wanted = Wanted(query.status, query.type, query.file_id, since)
    page = sync_log.listing(ask.kelp, ask.caller, wanted, query.limit, after[0] if after else None)
    cursor = cursor_of(None if page.after is None else (page.after,))
    return Reply(SyncEvents(success=True, sync_events=[shown(row) for row in page.events], next_cursor=cursor))


def get_event(ask: Ask) -> Reply:
    return Reply(SyncEventAnswer(success=True, sync_event=shown(sync_log.one(ask.kelp, ask.caller, ask.ids["id"]))))


def retry_event(ask: Ask) -> Reply:
    row, count = sync_log.retry(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(Retried(success=True, sync_event=shown(row), retried=count))


def shown(row: sync_log.EventRow) -> SyncEvent:
    is_file = row.aggregate_type == "FILE"
    return SyncEvent(
        id=row.uuid,
        event_type=EventType(row.event_type),
        status=EventStatus(row.status),
        file_id=row.entry_uuid if is_file else None,
        folder_id=None if is_file else row.entry_uuid,
        source_path=row.source_path,
        target_path=row.target_path,
        retry_count=row.retry_count,
        error_message=row.error_message,
        trace_id=row.trace_id,
        created_at=time_of(row.created_ns),
        scheduled_at=time_of(row.scheduled_ns),
        processed_at=None if row.processed_ns is None else time_of(row.processed_ns),
    )


ROUTES = (
    Route(
        *("GET", "/sync-events", list_events, "Changes on their way to the NAS, newest first", "sync events"),
        query=SyncEventsQuery, answer=SyncEvents,
    ),
    Route(
        *("GET", "/sync-events/{id}", get_event, "One change", "sync events"),
        noun="event", answer=SyncEventAnswer, codes=("SYNC_EVENT_NOT_FOUND",),
    ),
    Route(
        *("POST", "/sync-events/{id}/retry", retry_event, "Try what failed again", "sync events"),
        noun="event", answer=Retried, codes=("SYNC_EVENT_NOT_FOUND",), admin=True,
    ),
)  # fmt: skip
