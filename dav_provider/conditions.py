"""Conditional requests: `If`, the `If-…` headers of RFC 9110 §13, and Range (clients.md R14, R17).

`for_change` makes a `Condition` that the core evaluates twice, before the work and on the locked row inside
the transaction; `check_read` evaluates for GET and HEAD, where the answer may also be "not modified".
"""

from __future__ import annotations

import re

from dav_provider.dates import parse_http_date
from dav_provider.request import Request
from vfs.errors import NotModified, PreconditionFailed, RangeNotSatisfiable
from vfs.model import ByteRange, Condition, Entry

_ENTITY_TAG = re.compile(r'(W/)?"[^"]*"')
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_GUARDS = ("If", "If-Match", "If-None-Match", "If-Unmodified-Since")


def etag_of(content_id: str | None) -> str | None:
    """The strong entity tag of a content; folders have none. It changes with each content commit only (R7)."""
    return f'"{content_id}"' if content_id else None


def for_change(request: Request) -> Condition | None:
    """The request's conditions for a method that changes something; None when it has none."""
    if all(request.header(name) is None for name in _GUARDS):
        return None

    def condition(entry: Entry | None, tokens: frozenset[str]) -> None:
        check_if(request, entry, tokens)
        _check_match(request, entry)
        if _none_match_fails(request, entry):
            raise PreconditionFailed("If-None-Match: it exists")

    return condition


def check_if(request: Request, entry: Entry | None, tokens: frozenset[str]) -> None:
    """The `If` header alone, on the resource of the request (RFC 4918 §10.4). Raises PreconditionFailed.

    `tokens` are those of the locks that cover it. For MOVE and COPY this is the source, never the target.
    """
    header = request.if_header
    etag = etag_of(entry.content_id) if entry else None
    if header is not None and not header.holds(request.path, etag, tokens):
        raise PreconditionFailed("no list of the If header holds")


def check_read(request: Request, entry: Entry, tokens: frozenset[str]) -> None:
    """Conditions of GET and HEAD, in the order of RFC 9110 §13.2.2. Raises PreconditionFailed or NotModified."""
    check_if(request, entry, tokens)
    _check_match(request, entry)
    if request.header("If-None-Match") is not None:
        if _none_match_fails(request, entry):
            raise NotModified("the client has this version")
        return
    since = request.header("If-Modified-Since")
    # Only an equal date means "unchanged": a file may be replaced by an older one, and macOS
    # revalidates by date alone (R17). A folder's date says nothing about what is in it.
    if since is not None and not entry.is_folder and parse_http_date(since) == entry.shown_mtime:
        raise NotModified("the client has this version")


def _check_match(request: Request, entry: Entry | None) -> None:
    wanted = request.header("If-Match")
    if wanted is not None:
        if not _matches(wanted, entry, weak=False):
            raise PreconditionFailed("If-Match: it is missing or another version")
        return  # RFC 9110 §13.1.4: If-Unmodified-Since is ignored beside If-Match
    until = request.header("If-Unmodified-Since")
    date = parse_http_date(until) if until is not None else None
    if date is not None and entry is not None and entry.shown_mtime > date:
        raise PreconditionFailed("If-Unmodified-Since: it was changed later")


def _none_match_fails(request: Request, entry: Entry | None) -> bool:
    unwanted = request.header("If-None-Match")
    return unwanted is not None and _matches(unwanted, entry, weak=True)


def _matches(header: str, entry: Entry | None, *, weak: bool) -> bool:
    """Whether a list of entity tags, or `*`, names the entry's content (comparison: RFC 9110 §8.8.3.2)."""
    if entry is None:
        return False
    if header.strip() == "*":
        return True
    etag = etag_of(entry.content_id)
    tags = _ENTITY_TAG.finditer(header)
    return any(tag[0].removeprefix("W/") == etag and (weak or not tag[1]) for tag in tags)


def wanted_range(request: Request, entry: Entry) -> ByteRange | None:
    """The part of a file that GET asks for; None for all of it. Raises RangeNotSatisfiable.

    Malformed, unknown and multiple ranges count as none, which RFC 9110 §14.2 allows.
    """
    match = _RANGE.fullmatch(request.header("Range") or "")
    if not match or not _same_version(request.header("If-Range"), entry):
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
