"""LOCK and UNLOCK (RFC 4918 §9.10, §9.11; clients.md R12, R13)."""

from __future__ import annotations

import re

from dav_provider import conditions, xmlio
from dav_provider.live_properties import CoveringLock, activelock
from dav_provider.request import Answer, Request
from dav_provider.resources import locate, locate_existing, place_of, tokens_on
from vfs.core import Kelp
from vfs.errors import InvalidRequest, NotFound
from vfs.model import DavLock, Found, Scope
from vfs.operations import locking, reading

_DEFAULT_SECONDS = 3600
_MOST_SECONDS = 2**32 - 1  # RFC 4918 §10.7; the core has its own cap below
_SECONDS = re.compile(r"second-(\d{1,20})", re.IGNORECASE)
_CODED_URL = re.compile(r"\s*<([^<>\s]+)>\s*")


def lock(kelp: Kelp, request: Request) -> Answer:
    """A new lock: 200, or 201 when the name was free and is an empty file now. An empty body refreshes one."""
    timeout = timeout_of(request.header("Timeout"))
    body = xmlio.read_bounded(request.body, request.length)
    found = locate(kelp, request)
    if not body.strip():
        return _refresh(kelp, request, found, timeout)
    if request.depth == "1":
        raise InvalidRequest("LOCK is with Depth 0 or infinity")
    scope, owner = parse_lockinfo(body)
    result = locking.lock(
        kelp,
        request.caller,
        place_of(found) if found.segments else None,
        scope=scope,
        infinite=request.depth != "0",
        owner=owner,
        timeout=timeout,
        condition=conditions.for_change(request),
        path=found.segments,
    )
    return _granted(201 if result.created else 200, result.lock, found.segments, result.entry.is_folder)


def _refresh(kelp: Kelp, request: Request, found: Found, timeout: int | None) -> Answer:
    if request.if_header is None or not request.if_header.tokens:
        raise InvalidRequest("LOCK needs a body, or an If header with the token to refresh")
    if found.entry is None:
        raise NotFound("there is nothing at this address")
    conditions.check_if(request, found.entry, tokens_on(kelp, request, found))
    held = locking.refresh(kelp, request.caller, found.entry.id, request.if_header.tokens, timeout)
    # The lock may be one of a folder above, so its root is looked up.
    root = found.segments if held.entry_id == found.entry.id else reading.path_of(kelp, held.entry_id)
    return _granted(200, held, root, found.entry.is_folder or held.entry_id != found.entry.id)


def _granted(status: int, held: DavLock, root: tuple[str, ...], root_is_folder: bool) -> Answer:
    active = activelock(CoveringLock(held, root, root_is_folder), held.timeout)
    document = (
        f'{xmlio.DECLARATION}<D:prop xmlns:D="DAV:"><D:lockdiscovery>{active}</D:lockdiscovery></D:prop>'
    ).encode()
    return Answer(status, [("Content-Type", xmlio.XML_TYPE), ("Lock-Token", f"<{held.token}>")], document)


def unlock(kelp: Kelp, request: Request) -> Answer:
    """204. Raises LockTokenMismatch, NotFound, Forbidden, PreconditionFailed; InvalidRequest without a Lock-Token."""
    match = _CODED_URL.fullmatch(request.header("Lock-Token") or "")
    if not match:
        raise InvalidRequest("UNLOCK needs a Lock-Token header: <token>")
    found, entry = locate_existing(kelp, request)
    conditions.check_if(request, entry, tokens_on(kelp, request, found))
    locking.unlock(kelp, request.caller, entry.id, match[1])
    return Answer(204)


def timeout_of(header: str | None) -> int | None:
    """Seconds asked for: the first of the offered values that is understood; None for Infinite, an hour for none."""
    for part in (header or "").split(","):
        text = part.strip()
        if text.lower() == "infinite":
            return None
        if match := _SECONDS.fullmatch(text):
            return max(1, min(int(match[1]), _MOST_SECONDS))
    return _DEFAULT_SECONDS


def parse_lockinfo(body: bytes) -> tuple[Scope, str]:
    """Scope, and the owner as an XML fragment ("" when none was given). Raises InvalidRequest."""
    info = xmlio.parse(body, "lockinfo")
    scopes = [scope for scope in Scope if info.find(f"{{DAV:}}lockscope/{{DAV:}}{scope}") is not None]
    if len(scopes) != 1 or info.find("{DAV:}locktype/{DAV:}write") is None:
        raise InvalidRequest("a lockinfo has one lockscope, exclusive or shared, and the locktype write")
    owner = info.find("{DAV:}owner")
    return scopes[0], "" if owner is None else xmlio.inner_xml(owner)
