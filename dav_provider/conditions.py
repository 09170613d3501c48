"""Conditional requests: `If`, with the `If-…` headers that all of HTTP has (`vfs/web/conditions.py`).

`for_change` makes a `Condition` that the core evaluates twice, before the work and on the locked row inside
the transaction; `check_read` evaluates for GET and HEAD, where the answer may also be "not modified".
"""

from __future__ import annotations

from dav_provider.request import Request
from vfs.errors import PreconditionFailed
from vfs.model import Condition, Entry
from vfs.web import conditions
from vfs.web.conditions import etag_of

_GUARDS = ("If", "If-Match", "If-None-Match", "If-Unmodified-Since")


def for_change(request: Request) -> Condition | None:
    """The request's conditions for a method that changes something; None when it has none."""
    if all(request.header(name) is None for name in _GUARDS):
        return None

    def condition(entry: Entry | None, tokens: frozenset[str]) -> None:
        check_if(request, entry, tokens)
        conditions.check_match(request.header, entry)
        if conditions.none_match_fails(request.header, entry):
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
    conditions.check_read(request.header, entry)
