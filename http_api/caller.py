"""Who asks, and whether this route is for him."""

from __future__ import annotations

from dataclasses import replace

from falcon import Request

from http_api.routing import Route
from vfs.core import Kelp
from vfs.errors import Forbidden
from vfs.model import Caller, Peer
from vfs.operations import admission
from vfs.people import SCOPES

_ASYNC = "respond-async"  # RFC 7240 §4.1
_SAFE = frozenset(("GET", "HEAD"))
_OURS = frozenset(("same-origin", "none"))  # none: the user himself


def of(kelp: Kelp, request: Request, route: Route, trace_id: str) -> Caller:
    """Raises Unauthenticated, TooManyAttempts, Forbidden."""
    peer: Peer = request.env["kelp.peer"]
    if request.method not in _SAFE:
        _refuse_other_sites(request)
    caller = admission.admit(kelp, request.get_header("Authorization"), peer, face="rest", trace_id=trace_id)
    _require_scope(caller, route)
    if route.admin and not caller.administers:
        raise Forbidden("only an admin may do this")
    if request.method in _SAFE:  # the rest is about changes
        return caller
    wishes = {wish.strip().lower() for wish in (request.get_header("Prefer") or "").split(",")}
    token = (request.get_header("Lock-Token") or "").strip().strip("<>")
    tokens = frozenset((token,)) if token else frozenset[str]()
    return replace(caller, tokens=tokens, refuse_while_syncing=_ASYNC not in wishes)


def _require_scope(caller: Caller, route: Route) -> None:
    """A token is for what it was made for. Raises Forbidden."""
    scope = route.scope or ("admin" if route.admin else "read" if route.method in _SAFE else "write")
    if caller.most < SCOPES[scope]:
        raise Forbidden(f"the token would need the scope {scope}")


def _refuse_other_sites(request: Request) -> None:
    """A browser that knows the password sends it along with what any page asks of us; it says from where. Over plain
    HTTP it names only the origin of the page (RFC 6454 §7), "null" for what has none. Raises Forbidden."""
    site, origin = request.get_header("Sec-Fetch-Site"), request.get_header("Origin")
    if site is not None:
        ours = site in _OURS
    else:
        ours = origin is None or origin.partition("://")[2].lower() in request.env["kelp.hosts"]
    if not ours:
        raise Forbidden("a page of another site may not change anything here")
