"""tus 1.0 (https://tus.io/protocols/resumable-upload): uploads that go on where they were cut, over the same sessions.

Extensions: creation, creation-with-upload, checksum, expiration, termination. Where the upload goes stands in
Upload-Metadata: `filename` (or `name`), `folderId`, `filetype` (or `type`), `conflictStrategy`. With its last byte it
becomes a file, whose id is told in `Kelp-File-Id`. Should that be refused (the folder is gone, say), a HEAD is refused
in the same way, so that no client takes for done what is not.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from http_api import multipart, uploads
from http_api.errors import ApiError
from http_api.routing import Ask, Handler, Reply, Route
from vfs.errors import (
    InvalidRequest,
    PartsIncomplete,
    PreconditionFailed,
    SessionExpired,
    SessionNotFound,
    UploadIncomplete,
)
from vfs.model import Caller, Expected, OnConflict
from vfs.operations import session_ending, session_parts, sessions
from vfs.operations.sessions import Progress, Protocol, Status

VERSION = "1.0.0"
_OFFSET_BYTES = "application/offset+octet-stream"
_EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
_ALGORITHMS = {"sha1": 20, "md5": 16}  # bytes of a digest
_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # neither spaces nor commas
_LONGEST_METADATA = 8192  # characters


def options(ask: Ask) -> Reply:
    told = (
        ("Tus-Extension", _EXTENSIONS),
        ("Tus-Max-Size", str(_largest(ask))),
        ("Tus-Checksum-Algorithm", ",".join(_ALGORITHMS)),
    )
    return Reply(None, 204, told)


def create(ask: Ask) -> Reply:
    _require_version(ask)
    size = _number(ask, "Upload-Length")
    if size > _largest(ask):
        raise ApiError("FILE_TOO_LARGE", maxSize=_largest(ask))
    told = ask.request.get_header("Upload-Metadata")
    known = _metadata(told)
    strategy = known.get("conflictStrategy", OnConflict.RENAME)
    if strategy not in (OnConflict.ERROR, OnConflict.RENAME, OnConflict.OVERWRITE):
        raise InvalidRequest("conflictStrategy: ERROR, RENAME or OVERWRITE")
    with_bytes = _has_bytes(ask)
    begun = sessions.begin(
        ask.kelp,
        _caller(ask),
        known.get("folderId") or None,
        known.get("filename") or known.get("name") or "",
        size,
        mime_type=uploads.known_type(known.get("filetype") or known.get("type")),
        on_conflict=OnConflict(strategy),
        protocol=Protocol.TUS,
        metadata=told,
    )
    headers = [("Location", f"{ask.request.path.rstrip('/')}/{begun.uuid}")]
    if with_bytes or not size:
        headers += _go_on(ask, begun.uuid, 0) if with_bytes else _ended(ask, begun.uuid)
    else:
        headers.append(_expires(begun.expires_ns))
    return Reply(None, 201, tuple(headers))


def head(ask: Ask) -> Reply:
    """What has all its bytes and is no file yet, since the server died in between, or it was refused, becomes one."""
    _require_version(ask)
    now = _progress(ask)
    headers = [("Cache-Control", "no-store"), ("Upload-Length", str(now.size))]
    if now.metadata:
        headers.append(("Upload-Metadata", now.metadata))
    if now.status is Status.COMPLETED or now.sent == now.size:
        try:
            headers += _ended(ask, now.uuid)
            return Reply(None, 200, (*headers, ("Upload-Offset", str(now.size))))
        except PartsIncomplete:  # the cache lost some: on from there
            now = _progress(ask)
    return Reply(None, 200, (*headers, ("Upload-Offset", str(now.sent)), _expires(now.expires_ns)))


def patch(ask: Ask) -> Reply:
    _require_version(ask)
    if not _has_bytes(ask):
        raise ApiError("UNSUPPORTED_MEDIA_TYPE")
    offset = _number(ask, "Upload-Offset")
    now = _progress(ask)
    if now.status is Status.COMPLETED:
        if offset != now.size or ask.request.content_length != 0:
            raise ApiError("CONFLICT")
        return Reply(None, 204, (("Upload-Offset", str(offset)), *_ended(ask, now.uuid)))
    return Reply(None, 204, tuple(_go_on(ask, now.uuid, offset)))


def delete(ask: Ask) -> Reply:
    _require_version(ask)
    if _progress(ask).status is not Status.COMPLETED:
        sessions.abort(ask.kelp, ask.caller, ask.ids["id"], Protocol.TUS)
        return Reply(None, 204)
    raise ApiError("UPLOAD_SESSION_COMPLETED")


def overridden(ask: Ask) -> Reply:
    """POST for what cannot send PATCH or DELETE."""
    wanted = (ask.request.get_header("X-HTTP-Method-Override") or "").strip().upper()
    handlers: dict[str, Callable[[Ask], Reply]] = {"PATCH": patch, "DELETE": delete, "HEAD": head}
    if wanted not in handlers:
        raise InvalidRequest("X-HTTP-Method-Override: PATCH, DELETE or HEAD")
    return handlers[wanted](ask)


# --- the upload ---


def _caller(ask: Ask) -> Caller:
    """Upload clients know nothing of the mirror."""
    return replace(ask.caller, refuse_while_syncing=False)


def _progress(ask: Ask) -> Progress:
    """One that goes on, or is complete. Raises SessionNotFound."""
    now = sessions.progress(ask.kelp, ask.caller, ask.ids["id"], Protocol.TUS)
    if now.status in (Status.ABORTED, Status.EXPIRED):
        raise SessionNotFound("the upload is over")
    return now


def _go_on(ask: Ask, uuid: str, offset: int) -> list[tuple[str, str]]:
    """Take the body in."""
    expected, body = _announced(ask), _Counted(uploads.raw(ask))
    try:
        at = session_parts.append(ask.kelp, _caller(ask), uuid, offset, body, expected=expected)
    except PreconditionFailed as error:
        raise ApiError("CONFLICT") from error
    except SessionExpired as error:
        raise SessionNotFound("the upload is over") from error
    except UploadIncomplete as error:
        if (expected.sha1 or expected.md5) and body.ended and expected.length in (None, body.come):
            raise ApiError("CHECKSUM_MISMATCH") from error
        raise
    now = sessions.progress(ask.kelp, ask.caller, uuid, Protocol.TUS)
    told = [("Upload-Offset", str(at))]
    try:
        return [*told, *(_ended(ask, uuid) if at == now.size else [_expires(now.expires_ns)])]
    except PartsIncomplete as error:  # the cache lost some: a HEAD tells where it goes on
        raise ApiError("CONFLICT") from error


def _ended(ask: Ask, uuid: str) -> list[tuple[str, str]]:
    """All bytes are there: it is a file from now on, if it was none before."""
    entry = session_ending.complete(ask.kelp, _caller(ask), uuid, protocol=Protocol.TUS)
    return [("Kelp-File-Id", entry.uuid)]


class _Counted(Iterator[bytes]):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.come, self.ended = 0, False

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            self.ended = True
            raise
        self.come += len(piece)
        return piece


# --- headers ---


def _require_version(ask: Ask) -> None:
    if ask.request.get_header("Tus-Resumable") != VERSION:
        raise PreconditionFailed(f"Tus-Resumable: {VERSION}")


def _largest(ask: Ask) -> int:
    return sessions.MOST_PARTS * ask.kelp.settings.upload.part_limit


def _has_bytes(ask: Ask) -> bool:
    return (ask.request.content_type or "").partition(";")[0].strip().lower() == _OFFSET_BYTES


def _number(ask: Ask, name: str) -> int:
    """Raises InvalidRequest."""
    value = (ask.request.get_header(name) or "").strip()
    if not _NUMBER.fullmatch(value):
        raise InvalidRequest(f"{name}: a number of bytes")
    return int(value)


def _expires(ns: int) -> tuple[str, str]:
    return ("Upload-Expires", formatdate(ns // 1_000_000_000, usegmt=True))


def _announced(ask: Ask) -> Expected:
    """The length of the body, and its digest where Upload-Checksum tells it. Raises InvalidRequest."""
    length, told = ask.request.content_length, ask.request.get_header("Upload-Checksum")
    if told is None:
        return Expected(length=length)
    algorithm, _, value = told.strip().partition(" ")
    digest = _decoded(value, "Upload-Checksum")
    if len(digest) != _ALGORITHMS.get(algorithm):
        raise InvalidRequest("Upload-Checksum: sha1 or md5, and the digest in Base64")
    digests: dict[str, Any] = {algorithm: digest.hex()}
    return Expected(length=length, **digests)


def _metadata(told: str | None) -> dict[str, str]:
    """Pairs of a key and a value in Base64, commas between. Raises InvalidRequest."""
    found: dict[str, str] = {}
    if not told:
        return found
    if len(told) > _LONGEST_METADATA:
        raise InvalidRequest("Upload-Metadata is too long")
    for pair in told.split(","):
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise InvalidRequest("Upload-Metadata: a key is missing, malformed, or comes twice")
        try:
            found[key] = _decoded(value, "Upload-Metadata").decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest("Upload-Metadata: a value is not in UTF-8") from error
    return found


def _decoded(value: str, name: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{name}: a value is not in Base64") from error


_ALWAYS = (("Tus-Resumable", VERSION), ("Tus-Version", VERSION))
_GOING_ON = (*multipart.RUNNING, "PRECONDITION_FAILED", "FILE_NOT_FOUND", *uploads.PLACING)
_SENDING = (*_GOING_ON, "INVALID_REQUEST", "CHECKSUM_MISMATCH", "UNSUPPORTED_MEDIA_TYPE")


def _route(method: str, path: str, do: Handler, summary: str, codes: tuple[str, ...], **more: Any) -> Route:
    return Route(method, path, do, summary, "tus", codes=codes, always=_ALWAYS, **more)


_ONE = "/tus/{id}"
_HEADERS = ("Tus-Resumable", "Upload-Offset", "Upload-Checksum")

ROUTES = (
    _route("OPTIONS", "/tus", options, "What this server can do", (), status=204),
    _route("OPTIONS", _ONE, options, "What this server can do", (), status=204),
    _route(
        *("POST", "/tus", create, "Begin an upload", (*_SENDING, "FILE_TOO_LARGE")),
        noun="folder", accepts=(_OFFSET_BYTES,), status=201, trace="init",
        headers=("Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Checksum"),
    ),
    _route("HEAD", _ONE, head, "How much has come", _GOING_ON, noun="file", headers=_HEADERS[:1], trace="resume"),
    _route(
        *("PATCH", _ONE, patch, "Go on", _SENDING),
        noun="file", accepts=(_OFFSET_BYTES,), status=204, headers=_HEADERS, trace="part",
    ),
    _route("DELETE", _ONE, delete, "Give it up", _GOING_ON, status=204, headers=_HEADERS[:1], trace="abort"),
    _route(
        *("POST", _ONE, overridden, "PATCH, DELETE or HEAD, by X-HTTP-Method-Override", _SENDING),
        noun="file", accepts=(_OFFSET_BYTES,), status=204, also={200: None}, trace="part",
        headers=(*_HEADERS, "X-HTTP-Method-Override"),
    ),
)  # fmt: skip
