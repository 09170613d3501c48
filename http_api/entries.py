"""A file or a folder as every answer shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api.models import Model, StorageStatus, time_of
from vfs.core import Kelp
from vfs.model import ROOT_ID, Caller, Entry, Facts
from vfs.operations import appearance


class File(Model):
    id: str
    name: str
    path: str
    folder_id: str | None
    size: int
    mime_type: str
    etag: str
    version: int
    created_at: datetime
    updated_at: datetime
    storage_status: StorageStatus
    nas_sync_message: str | None = None
    sync_event_id: str | None = None


class Sealed(Model):
    """`root`: the folder is the vault itself, whose own name is plain; else it lies in one."""

    root: bool


class Folder(Model):
    id: str | None
    name: str
    path: str
    parent_id: str | None
    vault: Annotated[Sealed | None, Field(description="what is in it is sealed; `null`: it is not")]
    version: int
    created_at: datetime
    updated_at: datetime
    storage_status: StorageStatus
    nas_sync_message: str | None = None
    sync_event_id: str | None = None


class FileAnswer(Model):
    success: Literal[True] = True
    file: File


class FolderAnswer(Model):
    success: Literal[True] = True
    folder: Folder


def file(kelp: Kelp, caller: Caller, entry: Entry) -> FileAnswer:
    return FileAnswer(success=True, file=described(kelp, caller, entry))


def described(kelp: Kelp, _caller: Caller, entry: Entry) -> File:
    return shown_file(entry, appearance.of(kelp, entry))


def shown_file(entry: Entry, facts: Facts) -> File:
    return File(
        id=entry.uuid,
        name=entry.name,
        path=facts.path,
        folder_id=facts.parent_uuid,
        size=entry.size,
        mime_type=entry.mime_type,
        etag=entry.content_id or "",
        version=entry.version,
        created_at=time_of(entry.created_ns),
        updated_at=time_of(entry.mtime_ns),
        storage_status=StorageStatus(cache=facts.cache, nas=facts.nas),
        **_trouble(facts),
    )


def folder(kelp: Kelp, _caller: Caller, entry: Entry) -> FolderAnswer:
    return FolderAnswer(success=True, folder=shown_folder(entry, appearance.of(kelp, entry)))


def shown_folder(entry: Entry, facts: Facts) -> Folder:
    return Folder(
        id=None if entry.id == ROOT_ID else entry.uuid,
        name=entry.name,
        path=facts.path,
        parent_id=facts.parent_uuid,
        vault=None if entry.vault_id is None else Sealed(root=entry.is_vault),
        version=entry.version,
        created_at=time_of(entry.created_ns),
        updated_at=time_of(entry.mtime_ns),
        storage_status=StorageStatus(cache=None, nas=facts.nas),
        **_trouble(facts),
    )


def _trouble(facts: Facts) -> dict[str, str]:
    """Only while there is something to tell."""
    told = {"nas_sync_message": facts.message, "sync_event_id": facts.event_uuid}
    return {name: value for name, value in told.items() if value}
