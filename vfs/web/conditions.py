"""Conditional requests and ranges: the `If-…` headers of RFC 9110 §13, and Range (§14; clients.md R14, R17).

A request is given as the look-up of its headers: a name to its value, None where it was not sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from vfs.errors import NotModified, PreconditionFailed, RangeNotSatisfiable
from vfs.model import ByteRange, Entry
from vfs.web.dates import parse_http_date

Header: TypeAlias = Callable[[str], str | None]

_ENTITY_TAG = re.compile(r'(W/)?"[^"]*"')
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def etag_of(content_id: str | None) -> str | None:
    """The strong entity tag of a content; folders have none. It changes with each content commit only (R7)."""
    return f'"{content_id}"' if content_id else None


def check_read(header: Header, entry: Entry) -> None:
    """Conditions of GET and HEAD, in the order of RFC 9110 §13.2.2. Raises PreconditionFailed or NotModified."""
    check_match(header, entry)
    if header("If-None-Match") is not None:
        if none_match_fails(header, entry):
            raise NotModified("the client has this version")
        return
    since = header("If-Modified-Since")
    # Only an equal date means "unchanged": a file may be replaced by an older one, and macOS
    # revalidates by date alone (R17). A folder's date says nothing about what is in it.
    if since is not None and not entry.is_folder and parse_http_date(since) == entry.shown_mtime:
        raise NotModified("the client has this version")


def check_match(header: Header, entry: Entry | None) -> None:
    """If-Match and If-Unmodified-Since, for any method. Raises PreconditionFailed."""
    wanted = header("If-Match")
    if wanted is not None:
        if not _matches(wanted, entry, weak=False):
            raise PreconditionFailed("If-Match: it is missing or another version")
        return  # RFC 9110 §13.1.4: If-Unmodified-Since is ignored beside If-Match
    until = header("If-Unmodified-Since")
    date = parse_http_date(until) if until is not None else None
    if date is not None and entry is not None and entry.shown_mtime > date:
        raise PreconditionFailed("If-Unmodified-Since: it was changed later")


def none_match_fails(header: Header, entry: Entry | None) -> bool:
    """Whether If-None-Match names what is there."""
    unwanted = header("If-None-Match")
    return unwanted is not None and _matches(unwanted, entry, weak=True)


def _matches(value: str, entry: Entry | None, *, weak: bool) -> bool:
    """Whether a list of entity tags, or `*`, names the entry's content (comparison: RFC 9110 §8.8.3.2)."""
    if entry is None:
        return False
    if value.strip() == "*":
        return True
    etag = etag_of(entry.content_id)
    tags = _ENTITY_TAG.finditer(value)
    return any(tag[0].removeprefix("W/") == etag and (weak or not tag[1]) for tag in tags)


def wanted_range(header: Header, entry: Entry) -> ByteRange | None:
    """The part of a file that GET asks for; None for all of it. Raises RangeNotSatisfiable.

    Malformed, unknown and multiple ranges count as none, which RFC 9110 §14.2 allows.
    """
    match = _RANGE.fullmatch(header("Range") or "")
    if not match or not _same_version(header("If-Range"), entry):
        return None
    first, last = match[1], match[2]
    size = entry.size
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # syntactically invalid (RFC 9110 §14.1.1)
    elif last:
        start, stop = max(size - int(last), 0), size
    else:
        return None
    if start >= stop:
        raise RangeNotSatisfiable("no byte of the file is in that range", size)
    return ByteRange(start, stop)


def _same_version(if_range: str | None, entry: Entry) -> bool:
    """If-Range (RFC 9110 §13.1.5): a strong entity tag, or exactly the date that Last-Modified shows."""
    if if_range is None:
        return True
    value = if_range.strip()
    if value.startswith(('"', "W/")):
        return value == etag_of(entry.content_id)
    return parse_http_date(value) == entry.shown_mtime
