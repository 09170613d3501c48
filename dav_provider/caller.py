"""Who asks: Basic authentication, in front of everything but `/healthz` and `/connect` (clients.md R2)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from dav_provider.errors import answer_for
from dav_provider.request import Answer, Request, text_answer
from vfs.core import Kelp
from vfs.errors import KelpError, Unauthenticated
from vfs.model import Caller
from vfs.operations import access

_PLAIN_REFUSED = (
    "Passwords are not accepted over plain HTTP from other machines: use https, "
    "or set auth.allow_plain_http when the network itself is protected."
)


def admit(kelp: Kelp, request: Request) -> Answer | None:
    """Sets `request.caller`; else the answer: 401, or 403 where a password would travel in the clear."""
    if not (request.secure or kelp.settings.auth.allow_plain_http or request.local):
        return text_answer(403, _PLAIN_REFUSED)
    try:
        request.caller = caller_of(kelp, request)
    except KelpError as error:
        return answer_for(error, request)
    return None


def caller_of(kelp: Kelp, request: Request) -> Caller:
    """Authenticate the request, and note the lock tokens it submits.

    Raises Unauthenticated for anything but good Basic credentials, TooManyAttempts after many bad ones, InvalidRequest
    for a malformed `If`.
    """
    name, _, password = _credentials(request.header("Authorization")).partition(":")
    caller = access.authenticate(
        kelp, name, password, face="dav", address=request.remote_address, trace_id=request.trace_id
    )
    tokens = _tokens(request)
    return replace(caller, tokens=tokens) if tokens else caller


def _credentials(header: str | None) -> str:
    """`name:password`. Raises Unauthenticated."""
    scheme, _, value = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("Basic credentials are needed")
    try:
        credentials = base64.b64decode(value.strip().encode("latin-1"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("malformed credentials") from error
    if b":" not in credentials or b"\0" in credentials:
        raise Unauthenticated("malformed credentials")
    try:
        return credentials.decode()
    except UnicodeDecodeError:  # RFC 7617 §2.1: what old clients send, and hardly ever valid UTF-8
        return credentials.decode("latin-1")


def _tokens(request: Request) -> frozenset[str]:
    """Tokens of the `If` header, wherever they stand in it, and of Lock-Token."""
    tokens = request.if_header.tokens if request.if_header else frozenset()
    single = (request.header("Lock-Token") or "").strip()
    return tokens | {single[1:-1]} if single.startswith("<") and single.endswith(">") else tokens
