"""Folders by their ids: make, look, list, rename, move, merge, copy, trash, and what was done to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from http_api import children, entries, moves
from http_api.errors import ApiError
from http_api.models import Body, Model
from http_api.moves import FolderId, NewName, Reason
from http_api.paging import PageQuery
from http_api.routing import Ask, Reply, Route
from vfs.errors import InTrash
from vfs.model import Kind, OnConflict, Outcome
from vfs.operations import by_id


class NewFolder(Body):
    name: NewName
    parent_id: FolderId = None
    conflict_strategy: Literal["ERROR", "RENAME"] = "ERROR"


class MoveFolder(Body):
    """MERGE: what is in it goes into the folder that has the name; a file whose name is taken there gets a numbered
    one."""

    target_parent_id: FolderId
    new_name: NewName | None = None
    conflict_strategy: Literal["ERROR", "RENAME", "MERGE", "SKIP"] = "ERROR"


class FolderMoved(Model):
    """With `skipped` it was left where it is. After MERGE, `folder` is the one that everything went into."""

    success: Literal[True] = True
    folder: entries.Folder | None = None
    skipped: bool = False
    reason: Reason | None = None


class TrashedFolder(Model):
    id: str
    name: str
    state: Literal["TRASHED"]
    sync_event_id: str
    deleted_child_count: Annotated[int, Field(description="files and folders that went along")]


class FolderTrashed(Model):
    success: Literal[True] = True
    folder: TrashedFolder


def make(ask: Ask) -> Reply:
    body = ask.body(NewFolder)
    made = by_id.make_folder(ask.kelp, ask.caller, body.parent_id, body.name, OnConflict(body.conflict_strategy))
    return Reply(entries.folder(ask.kelp, ask.caller, made), 201)


def get_folder(ask: Ask) -> Reply:
    return Reply(entries.folder(ask.kelp, ask.caller, by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER)))


def rename(ask: Ask) -> Reply:
    return Reply(entries.folder(ask.kelp, ask.caller, moves.rename(ask, Kind.FOLDER).entry))


def move(ask: Ask) -> Reply:
    body = ask.body(MoveFolder)
    target, on_conflict = body.target_parent_id, OnConflict(body.conflict_strategy)
    return Reply(
        _moved(ask, by_id.move(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER, target, body.new_name, on_conflict))
    )


def copy(ask: Ask) -> Reply:
    outcome = moves.copy(ask, Kind.FOLDER)
    return Reply(_moved(ask, outcome), 200 if outcome.skipped else 201)


def _moved(ask: Ask, outcome: Outcome) -> FolderMoved:
    if outcome.skipped:
        return FolderMoved(success=True, skipped=True, reason=moves.reason(outcome))
    return FolderMoved(success=True, folder=entries.folder(ask.kelp, ask.caller, outcome.entry).folder)


def delete(ask: Ask) -> Reply:
    try:
        gone = by_id.trash(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER)
    except InTrash as error:
        raise ApiError("FOLDER_NOT_FOUND") from error
    folder = TrashedFolder(
        id=gone.entry.uuid,
        name=gone.entry.name,
        state="TRASHED",
        sync_event_id=gone.event_uuid,
        deleted_child_count=gone.below,
    )
    return Reply(FolderTrashed(success=True, folder=folder))


def history(ask: Ask) -> Reply:
    return moves.history(ask, Kind.FOLDER)


_THERE = ("FOLDER_NOT_FOUND", "FILE_IN_TRASH")

ROUTES = (
    Route(
        *("POST", "/folders", make, "Make a folder", "folders"),
        noun="folder", body=NewFolder, answer=entries.FolderAnswer, status=201,
        codes=("PARENT_FOLDER_NOT_FOUND", "INVALID_NAME", *moves.TAKEN, "LOCKED"), actions=("RENAME",),
    ),
    Route(
        *("GET", "/folders/{id}", get_folder, "A folder; `root` is the drive", "folders"),
        noun="folder", answer=entries.FolderAnswer, codes=_THERE,
    ),
    Route(
        *("GET", "/folders/{id}/children", children.children, "What is in a folder: folders first", "folders"),
        noun="folder", query=children.ChildrenQuery, answer=children.Children, codes=_THERE,
    ),
    Route(
        *("PUT", "/folders/{id}/rename", rename, "Give a folder another name", "folders"),
        noun="folder", body=moves.Rename, answer=entries.FolderAnswer,
        codes=(*_THERE, "INVALID_NAME", *moves.TAKEN, "FOLDER_SYNCING", "LOCKED"), actions=("RENAME",),
    ),
    Route(
        *("POST", "/folders/{id}/move", move, "Move a folder with all that is in it", "folders"),
        noun="folder", target=True, body=MoveFolder, answer=FolderMoved, codes=(*_THERE, *moves.TO),
        actions=("RENAME", "MERGE:folder", "SKIP"),
    ),
    Route(
        *("POST", "/folders/{id}/copy", copy, "Copy a folder with all that is in it", "folders"),
        noun="folder", target=True, body=moves.Copy, answer=FolderMoved, status=201, also={200: FolderMoved},
        codes=(*_THERE, *moves.TO), actions=("OVERWRITE", "RENAME", "SKIP"),
    ),
    Route(
        *("DELETE", "/folders/{id}", delete, "Put a folder in the trash with all that is in it", "folders"),
        noun="folder", answer=FolderTrashed,
        codes=("FOLDER_NOT_FOUND", "FOLDER_SYNCING", "CHILD_FILES_SYNCING", "LOCKED"),
    ),
    Route(
        *("GET", "/folders/{id}/history", history, "What was done to a folder, newest first", "folders"),
        noun="folder", query=PageQuery, answer=moves.History, codes=_THERE,
    ),
)  # fmt: skip
