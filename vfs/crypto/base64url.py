"""Sealed bytes as text for the database: base64url without padding (RFC 4648 §5, §3.2), read strictly."""

from __future__ import annotations

import base64
import binascii

from vfs.errors import ContentCorrupt


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str, what: str) -> bytes:
    """Raises ContentCorrupt, which names `what`, for all that `encode` never makes: so each text has one form, and no
    character of it can be changed unseen."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ContentCorrupt(f"{what}: not the text of sealed bytes") from error
    if encode(data) != text:
        raise ContentCorrupt(f"{what}: not the text of sealed bytes")
    return data
