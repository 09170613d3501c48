"""Who asks: Basic authentication, in front of everything but `/healthz` and `/connect` (clients.md R2)."""

from __future__ import annotations

from dataclasses import replace

from dav_provider.errors import answer_for
from dav_provider.request import Answer, Request
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import Caller
from vfs.operations import admission


def admit(kelp: Kelp, request: Request) -> Answer | None:
    """Sets `request.caller`; else the answer: 401, or 403 where a password would travel in the clear."""
    try:
        request.caller = caller_of(kelp, request)
    except KelpError as error:
        return answer_for(error, request)
    return None


def caller_of(kelp: Kelp, request: Request) -> Caller:
    """Authenticate the request, and note the lock tokens it submits.

    Raises what `admission.admit` raises, and InvalidRequest for a malformed `If`.
    """
    caller = admission.admit(kelp, request.header("Authorization"), request.peer, face="dav", trace_id=request.trace_id)
    tokens = _tokens(request)
    return replace(caller, tokens=tokens) if tokens else caller


def _tokens(request: Request) -> frozenset[str]:
    """Tokens of the `If` header, wherever they stand in it, and of Lock-Token."""
    tokens = request.if_header.tokens if request.if_header else frozenset()
    single = (request.header("Lock-Token") or "").strip()
    return tokens | {single[1:-1]} if single.startswith("<") and single.endswith(">") else tokens
