"""`database.url` as a value; whatever is wrong with it, no part of it that may be the password is told."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.errors import ConfigurationError


def parse(url: str) -> sa.URL:
    """Raises ConfigurationError."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # they tell parts of it, the password perhaps
        raise ConfigurationError(
            "the database URL cannot be read: sqlite:////path or postgresql://user@host/name"
        ) from None
    if "@" in (parsed.host or ""):  # a part of the password, and every error would name the host
        raise ConfigurationError("the password in database.url holds an @: write it as %40")
    return parsed
