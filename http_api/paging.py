"""Pages of long lists: a cursor says after what the next one begins. Clients hand it back as they got it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import Field

from http_api.models import Query
from vfs.errors import InvalidRequest

Limit = Annotated[int, Field(ge=1, le=500, description="how many at most")]
Cursor = Annotated[str, Field(max_length=100, description="`nextCursor` of the page before")]
NextCursor = Annotated[str | None, Field(description="for the next page; null: this was the last one")]


class PageQuery(Query):
    limit: Limit = 50
    cursor: Cursor | None = None


def cursor_of(numbers: tuple[int, ...] | None) -> str | None:
    if numbers is None:
        return None
    return base64.urlsafe_b64encode(".".join(map(str, numbers)).encode()).decode().rstrip("=")


def numbers_of(cursor: str | None, count: int) -> tuple[int, ...] | None:
    """What `cursor_of` was given. Raises InvalidRequest for what it did not make."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        numbers = tuple(map(int, text.split(".")))
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("cursor: not one that was given out") from error
    if len(numbers) != count or not all(0 <= number < 1 << 63 for number in numbers):
        raise InvalidRequest("cursor: not one that was given out")
    return numbers
