"""Secrets that are made here, not chosen by people: those of tokens."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

_BEARER = "kelp_"  # so that programs which look for secrets in the wrong places know one when they see it
_APP = re.compile(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){7}")
_APP_LENGTH = 39


def new_bearer() -> str:
    """256 bits, for programs."""
    return _BEARER + secrets.token_urlsafe(32)


def new_app_password() -> str:
    """160 bits, in letters and digits that nobody takes for others, since it may be typed into a device."""
    text = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def may_be_app_password(text: str) -> bool:
    """By its form; few passwords that people choose have it."""
    return len(text) == _APP_LENGTH and _APP.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is stored, hex. What has so many random bits needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
