"""Who asks, by the Authorization field of a request: the same on every face that HTTP carries."""

from __future__ import annotations

import base64
import binascii

from vfs.core import Kelp
from vfs.errors import Forbidden, Unauthenticated
from vfs.model import Caller, Peer
from vfs.operations import access, tokens

_PLAIN_REFUSED = (
    "Passwords are not accepted over plain HTTP from other machines: use https, "
    "or set auth.allow_plain_http when the network itself is protected."
)


def admit(kelp: Kelp, authorization: str | None, peer: Peer, *, face: str, trace_id: str) -> Caller:
    """The caller whose credentials these are: name and password, or, for programs on REST, a token (RFC 6750).

    Raises Forbidden where a password would travel in the clear, Unauthenticated for anything but good credentials,
    TooManyAttempts after many bad ones.
    """
    if not (peer.secure or kelp.settings.auth.allow_plain_http or peer.local):
        raise Forbidden(_PLAIN_REFUSED)
    if face == "rest":
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() == "bearer":
            return tokens.log_in(kelp, token.strip(), face=face, address=peer.address, trace_id=trace_id)
    name, _, password = _basic(authorization).partition(":")
    return access.authenticate(kelp, name, password, face=face, address=peer.address, trace_id=trace_id)


def _basic(header: str | None) -> str:
    """`name:password` (RFC 7617). Raises Unauthenticated."""
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
