"""Contents of files, to keep and to look at, and folders as archives. What the headers of a request mean is the same
as on WebDAV: both faces ask `vfs.web`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from http_api import preview_types, zip_stream
from http_api.errors import ApiError
from http_api.routing import Ask, Reply, Route, Streamed
from vfs.errors import NotModified
from vfs.model import ByteRange, Entry, Kind
from vfs.operations import archiving, by_id, reading
from vfs.web import conditions, contents
from vfs.web.disposition import disposition

# What is kept is asked about each time: the address stays the same when the file changes, and so do rights.
_ASK_AGAIN = ("Cache-Control", "private, no-cache")
_SEEN = 4096  # bytes of a text by which its charset is told
_ROOT = "Kelp"  # the root has no name of its own
_TYPES = ("*/*",)  # whatever the file is
LOST = ("FILE_NOT_FOUND_IN_STORAGE", "NAS_UNAVAILABLE")
_OF_FILES = ("FILE_NOT_FOUND", "FILE_DELETED", "FILE_IN_TRASH", *LOST)
CONDITIONS = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
OF_READS = ("PRECONDITION_FAILED", "RANGE_NOT_SATISFIABLE")


def download(ask: Ask) -> Reply | Streamed:
    return kept(ask, by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE))


def kept(ask: Ask, entry: Entry) -> Reply | Streamed:
    """What a file shows, or showed once, as ranges and conditions ask for it, to be kept under its name."""
    known = (contents.SANDBOX, disposition("attachment", entry.name))
    return _unchanged(ask, entry) or _content(ask, entry, contents.content_type(entry.mime_type), known)


def preview(ask: Ask) -> Reply | Streamed:
    entry = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FILE)
    shown = preview_types.shown_as(entry.mime_type)
    if shown is None:
        raise ApiError("NO_PREVIEW")
    unchanged = _unchanged(ask, entry)
    if unchanged is not None:
        return unchanged
    known = (preview_types.policy_of(shown), disposition("inline", entry.name))
    return _content(ask, entry, shown + _charset(ask, entry) if shown == "text/plain" else shown, known)


def _unchanged(ask: Ask, entry: Entry) -> Reply | None:
    """304 when the client has it. Raises PreconditionFailed."""
    try:
        conditions.check_read(ask.header, entry)
    except NotModified:
        return Reply(None, 304, (*contents.validators(entry), _ASK_AGAIN))
    return None


def _content(ask: Ask, entry: Entry, mime_type: str, known: Iterable[tuple[str, str]]) -> Streamed:
    """Raises RangeNotSatisfiable, StoreError. A HEAD opens nothing, and has no range (RFC 9110 §14.2)."""
    part: ByteRange | None = None
    body: bytes | Iterator[bytes] = b""
    if ask.request.method != "HEAD":
        part = conditions.wanted_range(ask.header, entry)
        reader = reading.open_content(ask.kelp, ask.caller, entry)
        body = contents.body_of(reader.chunks(part), entry, part)
    status, span = contents.span_of(entry, part)
    told = (("Content-Type", mime_type), ("Accept-Ranges", "bytes"), *contents.validators(entry))
    headers = (*told, contents.NOSNIFF, _ASK_AGAIN, *known, *span)
    return Streamed(body, headers, status)


def _charset(ask: Ask, entry: Entry) -> str:
    beginning = ByteRange(0, min(entry.size, _SEEN))
    pieces = reading.open_content(ask.kelp, ask.caller, entry).chunks(beginning)
    charset = preview_types.charset_of(b"".join(pieces))
    return f"; charset={charset}" if charset else ""


def archive(ask: Ask) -> Streamed:
    folder = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER)
    headers = (
        ("Content-Type", "application/zip"),
        disposition("attachment", f"{folder.name or _ROOT}.zip"),
        *(contents.NOSNIFF, contents.SANDBOX, ("Cache-Control", "private, no-store")),
    )
    if ask.request.method == "HEAD":
        return Streamed((), headers)
    members = archiving.members(ask.kelp, ask.caller, folder)
    return Streamed(contents.started(zip_stream.archive(members)), headers)


ROUTES = (
    Route(
        *("GET", "/files/{id}/download", download, "The content of a file, to keep; ranges and conditions", "files"),
        noun="file", gives=_TYPES, also={206: None, 304: None}, codes=(*_OF_FILES, *OF_READS), headers=CONDITIONS,
    ),
    Route(
        *("GET", "/files/{id}/preview", preview, "The content of a file, for a browser to show", "files"),
        noun="file", gives=("image/*", "audio/*", "video/*", "application/pdf", "text/plain"),
        also={206: None, 304: None}, codes=(*_OF_FILES, *OF_READS, "NO_PREVIEW"), headers=CONDITIONS,
    ),
    Route(
        *("GET", "/folders/{id}/zip", archive, "A folder and all that the caller may read below it", "folders"),
        noun="folder", gives=("application/zip",), codes=("FOLDER_NOT_FOUND", "FILE_IN_TRASH", *LOST),
    ),
)  # fmt: skip
