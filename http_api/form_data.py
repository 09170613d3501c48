"""A file in a form (multipart/form-data, RFC 7578), as it comes: fields first, then the file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import falcon
from falcon.media.multipart import BodyPart, MultipartForm, MultipartParseOptions
from falcon.util.reader import BufferedReader

from http_api.routing import Ask
from vfs.errors import InvalidRequest
from vfs.model import PIECE_SIZE

MEDIA_TYPE = "multipart/form-data"
OVERHEAD = 1024 * 1024  # bytes of a form that are not the file's, at most
_CHUNK = 256 * 1024  # bytes in which the boundary is looked for at a time
_ENDLESS = 1 << 62
_LONGEST_FIELD = 64 * 1024  # bytes
_MOST_PARTS = 32
_UNTOLD = "text/plain"  # also what a part is that does not tell its type
# Of fields. Python has more, and some of them, such as punycode, take a minute for 2 MiB.
_CHARSETS = frozenset(("utf-8", "us-ascii", "iso-8859-1"))


@dataclass(frozen=True, slots=True)
class Form:
    """`pieces` of the file end only where the form does: what is cut, or goes on, raises InvalidRequest there."""

    fields: dict[str, str]
    file_name: str
    mime_type: str | None
    pieces: Iterator[bytes]


def is_form(ask: Ask) -> bool:
    return (ask.request.content_type or "").partition(";")[0].strip().lower() == MEDIA_TYPE


def opened(ask: Ask) -> Form:
    """Read up to the beginning of the file. Raises InvalidRequest, UploadIncomplete."""
    parts = iter(_form(ask))
    fields: dict[str, str] = {}
    while True:
        with _faults():
            part = next(parts, None)
            if part is None:
                raise InvalidRequest("the form has no file")
            if part.filename is not None:
                told = part.content_type
                return Form(fields, part.filename, None if told == _UNTOLD else told, _pieces(part, parts))
            name, text = part.name, _text(part)
        if name is None or text is None or name in fields:
            raise InvalidRequest("a field of the form has no name, is no text, or comes twice")
        fields[name] = text


def _text(part: BodyPart) -> str | None:
    """None: it is no text, or in a charset that no form has. Raises UnicodeError."""
    essence, options = falcon.parse_header(part.content_type)
    charset = options.get("charset", "utf-8").lower()
    if essence != _UNTOLD or charset not in _CHARSETS:
        return None
    return bytes(part.get_data()).decode(charset)


def _form(ask: Ask) -> MultipartForm:
    _, options = falcon.parse_header(ask.request.content_type or "")
    boundary = options.get("boundary", "").rstrip()
    if not (1 <= len(boundary) <= 70 and boundary.isascii()):
        raise InvalidRequest("the form does not say how its parts are parted")
    return MultipartForm(BufferedReader(ask.stream.read, _ENDLESS, _CHUNK), boundary.encode(), None, _limits())


@cache
def _limits() -> MultipartParseOptions:
    """Made once: with it come parsers of all that a part may be, and they take longer than a small form."""
    limits = MultipartParseOptions()
    limits.max_body_part_buffer_size, limits.max_body_part_count = _LONGEST_FIELD, _MOST_PARTS
    return limits


def _pieces(part: BodyPart, parts: Iterator[BodyPart]) -> Iterator[bytes]:
    with _faults():
        while piece := part.stream.read(PIECE_SIZE):
            yield piece
        if next(parts, None) is not None:
            raise InvalidRequest("something follows the file in the form: fields come first, and there is one file")


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except falcon.MultipartParseError as error:
        raise InvalidRequest(f"the form is malformed: {error.description}") from error
    except (UnicodeError, LookupError) as error:
        raise InvalidRequest("a name in the form is not in UTF-8") from error
