"""Uploads in parts: begin, send, look, complete, give up (spec §6, seeds 001 §1-B and 002 §1-2 to §1-6)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api import uploads
from http_api.models import Body, Model, time_of
from http_api.routing import Ask, Reply, Route
from http_api.uploads import BINARY, FileName, Strategy
from vfs.errors import InvalidRequest
from vfs.model import OnConflict
from vfs.operations import session_ending, session_parts, session_presigned, sessions
from vfs.operations.sessions import MOST_PARTS, Progress, SentPart, Status

_NUMBER = re.compile(r"[0-9]{1,5}")
Etag = Annotated[str, Field(max_length=200)]
Size = Annotated[int, Field(ge=0, le=1 << 50)]


class Beginning(Body):
    """`totalSize`: none when it is not known yet. `partSize`: as the client would have it."""

    file_name: FileName
    folder_id: str | None = None
    total_size: Size | None = None
    mime_type: Annotated[str, Field(max_length=255)] | None = None
    conflict_strategy: Strategy = "ERROR"
    part_size: Annotated[int, Field(ge=1)] | None = None


class Begun(Model):
    """`upload_id` is the session's id too: the cache has no uploads of its own."""

    success: Literal[True] = True
    session_id: str
    upload_id: str
    status: Status
    file_name: str
    part_size: int
    total_parts: int | None
    expires_at: datetime


class UploadedPart(Model):
    part_number: int
    etag: str
    bytes: int


class PartAnswer(Model):
    success: Literal[True] = True
    part_number: int
    etag: str
    size: int


class StatusAnswer(Model):
    """What is there, and what is still to come. `fileId`: of a complete one."""

    success: Literal[True] = True
    session_id: str
    status: Status
    file_name: str
    total_size: int | None
    part_size: int
    total_parts: int | None
    uploaded_parts: list[UploadedPart]
    next_part_number: int | None
    uploaded_bytes: int
    remaining_bytes: int | None
    expires_at: datetime | None
    file_id: str | None = None
    message: str | None = None


class PresignAnswer(Model):
    """Where the part goes by `method`, without any credentials, until `expiresAt`; then notify."""

    success: Literal[True] = True
    part_number: int
    method: Literal["PUT"] = "PUT"
    url: str
    expires_at: datetime


class Notice(Body):
    """`size` is compared. `etag`, which the cache answered with, may be told: the server makes its own of the bytes."""

    size: Size | None = None
    etag: Etag | None = None


class NamedPart(Body):
    part_number: Annotated[int, Field(ge=1, le=MOST_PARTS)]
    etag: Etag | None = None


class Completing(Body):
    """All may be left out. `parts`: as the client knows them; `fileName`, `conflictStrategy`: instead of the first."""

    parts: Annotated[list[NamedPart], Field(max_length=MOST_PARTS)] | None = None
    file_name: FileName | None = None
    conflict_strategy: Strategy | None = None


class AbortAnswer(Model):
    success: Literal[True] = True
    session_id: str
    status: Status
    message: str


_TOLD = {
    Status.ABORTED: "The upload was given up. Begin a new one.",
    Status.EXPIRED: "The upload was not ended in time. Begin a new one.",
}


def initiate(ask: Ask) -> Reply:
    body = ask.body(Beginning)
    begun = sessions.begin(
        ask.kelp,
        ask.caller,
        body.folder_id,
        body.file_name,
        body.total_size,
        mime_type=uploads.known_type(body.mime_type),
        on_conflict=OnConflict(body.conflict_strategy),
        part_size=body.part_size,
    )
    return Reply(
        Begun(
            success=True,
            session_id=begun.uuid,
            upload_id=begun.uuid,
            status=begun.status,
            file_name=begun.name,
            part_size=begun.part_size,
            total_parts=begun.total_parts,
            expires_at=time_of(begun.expires_ns),
        )
    )


def put_part(ask: Ask) -> Reply:
    part = session_parts.put(
        ask.kelp, ask.caller, ask.ids["id"], number_of(ask), uploads.raw(ask), expected=uploads.announced(ask)
    )
    return part_answer(part)


def part_answer(part: SentPart) -> Reply:
    told = PartAnswer(success=True, part_number=part.number, etag=part.etag, size=part.size)
    return Reply(told, headers=(("ETag", f'"{part.etag}"'),))


def number_of(ask: Ask) -> int:
    """Raises InvalidRequest."""
    if not _NUMBER.fullmatch(ask.ids["number"]):
        raise InvalidRequest("the number of a part is a number")
    return int(ask.ids["number"])


def presign(ask: Ask) -> Reply:
    number = number_of(ask)
    given = session_presigned.presign(ask.kelp, ask.caller, ask.ids["id"], number)
    told = PresignAnswer(
        success=True, part_number=number, method="PUT", url=given.url, expires_at=time_of(given.expires_ns)
    )
    return Reply(told)


def notify(ask: Ask) -> Reply:
    size = ask.body(Notice).size
    return part_answer(session_presigned.notify(ask.kelp, ask.caller, ask.ids["id"], number_of(ask), size))


def status(ask: Ask) -> Reply:
    return Reply(_status(sessions.progress(ask.kelp, ask.caller, ask.ids["id"])))


def _status(now: Progress) -> StatusAnswer:
    running = now.status in (Status.INIT, Status.UPLOADING)
    told: dict[str, str] = {}
    if now.file_uuid is not None:
        told["file_id"] = now.file_uuid
    if now.status in _TOLD:
        told["message"] = _TOLD[now.status]
    return StatusAnswer(
        success=True,
        session_id=now.uuid,
        status=now.status,
        file_name=now.name,
        total_size=now.size,
        part_size=now.part_size,
        total_parts=now.total_parts,
        uploaded_parts=[UploadedPart(part_number=each.number, etag=each.etag, bytes=each.size) for each in now.parts],
        next_part_number=now.next_number if running else None,
        uploaded_bytes=now.sent,
        remaining_bytes=now.remaining if running else None,
        expires_at=time_of(now.expires_ns) if running else None,
        **told,
    )


def complete(ask: Ask) -> Reply:
    body = ask.body(Completing)
    entry = session_ending.complete(
        ask.kelp,
        ask.caller,
        ask.ids["id"],
        name=body.file_name,
        on_conflict=None if body.conflict_strategy is None else OnConflict(body.conflict_strategy),
        wanted=None if body.parts is None else _named(body.parts),
    )
    return Reply(uploads.answer(ask.kelp, ask.caller, entry))


def _named(parts: list[NamedPart]) -> dict[int, str | None]:
    """Raises InvalidRequest."""
    named = {part.part_number: part.etag.strip('"') if part.etag is not None else None for part in parts}
    if len(named) != len(parts):
        raise InvalidRequest("parts: a number comes twice")
    return named


def abort(ask: Ask) -> Reply:
    now = sessions.abort(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(AbortAnswer(success=True, session_id=ask.ids["id"], status=now, message=_TOLD[now]))


_SESSION = ("UPLOAD_SESSION_NOT_FOUND",)
RUNNING = (*_SESSION, "UPLOAD_SESSION_EXPIRED", "UPLOAD_SESSION_COMPLETED")
_TAG, _PATH = "uploads in parts", "/files/multipart"
_PART = f"{_PATH}/{{id}}/parts/{{number}}"

ROUTES = (
    Route(
        *("POST", f"{_PATH}/initiate", initiate, "Begin an upload in parts", _TAG),
        noun="folder", body=Beginning, answer=Begun, codes=uploads.PLACING, actions=uploads.OVER, trace="init",
    ),
    Route(
        *("PUT", _PART, put_part, "Send a part, in any order, and again", _TAG),
        accepts=(BINARY,), answer=PartAnswer, codes=(*RUNNING, "UPLOAD_INCOMPLETE", "INSUFFICIENT_STORAGE"),
        trace="part",
    ),
    Route(
        *("POST", f"{_PART}/presign", presign, "Where to put a part directly, when the cache is S3", _TAG),
        answer=PresignAnswer, codes=(*RUNNING, "INVALID_REQUEST"), trace="part",
    ),
    Route(
        *("POST", f"{_PART}/notify", notify, "A part was put directly", _TAG),
        body=Notice, answer=PartAnswer,
        codes=(*RUNNING, "PARTS_INCOMPLETE", "UPLOAD_INCOMPLETE", "INSUFFICIENT_STORAGE"), trace="part",
    ),
    Route(
        *("GET", f"{_PATH}/{{id}}/status", status, "What has come, and what has not", _TAG),
        answer=StatusAnswer, codes=_SESSION, trace="resume",
    ),
    Route(
        *("POST", f"{_PATH}/{{id}}/complete", complete, "All parts are a file now; may be asked again", _TAG),
        noun="file", body=Completing, answer=uploads.UploadAnswer,
        codes=(*RUNNING, "PARTS_INCOMPLETE", "FILE_NOT_FOUND", *uploads.PLACING), actions=uploads.OVER,
        trace="complete",
    ),
    Route(
        *("DELETE", f"{_PATH}/{{id}}", abort, "Give an upload up; may be asked again", _TAG),
        answer=AbortAnswer, codes=(*_SESSION, "UPLOAD_SESSION_COMPLETED"), trace="abort",
    ),
)  # fmt: skip
