"""SQL of what people browse: a page of a folder, what is below it, and what was done to an entry."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vfs.errors import ContentCorrupt, InvalidRequest
from vfs.metadata.entries import COLUMNS, entry_of
from vfs.metadata.lists import listed, portions
from vfs.model import Entry, StoreStatus

if TYPE_CHECKING:
    from vfs.metadata.seals import Seal
    from vfs.metadata.tx import Tx

# Rank (folders first), the value that it is sorted by, and the name's key, which no other in the folder has.
Position: TypeAlias = tuple[int, int | str, str]
# After what the next page begins. In a vault it is sealed: clients and proxies write addresses down.
Cursor: TypeAlias = Position | str

SORTS = {
    "name": "name_key",
    "size": "size",
    "type": "mime_type",
    "createdAt": "created_ns",
    "updatedAt": "mtime_ns",
}
_WIDTH = COLUMNS.count(",") + 1
_IN = "e.parent_id = :folder AND e.state = 'ACTIVE'"  # word for word as in the indexes
_PURPOSE = "cursor"
_RANKS = ("e.kind = 'folder'", "e.kind = 'file'")

# Of a content in the cache: the worst of its objects' statuses decides. In the order of _CACHE, from 1.
_CACHE = (
    *(StoreStatus.ERROR, StoreStatus.MISSING, StoreStatus.EVICTING),
    *(StoreStatus.SYNCING, StoreStatus.PENDING, StoreStatus.AVAILABLE),
)
_WORST = " ".join(f"WHEN '{status.value}' THEN {number}" for number, status in enumerate(_CACHE, 1))
_CACHE_STATUS = f"""(SELECT MIN(CASE o.status {_WORST} END) FROM contents c
    LEFT JOIN file_parts p ON p.content_id = c.id AND c.parts > 1
    JOIN objects o ON o.key = COALESCE(p.object_key, c.id) AND c.parts > 0 WHERE c.id = e.content_id)"""

_SEEN_AS = f"""SELECT {COLUMNS}, p.uuid, {{cache}}, s.uuid, s.error_message,
           (SELECT value FROM installation WHERE name = 'nas')
    FROM entries e LEFT JOIN entries p ON p.id = e.parent_id
    LEFT JOIN sync_events s ON s.id = e.active_sync_event_id AND s.status IN ('PENDING', 'PROCESSING', 'FAILED')
    WHERE e.id = :id"""
_SEEN, _SEEN_STORED = (_SEEN_AS.format(cache=cache) for cache in (_CACHE_STATUS, "NULL"))

# What is reachable below a folder, each with its path from there.
_BELOW = """WITH RECURSIVE down(id, path) AS (
    SELECT id, name FROM entries WHERE parent_id = :id AND state = 'ACTIVE'
    UNION ALL
    SELECT e.id, down.path || '/' || e.name FROM entries e JOIN down ON e.parent_id = down.id WHERE e.state = 'ACTIVE'
)"""


class Wanted(NamedTuple):
    """A page of a folder: sorted by one of SORTS, equal ones by name; from after that cursor on; without `hidden`."""

    folder_id: int
    sort: str
    descending: bool
    after: Cursor | None
    limit: int
    hidden: Collection[int] = ()


class Shown(NamedTuple):
    """An entry of a page. `cache`: None for a folder. `event_uuid` and `error` are of the change that is on its way."""

    entry: Entry
    position: Position
    cache: StoreStatus | None
    event_uuid: str
    error: str | None


class Seen(NamedTuple):
    """An entry by itself, otherwise as `Shown`. `parent_uuid` None: it is the root. `nas`: what is noted of the NAS."""

    entry: Entry
    parent_uuid: str | None
    cache: StoreStatus | None
    event_uuid: str
    error: str | None
    nas: str | None


class Happening(NamedTuple):
    """One line of an entry's history. `detail` is mostly the path it had then."""

    id: int
    event: str
    user_name: str
    face: str
    detail: str
    trace_id: str
    created_ns: int


class Listing:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def page(self, wanted: Wanted) -> list[Shown]:
        """Folders first. Raises InvalidRequest: `after` is not of this folder and order.

        A statement for folders and one for files: so a page by names is read from an index, wherever it is in a folder
        of any size (100,000 files: 55 ms → 1 ms). By anything else the whole folder is sorted for each.
        """
        seal, after = self._tx.seals.of(wanted.folder_id), wanted.after
        if seal is not None:
            position = None if after is None else _opened(self._tx, seal, wanted.sort, after)
            return self._of_vault(seal, wanted, position)
        if isinstance(after, str):
            raise _not_given()
        found: list[Shown] = []
        for rank in range(after[0] if after is not None else 0, len(_RANKS)):
            beyond = after if after is not None and after[0] == rank else None
            found += self._of_rank(rank, wanted, beyond, wanted.limit - len(found))
            if len(found) == wanted.limit:
                break
        return found

    def cursor(self, folder_id: int, sort: str, position: Position) -> Cursor:
        """For the page after that one."""
        seal = self._tx.seals.of(folder_id)
        if seal is None:
            return position
        text = json.dumps([sort, *position], ensure_ascii=False)
        return self._tx.seals.text(seal, _PURPOSE, text).rpartition(".")[2]

    def _of_rank(self, rank: int, wanted: Wanted, after: Position | None, limit: int) -> list[Shown]:
        column, order, than = f"e.{SORTS[wanted.sort]}", *(("DESC", "<") if wanted.descending else ("ASC", ">"))
        by_name = wanted.sort == "name"
        by = f"{column} {order}" if by_name else f"{column} {order}, e.name_key"
        values: dict[str, object] = {"folder": wanted.folder_id, "limit": limit}
        where = f"{_IN} AND {_RANKS[rank]}{self._but(wanted.hidden, values)}"
        if after is not None:
            values |= {"key": after[2]} if by_name else {"value": after[1], "key": after[2]}
            further = f"{column} {than} :value OR {column} = :value AND e.name_key > :key"
            where += f" AND e.name_key {than} :key" if by_name else f" AND ({further})"
        rows = self._tx.all(
            f"""SELECT {COLUMNS}, {column}, e.name_key, {_CACHE_STATUS}, s.uuid, s.error_message
                FROM (SELECT e.* FROM entries e WHERE {where} ORDER BY {by} LIMIT :limit) e
                LEFT JOIN sync_events s ON s.id = e.active_sync_event_id ORDER BY {by}""",
            **values,
        )
        return [self._shown(row, (rank, row[_WIDTH], row[_WIDTH + 1])) for row in rows]

    def _of_vault(self, seal: Seal, wanted: Wanted, after: Position | None) -> list[Shown]:
        """As `page`: what is stored has no order, so all names are opened for each page."""
        (names, texts), sort = self._tx.seals.opening(seal), wanted.sort
        rows = self._tx.all(
            f"SELECT e.id, e.kind, e.name, e.{SORTS[sort]} FROM entries e WHERE {_IN}", folder=wanted.folder_id
        )
        positions: list[tuple[Position, int]] = []
        for id, kind, name, value in rows:
            if id not in wanted.hidden:
                key = names[name].comparison
                by = key if sort == "name" else texts[value] if sort == "type" else value
                positions.append(((int(kind != "folder"), by, key), id))
        chosen = sealed_order(positions, sort == "name", wanted.descending, after)[: wanted.limit]
        found: dict[int, Any] = {}
        for marks, values in portions([id for _, id in chosen]):
            for row in self._tx.all(
                f"""SELECT {COLUMNS}, NULL, NULL, {_CACHE_STATUS}, s.uuid, s.error_message FROM entries e
                    LEFT JOIN sync_events s ON s.id = e.active_sync_event_id WHERE e.id IN ({marks})""",
                **values,
            ):
                found[row[0]] = row
        return [self._shown(found[id], position) for position, id in chosen]

    def _shown(self, row: Sequence[Any], position: Position) -> Shown:
        entry = entry_of(row, self._tx.seals)
        cache, event_uuid, error = row[_WIDTH + 2 :]
        return Shown(entry, position, _cache_status(entry, cache), event_uuid or "", error)

    def seen(self, entry_id: int, *, stored: bool = False) -> Seen | None:
        """One statement, so that it can be the last look of a change. `stored`: its content has just been brought into
        the cache, so that need not be asked."""
        row = self._tx.one(_SEEN_STORED if stored else _SEEN, id=entry_id)
        if row is None:
            return None
        parent_uuid, cache, event_uuid, error, nas = row[_WIDTH:]
        entry = entry_of(row, self._tx.seals)
        return Seen(entry, parent_uuid, _cache_status(entry, cache), event_uuid or "", error, nas)

    def total(self, folder_id: int, hidden: Collection[int] = ()) -> int:
        values: dict[str, object] = {"folder": folder_id}
        where = f"{_IN} AND e.kind IN ('folder', 'file'){self._but(hidden, values)}"
        return int(self._tx.one(f"SELECT COUNT(*) FROM entries e WHERE {where}", **values)[0])

    @staticmethod
    def _but(hidden: Collection[int], values: dict[str, object]) -> str:
        """Folders are hidden by grants, of which there are few."""
        if not hidden:
            return ""
        marks, more = listed(sorted(hidden), "h")
        values |= more
        return f" AND e.id NOT IN ({marks})"

    def count_below(self, folder_id: int) -> int:
        """Files and folders that are reachable from a folder, whatever its own state."""
        return int(self._tx.one(f"{_BELOW} SELECT COUNT(*) FROM down", id=folder_id)[0])

    def syncing_below(self, folder_id: int, limit: int) -> list[tuple[Entry, str]]:
        """Files below a folder that are on their way to the NAS, each with its path from there."""
        rows = self._tx.all(
            f"""{_BELOW} SELECT {COLUMNS}, down.path FROM down JOIN entries e ON e.id = down.id
                WHERE e.kind <> 'folder' AND e.nas_status = 'SYNCING' ORDER BY down.path LIMIT :limit""",
            id=folder_id,
            limit=limit,
        )
        return [(entry_of(row, self._tx.seals), self._tx.seals.open_path(row[-1])) for row in rows]

    def history(self, entry_id: int, before: int | None, limit: int, *, grants: bool = True) -> list[Happening]:
        """Newest first; `before`: only what is older than that line; `grants`: also who was granted what."""
        rows = self._tx.all(
            f"""SELECT h.id, h.event, COALESCE(u.name, ''), h.face, COALESCE(h.detail, ''), h.trace_id, h.created_ns
               FROM file_events h LEFT JOIN users u ON u.id = h.user_id
               WHERE h.entry_id = :entry AND h.id < :before {"" if grants else "AND h.event <> 'grant'"}
               ORDER BY h.id DESC LIMIT :limit""",
            entry=entry_id,
            before=(1 << 63) - 1 if before is None else before,
            limit=limit,
        )
        return [Happening(*row)._replace(detail=self._tx.seals.open_text(row[4])) for row in rows]


def _opened(tx: Tx, seal: Seal, sort: str, after: Cursor) -> Position:
    """Raises InvalidRequest."""
    try:
        if isinstance(after, str):
            ordered, rank, value, key = json.loads(tx.seals.open_text_of(seal, _PURPOSE, after))
            if ordered == sort:
                return rank, value, key
    except ContentCorrupt:
        pass
    raise _not_given()


def _not_given() -> InvalidRequest:
    return InvalidRequest("cursor: not one that was given out for this folder and order")


def sealed_order(
    positions: list[tuple[Position, int]], by_name: bool, descending: bool, after: Position | None
) -> list[tuple[Position, int]]:
    """In the order of a page, from the one after `after` on."""
    ordered = sorted(positions, key=lambda each: each[0][2], reverse=descending and by_name)
    if not by_name:
        ordered.sort(key=lambda each: each[0][1], reverse=descending)
    ordered.sort(key=lambda each: each[0][0])
    if after is None:
        return ordered
    rank, value, key = after

    def is_beyond(position: Position) -> bool:
        if position[0] != rank:
            return position[0] > rank
        if by_name:
            return position[2] < key if descending else position[2] > key
        if position[1] == value:
            return position[2] > key
        return (position[1] < value) == descending  # type: ignore[operator]  # both are of the same column

    return [each for each in ordered if is_beyond(each[0])]


def _cache_status(entry: Entry, worst: int | None) -> StoreStatus | None:
    """Of what has no objects nothing can be missing."""
    return None if entry.is_folder else StoreStatus.AVAILABLE if worst is None else _CACHE[worst - 1]
