"""Files and folders: look at them."""

from __future__ import annotations

from http_api import entries
from http_api.routing import Ask, Reply, Route
from vfs.model import Kind
from vfs.operations import by_id


def get_file(ask: Ask) -> Reply:
    return Reply(entries.file(ask.kelp, ask.caller, by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)))


def get_folder(ask: Ask) -> Reply:
    return Reply(entries.folder(ask.kelp, ask.caller, by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER)))


ROUTES = (
    Route(
        *("GET", "/files/{id}", get_file, "A file", "files"),
        noun="file", answer=entries.FileAnswer, codes=("FILE_NOT_FOUND", "FILE_DELETED", "FILE_IN_TRASH"),
    ),
    Route(
        *("GET", "/folders/{id}", get_folder, "A folder; `root` is the drive", "folders"),
        noun="folder", answer=entries.FolderAnswer, codes=("FOLDER_NOT_FOUND", "FILE_IN_TRASH"),
    ),
)  # fmt: skip
