"""Paths of URLs: decoded exactly once into segments, and encoded again for `href` (clients.md R5, R16).

A path is a tuple of decoded segments below the server's root, so `("dav", "a b")` is `/dav/a%20b`. Whether
a URL ended in `/` is forgotten on purpose: a folder without it and a file with it mean the same (R6).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from vfs.errors import InvalidName, InvalidRequest
from vfs.names import check_segment

Segments = tuple[str, ...]

MOUNT: Segments = ("dav",)  # no dot in it: Office then takes another code path and loses its locks (clients.md §1.1)
MOUNT_HREF = "/dav/"

_UNENCODED = "-._~!$'()*,;=:@"  # beside letters and digits; `&` and `+` are encoded, so no href needs XML escapes
_PLAIN = re.compile(r"[A-Za-z0-9._~!$'()*,;=:@-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_DEFAULT_PORT = re.compile(r":(?:80|443)?$")


class ElsewhereError(InvalidRequest):
    """A Destination on another server, or outside the drive (`same_host`)."""

    def __init__(self, message: str, *, same_host: bool) -> None:
        super().__init__(message)
        self.same_host = same_host


def parse_target(target: str) -> Segments:
    """Segments of a request target: an absolute path, or an absolute URL (RFC 9112 §3.2.2); the query is dropped.

    Raises InvalidName or NameTooLong for a segment that no entry can have, InvalidRequest for bad escapes.
    """
    _, path = _split(target)
    return decode_path(path.partition("?")[0])


def origin_form(target: str) -> str:
    """A request target that may be an absolute URL (RFC 9112 §3.2.2) as path and query, nothing decoded."""
    return target if target.startswith("/") else _split(target)[1]


def parse_destination(header: str, hosts: frozenset[str]) -> Segments:
    """Segments of a Destination header (RFC 4918 §10.3), which may be a URL or a path.

    `hosts` are the names this server was asked by, as `host_name` gives them; empty means unknown. Raises
    what `parse_target` raises, and ElsewhereError for another host.
    """
    authority, path = _split(header.strip())
    if "?" in path or "#" in path:
        raise InvalidRequest("Destination may have no query and no fragment")
    if authority is not None and hosts and host_name(authority) not in hosts:
        raise ElsewhereError("Destination names another server", same_host=False)
    return decode_path(path)


def tag_path(tag: str) -> Segments | None:
    """Segments of a resource tag in an `If` header, whatever host it names; None when it is no path at all."""
    try:
        return decode_path(_split(tag.strip())[1])
    except (InvalidName, InvalidRequest):
        return None


def host_name(authority: str) -> str:
    """`user:pass@Host:443` → `host`; other ports stay, since they tell servers apart."""
    return _DEFAULT_PORT.sub("", authority.rpartition("@")[2].strip().lower())


def decode_path(path: str) -> Segments:
    """Split an encoded absolute path, then decode each segment once, then resolve `.` and `..` (RFC 3986 §5.2.4).

    `path` is text as WSGI gives it: each character one byte. `..` never climbs above the root, and empty
    segments (`//`) are dropped.
    """
    if not path.startswith("/"):
        raise InvalidRequest("a path must begin with /")
    segments: list[str] = []
    for raw in path.split("/"):
        name = _decode(raw)
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(check_segment(name))
    return tuple(segments)


def encode(name: str) -> str:
    """One segment, percent-encoded for a URL."""
    return name if _PLAIN.fullmatch(name) else quote(name, safe=_UNENCODED)


def href(segments: Segments, *, folder: bool) -> str:
    """Absolute path of a URL; folders end in `/`."""
    path = "/" + "/".join(encode(segment) for segment in segments)
    return path + "/" if folder and segments else path


def _split(url: str) -> tuple[str | None, str]:
    """Authority (None when it is only a path) and path with whatever follows it, nothing decoded."""
    if match := _AUTHORITY.match(url):
        rest = url[match.end() :]
        return match[1], rest if rest.startswith("/") else "/" + rest
    return None, url


def _decode(raw: str) -> str:
    if _BAD_ESCAPE.search(raw):
        raise InvalidRequest("a % in a path must be followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")
    except UnicodeError as error:
        raise InvalidName("paths must be encoded as UTF-8") from error
