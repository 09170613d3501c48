"""Older contents of a file: list, read, restore."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from http_api import downloads, entries
from http_api.models import Model, time_of
from http_api.routing import Ask, Reply, Route, Streamed
from vfs.model import Kind
from vfs.operations import by_id, versioning


class Version(Model):
    """`createdAt`: when that content was written; `createdBy`: by whom."""

    id: str
    size: int
    created_at: datetime
    created_by: str


class Versions(Model):
    success: Literal[True] = True
    versions: list[Version]


def listing(ask: Ask) -> Reply:
    entry = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    found = [
        Version(id=each.uuid, size=each.size, created_at=time_of(each.created_ns), created_by=each.user_name)
        for each in versioning.list_versions(ask.kelp, ask.caller, entry.id)
    ]
    return Reply(Versions(success=True, versions=found))


def read(ask: Ask) -> Reply | Streamed:
    entry = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    return downloads.kept(ask, versioning.as_it_was(ask.kelp, ask.caller, ask.ids["version"], entry.uuid))


def restore(ask: Ask) -> Reply:
    entry = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    restored = versioning.restore_version(ask.kelp, ask.caller, ask.ids["version"], entry.uuid)
    return Reply(entries.file(ask.kelp, ask.caller, restored))


_THERE = ("FILE_NOT_FOUND", "FILE_DELETED", "FILE_IN_TRASH")

ROUTES = (
    Route(
        *("GET", "/files/{id}/versions", listing, "Older contents of a file, newest first", "versions"),
        noun="file", answer=Versions, codes=_THERE,
    ),
    Route(
        *("GET", "/files/{id}/versions/{version}/download", read, "Read an older content", "versions"),
        noun="file", gives=("*/*",), also={206: None, 304: None},
        codes=(*_THERE, *downloads.LOST, *downloads.OF_READS),
    ),
    Route(
        *("POST", "/files/{id}/versions/{version}/restore", restore, "Show an older content again", "versions"),
        noun="file", answer=entries.FileAnswer, codes=(*_THERE, "FILE_SYNCING", "LOCKED"),
    ),
)  # fmt: skip
