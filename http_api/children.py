"""What is in a folder, page by page."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Literal

from pydantic import Field

from http_api import entries
from http_api.models import Model, Query
from http_api.paging import Limit, NextCursor
from http_api.routing import Ask, Reply
from vfs import names
from vfs.errors import InvalidRequest
from vfs.operations import browsing

_BY_NUMBER = ("size", "createdAt", "updatedAt")


class ChildrenQuery(Query):
    """A cursor goes with the order that it was given for."""

    limit: Limit = 100
    sort: Literal["name", "size", "type", "createdAt", "updatedAt"] = "name"
    order: Literal["asc", "desc"] = "asc"
    cursor: Annotated[str | None, Field(max_length=4000, description="`nextCursor` of the page before")] = None


class Ancestor(Model):
    """`id` null: the drive itself."""

    id: str | None
    name: str


class Children(Model):
    """`ancestors`: from the drive down, without the folder. `total`: files and folders of all pages."""

    success: Literal[True] = True
    folder: entries.Folder
    ancestors: list[Ancestor]
    folders: list[entries.Folder]
    files: list[entries.File]
    total: int
    next_cursor: NextCursor


def children(ask: Ask) -> Reply:
    query = ask.query(ChildrenQuery)
    page = browsing.children(
        ask.kelp,
        ask.caller,
        ask.ids["id"],
        sort=query.sort,
        descending=query.order == "desc",
        after=None if query.cursor is None else _position(query.cursor, query.sort),
        limit=query.limit,
    )
    return Reply(
        Children(
            success=True,
            folder=entries.folder(ask.kelp, ask.caller, page.folder).folder,
            ancestors=[Ancestor(id=None if each.is_root else each.uuid, name=each.name) for each in page.ancestors],
            folders=[entries.shown_folder(each, facts) for each, facts in page.entries if each.is_folder],
            files=[entries.shown_file(each, facts) for each, facts in page.entries if not each.is_folder],
            total=page.total,
            next_cursor=None if page.after is None else _cursor(page.after),
        )
    )


def _cursor(position: browsing.Cursor) -> str:
    text = json.dumps(position, ensure_ascii=False)  # escapes are three times as long, and there is a most
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str, sort: str) -> browsing.Cursor:
    """Raises InvalidRequest for what `_cursor` did not make for that order."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = json.loads(text)
        if isinstance(position, str) and position.isascii() and position.isprintable():
            return position  # of a vault
        rank, value, key = position
        if rank not in (0, 1) or not names.is_key(key) or not _is_value(value, sort):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest("cursor: not one that was given out for this order") from error
    return int(rank), value, key


def _is_value(value: object, sort: str) -> bool:
    if sort in _BY_NUMBER:
        return type(value) is int and -(1 << 63) <= value < 1 << 63
    if not isinstance(value, str):
        return False
    return names.is_key(value) if sort == "name" else not value or value.isprintable()
