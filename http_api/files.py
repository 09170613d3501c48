"""Files by their ids: look, rename, move, copy, trash; how far the NAS has them, and what was done to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from http_api import entries, moves, sync_events
from http_api.errors import ApiError
from http_api.models import Body, Model, StorageStatus
from http_api.moves import FolderId, NewName, Reason
from http_api.paging import PageQuery
from http_api.routing import Ask, Reply, Route
from vfs.errors import InTrash
from vfs.model import Kind, OnConflict, Outcome
from vfs.operations import appearance, by_id, crossing_progress, sync_log


class MoveFile(Body):
    target_folder_id: FolderId
    new_name: NewName | None = None
    conflict_strategy: Literal["ERROR", "OVERWRITE", "RENAME", "SKIP"] = "ERROR"


class FileMoved(Model):
    """With `skipped` it was left where it is, since something has the name."""

    success: Literal[True] = True
    file: entries.File | None = None
    skipped: bool = False
    reason: Reason | None = None


class TrashedFile(Model):
    id: str
    name: str
    state: Literal["TRASHED"]
    sync_event_id: str


class FileTrashed(Model):
    success: Literal[True] = True
    file: TrashedFile


class Resealing(Model):
    """How far a copy or move into a vault, or out of one, is, which takes longer than some seconds."""

    bytes_done: int
    bytes_total: int


class FileSync(Model):
    """`syncEvent`: its newest change, carried to the NAS or not."""

    success: Literal[True] = True
    file_id: str
    storage_status: StorageStatus
    nas_sync_message: Annotated[str | None, Field(description="while there is something to tell")] = None
    sync_event: sync_events.SyncEvent | None
    resealing: Annotated[Resealing | None, Field(description="while it goes into a vault, or out of one")] = None


def get_file(ask: Ask) -> Reply:
    return Reply(entries.file(ask.kelp, ask.caller, by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)))


def rename(ask: Ask) -> Reply:
    return Reply(entries.file(ask.kelp, ask.caller, moves.rename(ask, Kind.FILE).entry))


def move(ask: Ask) -> Reply:
    body = ask.body(MoveFile)
    target, on_conflict = body.target_folder_id, OnConflict(body.conflict_strategy)
    outcome = by_id.move(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE, target, body.new_name, on_conflict)
    return Reply(_moved(ask, outcome))


def copy(ask: Ask) -> Reply:
    outcome = moves.copy(ask, Kind.FILE)
    return Reply(_moved(ask, outcome), 200 if outcome.skipped else 201)


def _moved(ask: Ask, outcome: Outcome) -> FileMoved:
    if outcome.skipped:
        return FileMoved(success=True, skipped=True, reason=moves.reason(outcome))
    return FileMoved(success=True, file=entries.described(ask.kelp, ask.caller, outcome.entry))


def delete(ask: Ask) -> Reply:
    try:
        gone = by_id.trash(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    except InTrash as error:
        raise ApiError("FILE_ALREADY_TRASHED") from error
    file = TrashedFile(id=gone.entry.uuid, name=gone.entry.name, state="TRASHED", sync_event_id=gone.event_uuid)
    return Reply(FileTrashed(success=True, file=file))


def sync_status(ask: Ask) -> Reply:
    entry = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    facts = appearance.of(ask.kelp, entry)
    crossing = crossing_progress.of(ask.kelp, entry.uuid)
    events = sync_log.listing(ask.kelp, ask.caller, sync_log.Wanted(entry_uuid=entry.uuid), 1).events
    more: dict[str, Any] = {"nas_sync_message": facts.message} if facts.message else {}
    if crossing is not None:
        more["resealing"] = Resealing(bytes_done=crossing.done, bytes_total=crossing.size)
    return Reply(
        FileSync(
            success=True,
            file_id=entry.uuid,
            storage_status=StorageStatus(cache=facts.cache, nas=facts.nas),
            sync_event=sync_events.shown(events[0]) if events else None,
            **more,
        )
    )


def history(ask: Ask) -> Reply:
    return moves.history(ask, Kind.FILE)


_THERE = ("FILE_NOT_FOUND", "FILE_DELETED", "FILE_IN_TRASH")

ROUTES = (
    Route(
        *("GET", "/files/{id}", get_file, "A file", "files"),
        noun="file", answer=entries.FileAnswer, codes=_THERE,
    ),
    Route(
        *("PUT", "/files/{id}/rename", rename, "Give a file another name", "files"),
        noun="file", body=moves.Rename, answer=entries.FileAnswer,
        codes=(*_THERE, "INVALID_NAME", *moves.TAKEN, "FILE_SYNCING", "LOCKED"), actions=("RENAME",),
    ),
    Route(
        *("POST", "/files/{id}/move", move, "Move a file to another folder", "files"),
        noun="file", target=True, body=MoveFile, answer=FileMoved, codes=(*_THERE, *moves.TO),
        actions=("OVERWRITE", "RENAME", "SKIP"),
    ),
    Route(
        *("POST", "/files/{id}/copy", copy, "Copy a file; no bytes are copied, but to or from a vault", "files"),
        noun="file", target=True, body=moves.Copy, answer=FileMoved, status=201, also={200: FileMoved},
        codes=(*_THERE, *moves.TO), actions=("OVERWRITE", "RENAME", "SKIP"),
    ),
    Route(
        *("DELETE", "/files/{id}", delete, "Put a file in the trash", "files"),
        noun="file", answer=FileTrashed,
        codes=("FILE_NOT_FOUND", "FILE_DELETED", "FILE_ALREADY_TRASHED", "FILE_SYNCING", "FILE_IN_USE", "LOCKED"),
    ),
    Route(
        *("GET", "/files/{id}/sync-status", sync_status, "How far a file is on its way to the NAS", "files"),
        noun="file", answer=FileSync, codes=_THERE,
    ),
    Route(
        *("GET", "/files/{id}/history", history, "What was done to a file, newest first", "files"),
        noun="file", query=PageQuery, answer=moves.History, codes=_THERE,
    ),
)  # fmt: skip
