"""The head of a request, read strictly: what two servers could understand differently is refused.

Pure. Fields have the names and the text form of WSGI (PEP 3333): `HTTP_IF_MATCH`, one character for each byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

LARGEST_HEAD = 64 * 1024  # bytes of request line and header fields
LONGEST_LINE = 32 * 1024  # bytes of the request line
MOST_FIELDS = 200

# Repeating one of these is a mistake or an attack; joined by commas they would mean something else.
_SINGLE = frozenset(
    (
        *("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_AUTHORIZATION", "HTTP_CONTENT_RANGE", "HTTP_DEPTH"),
        *("HTTP_DESTINATION", "HTTP_HOST", "HTTP_IF", "HTTP_LOCK_TOKEN", "HTTP_OVERWRITE", "HTTP_RANGE"),
        *("HTTP_TIMEOUT", "HTTP_TRANSFER_ENCODING"),
    )
)
# Without "_": WSGI could not tell `Content_Length` from `Content-Length`.
_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_CONTROL = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_ABSOLUTE = re.compile(r"https?://[^/?#]+(?:[/?]|$)", re.IGNORECASE)
_HOST = re.compile(r"[^\s/?#@\\,]*")
_LENGTH = re.compile(r"[0-9]{1,18}")

_names: dict[str, str] = {}  # of WSGI, for names as clients write them; there are few, so it is bounded


class RefusedError(Exception):
    """The head of a request is not understood, or not wanted; the connection ends with the answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Head(NamedTuple):
    method: str
    target: str  # as it was sent
    minor: int  # 0 or 1: HTTP/1.0 or newer
    fields: dict[str, str]
    length: int  # of the body, bytes
    chunked: bool


def parse_head(data: bytes) -> Head:
    """A head without its final empty line. Raises RefusedError."""
    if _CONTROL.search(data):
        raise _bad("control characters in the head, or lines that do not end in CRLF")
    line, _, rest = data.partition(b"\r\n")
    _check_length(line)
    method, target, minor = parse_request_line(line)
    fields = parse_fields(rest.decode("latin-1").split("\r\n") if rest else ())
    if minor and "HTTP_HOST" not in fields:
        raise _bad("a request needs a Host field")  # RFC 9112 §3.2
    if not _HOST.fullmatch(fields.get("HTTP_HOST", "")):
        raise _bad("malformed Host")
    length, chunked = body_framing(fields, minor)
    return Head(method, target, minor, fields, length, chunked)


def parse_request_line(line: bytes) -> tuple[str, str, int]:
    """Method, target, and whether it is HTTP/1.0 or newer (RFC 9112 §3). Raises RefusedError."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad("malformed request line")
    method, target = match[1].decode("latin-1"), match[2].decode("latin-1")
    if match[3] != b"1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    if not (target.startswith("/") or _ABSOLUTE.match(target) or (target == "*" and method == "OPTIONS")):
        raise _bad("malformed request target")
    if "#" in target:
        raise _bad("a request target has no fragment")
    return method, target, 0 if match[4] == b"0" else 1


def check_beginning(data: bytes) -> None:
    """What is wrong with a head already although it is not complete; nobody waits for its end then.

    Raises RefusedError.
    """
    line, end, _ = data.partition(b"\r\n")
    _check_length(line)
    if _CONTROL.search(data.removesuffix(b"\r")):
        raise _bad("control characters in the head, or lines that do not end in CRLF")
    if end:
        parse_request_line(line)
    if len(data) > LARGEST_HEAD:
        raise RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of a request may have {LARGEST_HEAD} bytes"
        )


def _check_length(line: bytes) -> None:
    if len(line) > LONGEST_LINE:
        raise RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, f"a request line may have {LONGEST_LINE} bytes")


def parse_fields(lines: Iterable[str]) -> dict[str, str]:
    """Fields by WSGI's names (RFC 9112 §5).

    Raises RefusedError for what is malformed, folded over lines, too much, or repeated where that has no meaning.
    """
    fields: dict[str, str] = {}
    for count, line in enumerate(lines):
        name, colon, value = line.partition(":")
        key = _names.get(name) or _new_name(name)
        if not colon:
            raise _bad("malformed header field")
        if count >= MOST_FIELDS:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {MOST_FIELDS} header fields")
        value = value.strip(" \t")
        if key not in fields:
            fields[key] = value
        elif key in _SINGLE:
            raise _bad(f"{name} is given twice")
        else:
            fields[key] += ("; " if key == "HTTP_COOKIE" else ", ") + value
    return fields


def _new_name(name: str) -> str:
    if not _NAME.fullmatch(name):  # also catches folded lines
        raise _bad("malformed header field")
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        key = "HTTP_" + key
    if len(_names) < 500 and len(name) < 50:
        _names[name] = key
    return key


def body_framing(fields: dict[str, str], minor: int = 1) -> tuple[int, bool]:
    """Length in bytes and whether the body is chunked (RFC 9112 §6). Raises RefusedError."""
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    length = fields.get("CONTENT_LENGTH")
    if coding is not None:
        if length is not None:
            raise _bad("Content-Length beside Transfer-Encoding")
        if not minor:
            raise _bad("HTTP/1.0 has no transfer codings")  # RFC 9112 §6.1
        if coding.lower() != "chunked":
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding is chunked")
        return 0, True
    if length is None:
        return 0, False
    if not _LENGTH.fullmatch(length):
        raise _bad("malformed Content-Length")
    return int(length), False


def _bad(text: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, text)
