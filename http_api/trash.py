"""The trash: what is in it, and its way back or out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api import entries
from http_api.models import Body, Model, time_of
from http_api.paging import NextCursor, PageQuery, cursor_of, numbers_of
from http_api.routing import Ask, Reply, Route
from vfs.model import Entry, OnConflict, TrashItem
from vfs.operations import trashing


class TrashedItem(Model):
    id: str
    kind: Literal["file", "folder", "symlink"]
    name: str
    original_path: str
    size: int
    mime_type: str
    trashed_at: datetime
    expires_at: datetime
    trashed_by: Annotated[str, Field(description="a user; empty when the account is gone")]


class Trash(Model):
    success: Literal[True] = True
    items: list[TrashedItem]
    next_cursor: NextCursor


class RestoreBody(Body):
    conflict_strategy: Literal[OnConflict.ERROR, OnConflict.RENAME] = OnConflict.ERROR


class Restored(Model):
    """One of the two."""

    success: Literal[True] = True
    file: entries.File | None = None
    folder: entries.Folder | None = None


class Purged(Model):
    success: Literal[True] = True
    purged_count: int


def list_trash(ask: Ask) -> Reply:
    query = ask.query(PageQuery)
    after = numbers_of(query.cursor, 2)
    items = trashing.trash_page(ask.kelp, ask.caller, query.limit, (after[0], after[1]) if after else None)
    last = (items[-1].trashed_ns, items[-1].entry.id) if len(items) == query.limit else None
    return Reply(Trash(success=True, items=[_shown(item) for item in items], next_cursor=cursor_of(last)))


def restore(ask: Ask) -> Reply:
    strategy = ask.body(RestoreBody).conflict_strategy
    return Reply(_restored(ask, trashing.restore(ask.kelp, ask.caller, ask.ids["id"], on_conflict=strategy)))


def purge(ask: Ask) -> Reply:
    trashing.purge(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(Purged(success=True, purged_count=1))


def empty(ask: Ask) -> Reply:
    return Reply(Purged(success=True, purged_count=trashing.empty_trash(ask.kelp, ask.caller)))


def _shown(item: TrashItem) -> TrashedItem:
    entry = item.entry
    return TrashedItem(
        id=entry.uuid,
        kind=entry.kind.value,
        name=entry.name,
        original_path=item.original_path,
        size=entry.size,
        mime_type=entry.mime_type,
        trashed_at=time_of(item.trashed_ns),
        expires_at=time_of(item.expires_ns),
        trashed_by=item.user_name,
    )


def _restored(ask: Ask, entry: Entry) -> Restored:
    if entry.is_folder:
        return Restored(success=True, folder=entries.folder(ask.kelp, ask.caller, entry).folder)
    return Restored(success=True, file=entries.described(ask.kelp, ask.caller, entry))


_TAKEN = ("DUPLICATE_FILE_EXISTS", "DUPLICATE_FOLDER_EXISTS")

ROUTES = (
    Route(
        *("GET", "/trash", list_trash, "What you deleted, newest first; an admin sees all", "trash"),
        query=PageQuery, answer=Trash,
    ),
    Route(
        *("POST", "/trash/{id}/restore", restore, "Put it back where it was, or alone what lies below it", "trash"),
        noun="file", body=RestoreBody, answer=Restored,
        codes=("FILE_NOT_FOUND", "PARENT_FOLDER_NOT_FOUND", "LOCKED", "INVALID_NAME", "CROSSES_VAULT", *_TAKEN),
    ),
    Route(
        *("DELETE", "/trash/{id}", purge, "Delete it for good", "trash"),
        noun="file", answer=Purged, codes=("FILE_NOT_FOUND",),
    ),
    Route(*("DELETE", "/trash", empty, "Delete all of it for good", "trash"), answer=Purged),
)  # fmt: skip
