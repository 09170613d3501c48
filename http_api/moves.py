"""What files and folders have in common: bodies that say where to and what if the name is taken, and the history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from http_api.models import Body, Model, time_of
from http_api.paging import NextCursor, PageQuery, cursor_of, numbers_of
from http_api.routing import Ask, Reply
from vfs.model import Kind, OnConflict, Outcome
from vfs.operations import browsing, by_id

NewName: TypeAlias = Annotated[str, Field(description="at most 255 bytes of UTF-8")]
FolderId: TypeAlias = Annotated[str | None, Field(max_length=100, description="null, or `root`: the drive itself")]
Reason: TypeAlias = Literal["DUPLICATE_FILE_EXISTS", "DUPLICATE_FOLDER_EXISTS"]

TAKEN = ("DUPLICATE_FILE_EXISTS", "DUPLICATE_FOLDER_EXISTS")
TRASHING = ("FILE_SYNCING", "FOLDER_SYNCING", "CHILD_FILES_SYNCING", "FILE_IN_USE", "LOCKED")
TO = ("INVALID_NAME", "TARGET_FOLDER_NOT_FOUND", "CIRCULAR_MOVE", "CROSSES_VAULT", "CONFLICT", *TAKEN, *TRASHING)


class Rename(Body):
    new_name: NewName
    conflict_strategy: Literal["ERROR", "RENAME"] = "ERROR"


class Copy(Body):
    target_folder_id: FolderId
    new_name: NewName | None = None
    conflict_strategy: Literal["ERROR", "RENAME", "OVERWRITE", "SKIP"] = "ERROR"


def rename(ask: Ask, kind: Kind) -> Outcome:
    body = ask.body(Rename)
    return by_id.rename(ask.kelp, ask.caller, ask.ids["id"], kind, body.new_name, OnConflict(body.conflict_strategy))


def copy(ask: Ask, kind: Kind) -> Outcome:
    body = ask.body(Copy)
    target, on_conflict = body.target_folder_id, OnConflict(body.conflict_strategy)
    return by_id.copy(ask.kelp, ask.caller, ask.ids["id"], kind, target, body.new_name, on_conflict)


def reason(outcome: Outcome) -> Reason:
    """Why something was left where it is."""
    is_folder = outcome.existing is not None and outcome.existing.is_folder
    return "DUPLICATE_FOLDER_EXISTS" if is_folder else "DUPLICATE_FILE_EXISTS"


# --- what was done to it ---


class Happening(Model):
    """`detail`: mostly the path that it had then. `face`: by which way in."""

    event: str
    user: str
    face: str
    detail: str
    trace_id: str
    at: datetime


class History(Model):
    success: Literal[True] = True
    history: list[Happening]
    next_cursor: NextCursor


def history(ask: Ask, kind: Kind) -> Reply:
    query = ask.query(PageQuery)
    (before,) = numbers_of(query.cursor, 1) or (None,)
    found, after = browsing.history(ask.kelp, ask.caller, ask.ids["id"], kind, before, query.limit)
    lines = [
        Happening(
            event=line.event,
            user=line.user_name,
            face=line.face,
            detail=line.detail,
            trace_id=line.trace_id,
            at=time_of(line.created_ns),
        )
        for line in found
    ]
    return Reply(History(success=True, history=lines, next_cursor=cursor_of(None if after is None else (after,))))
