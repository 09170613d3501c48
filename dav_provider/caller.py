"""Who asks: Basic authentication as WSGI middleware, in front of everything but `/healthz` (clients.md R2)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from wsgidav.mw.base_mw import BaseMiddleware

from dav_provider.errors import answer_for
from dav_provider.request import Environ, Request, StartResponse, WsgiApp, send, text_answer
from vfs.core import Kelp
from vfs.errors import KelpError, Unauthenticated
from vfs.model import Caller
from vfs.operations import access

KELP_KEY = "kelp"  # in WsgiDAV's configuration, the only thing its layers are given
REQUEST_KEY = "kelp.request"  # where the Request travels through WsgiDAV's layers
START_KEY = "kelp.start_response"  # the server's own start_response: WsgiDAV's forbids a 204 without a length

_PLAIN_REFUSED = (
    "Passwords are not accepted over plain HTTP from other machines: use https, "
    "or set auth.allow_plain_http when the network itself is protected."
)


def request_of(environ: Environ) -> tuple[Request, StartResponse]:
    request: Request = environ[REQUEST_KEY]
    return request, environ[START_KEY]


class Authentication(BaseMiddleware):
    """Sets `request.caller`, or answers 401 (403 where a password would travel in the clear)."""

    def __init__(self, wsgidav_app: object, next_app: WsgiApp, config: Mapping[str, Any]) -> None:
        super().__init__(wsgidav_app, next_app, config)
        self._next = next_app
        self._kelp: Kelp = config[KELP_KEY]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request, start = request_of(environ)
        if not self._may_send_password(request):
            return send(text_answer(403, _PLAIN_REFUSED), request.method, start)
        try:
            request.caller = caller_of(self._kelp, request)
        except KelpError as error:
            return send(answer_for(error, request), request.method, start)
        environ["wsgidav.auth.user_name"] = request.caller.name
        return self._next(environ, start_response)

    def _may_send_password(self, request: Request) -> bool:
        return request.secure or self._kelp.settings.auth.allow_plain_http or _is_loopback(request.remote_address)


def caller_of(kelp: Kelp, request: Request) -> Caller:
    """Authenticate the request, and note the lock tokens it submits.

    Raises Unauthenticated for anything but good Basic credentials, InvalidRequest for a malformed `If`.
    """
    tried: set[str] = set()
    credentials = _credentials(request.header("Authorization"))
    for encoding in ("utf-8", "latin-1"):  # RFC 7617 §2.1; old clients know only the second
        try:
            text = credentials.decode(encoding)
        except UnicodeDecodeError:
            continue
        name, _, password = text.partition(":")
        if text in tried:
            continue
        tried.add(text)
        try:
            caller = access.authenticate(kelp, name, password, face="dav", trace_id=request.trace_id)
        except Unauthenticated:
            if text.isascii():
                raise
            continue
        return replace(caller, tokens=_tokens(request))
    raise Unauthenticated("unknown user or wrong password")


def _credentials(header: str | None) -> bytes:
    """`name:password` in bytes."""
    scheme, _, value = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("Basic credentials are needed")
    try:
        credentials = base64.b64decode(value.strip().encode("latin-1"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("malformed credentials") from error
    if b":" not in credentials or b"\0" in credentials:
        raise Unauthenticated("malformed credentials")
    return credentials


def _tokens(request: Request) -> frozenset[str]:
    """Tokens of the `If` header, wherever they stand in it, and of Lock-Token."""
    tokens = request.if_header.tokens if request.if_header else frozenset()
    single = (request.header("Lock-Token") or "").strip()
    return tokens | {single[1:-1]} if single.startswith("<") and single.endswith(">") else tokens


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
