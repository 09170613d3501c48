"""Whole files in one request: raw, or in a form."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, StringConstraints

from http_api import entries, form_data
from http_api.errors import ApiError
from http_api.models import Model, Query, ns_of
from http_api.routing import Ask, Reply, Route
from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.model import PIECE_SIZE, Caller, Condition, Entry, Expected, Facts, OnConflict, Written
from vfs.operations import uploading
from vfs.web import conditions

Strategy = Literal["ERROR", "RENAME", "OVERWRITE"]
BINARY = "application/octet-stream"
ANY_FILE = (BINARY, form_data.MEDIA_TYPE)
# What clients send when nobody told them a type.
_NO_TYPE = frozenset((BINARY, "application/x-www-form-urlencoded"))
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class UploadFields(Query):
    """Of a raw body in the query string, of a form before the file. `folderId`: none for the drive itself."""

    folder_id: str | None = None
    file_name: FileName | None = None
    conflict_strategy: Strategy = "ERROR"
    modified_at: AwareDatetime | None = None


class ContentFields(Query):
    modified_at: AwareDatetime | None = None


class UploadAnswer(Model):
    """`file_id`, `name` and `path` as the seeds have them, beside the whole file."""

    success: Literal[True] = True
    file_id: str
    name: str
    path: str
    sync_event_id: str | None = None
    file: entries.File


def upload(ask: Ask) -> Reply:
    refuse_large(ask)
    if form_data.is_form(ask):
        form = form_data.opened(ask)
        fields, pieces = ask.query(UploadFields, form.fields), form.pieces
        expected = Expected(most=ask.request.content_length)
        name, mime_type = fields.file_name or form.file_name, form.mime_type
    else:
        fields, pieces, expected = ask.query(UploadFields), raw(ask), announced(ask)
        name, mime_type = fields.file_name or "", ask.request.content_type
    if not name:
        raise InvalidRequest("fileName: the file needs a name")
    written = uploading.upload(
        ask.kelp,
        ask.caller,
        fields.folder_id,
        name,
        _bounded(ask.kelp, pieces),
        expected=expected,
        mime_type=known_type(mime_type),
        mtime_ns=_ns(fields.modified_at),
        on_conflict=OnConflict(fields.conflict_strategy),
    )
    return Reply(answer(ask.kelp, ask.caller, written.entry, written.facts))


def replace(ask: Ask) -> Reply:
    refuse_large(ask)
    if ask.request.get_header("Content-Range") is not None:  # RFC 9110 §14.4
        raise InvalidRequest("a part of a file cannot be put")
    written: Written = uploading.replace(
        ask.kelp,
        ask.caller,
        ask.ids["id"],
        _bounded(ask.kelp, raw(ask)),
        expected=announced(ask),
        mime_type=known_type(ask.request.content_type),
        mtime_ns=_ns(ask.query(ContentFields).modified_at),
        condition=_condition(ask),
    )
    return Reply(answer(ask.kelp, ask.caller, written.entry, written.facts))


def answer(kelp: Kelp, caller: Caller, entry: Entry, facts: Facts | None = None) -> UploadAnswer:
    """`facts`: as of the commit, where that looked."""
    file = entries.described(kelp, caller, entry) if facts is None else entries.shown_file(entry, facts)
    event = {} if file.sync_event_id is None else {"sync_event_id": file.sync_event_id}
    return UploadAnswer(success=True, file_id=file.id, name=file.name, path=file.path, file=file, **event)


# --- the body ---


def refuse_large(ask: Ask) -> None:
    """Before the body is read (spec §6). Raises ApiError."""
    threshold = ask.kelp.settings.upload.multipart_threshold
    allowed = threshold + (form_data.OVERHEAD if form_data.is_form(ask) else 0)
    if (ask.request.content_length or 0) > allowed:
        raise _too_large(threshold)


def _too_large(threshold: int) -> ApiError:
    return ApiError("FILE_TOO_LARGE_USE_MULTIPART", maxSize=threshold)


def _bounded(kelp: Kelp, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces; a body that did not say how long it is may be too long all the same."""
    threshold, come = kelp.settings.upload.multipart_threshold, 0
    for piece in pieces:
        come += len(piece)
        if come > threshold:
            raise _too_large(threshold)
        yield piece


def raw(ask: Ask) -> Iterator[bytes]:
    """The body in pieces of 1 MiB; raises UploadIncomplete where it is cut."""
    read = ask.stream.read
    while piece := read(PIECE_SIZE):
        yield piece


def announced(ask: Ask) -> Expected:
    """The length of a raw body, and its MD5 where Content-MD5 (RFC 1864) tells it. Raises InvalidRequest."""
    told = ask.request.get_header("Content-MD5")
    return Expected(length=ask.request.content_length, md5=None if told is None else _md5(told))


def _md5(told: str) -> str:
    try:
        digest = base64.b64decode(told.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("malformed Content-MD5") from error
    if len(digest) != 16:
        raise InvalidRequest("malformed Content-MD5")
    return digest.hex()


def known_type(mime_type: str | None) -> str | None:
    """None where the client does not really say: then the name tells. Raises InvalidRequest."""
    told = (mime_type or "").strip()
    if not told or told.partition(";")[0].strip().lower() in _NO_TYPE:
        return None
    if len(told) > 255 or not told.isascii() or not told.isprintable() or "/" not in told:
        raise InvalidRequest("malformed Content-Type")
    return told


def _ns(time: datetime | None) -> int | None:
    return None if time is None else ns_of(time)


def _condition(ask: Ask) -> Condition | None:
    header = ask.request.get_header
    if header("If-Match") is None and header("If-Unmodified-Since") is None:
        return None
    return lambda entry, _tokens: conditions.check_match(header, entry)


_WRITING = ("INVALID_NAME", "LOCKED", "FORBIDDEN", "UPLOAD_INCOMPLETE", "INSUFFICIENT_STORAGE", "NAS_UNAVAILABLE")
_STORING = (*_WRITING, "FILE_TOO_LARGE_USE_MULTIPART", "CONFLICT", "FILE_IN_TRASH", "FILE_SYNCING")
_PLACING = ("FOLDER_NOT_FOUND", "PARENT_FOLDER_NOT_FOUND", "FOLDER_SYNCING", "FOLDER_SYNC_FAILED", "FILE_DELETED")
_TAKEN = ("DUPLICATE_FILE_EXISTS", "DUPLICATE_FOLDER_EXISTS")
OVER = ("OVERWRITE:file", "RENAME")
PLACING = (*_WRITING, *_PLACING, *_TAKEN, "CONFLICT", "FILE_IN_TRASH", "FILE_SYNCING")

ROUTES = (
    Route(
        *("POST", "/files/upload", upload, "Upload a file in one request: raw, or in a form", "files"),
        noun="folder", query=UploadFields, accepts=ANY_FILE, answer=UploadAnswer,
        codes=(*_STORING, *_PLACING, *_TAKEN), actions=OVER,
    ),
    Route(
        *("PUT", "/files/{id}/content", replace, "Give a file another content", "files"),
        noun="file", query=ContentFields, accepts=(BINARY,), answer=UploadAnswer,
        headers=("If-Match", "If-Unmodified-Since", "Content-MD5"),
        codes=(*_STORING, "FILE_NOT_FOUND", "FILE_DELETED", "PRECONDITION_FAILED"),
    ),
)  # fmt: skip
