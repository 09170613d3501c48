"""SQL of what a mounted file system looks at: one entry with the rights on its way, and a folder piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs import links
from vfs.metadata.entries import COLUMNS, entry_of
from vfs.metadata.grants import level_of, of_user
from vfs.model import ROOT_ID, Content, ContentSeal, Entry, Kind, Level, Part, State

if TYPE_CHECKING:
    from vfs.metadata.seals import Seals
    from vfs.metadata.tx import Tx


class Node(NamedTuple):
    """An entry as a file system shows it: a plain tuple, since each look-up of a program makes one.

    `id` is the inode, ROOT_ID that of the root. Times are in nanoseconds since 1970, `size` in bytes (0 for a folder).
    `mode` (permission bits alone), `uid` and `gid` are None until somebody set them. `version` grows with every change
    of the row, `content_id` changes with every change of the bytes. A folder's `mtime_ns` is when a name in it came,
    went or changed, or what somebody has set since. `level`: the caller's right on it.
    """

    id: int
    parent_id: int | None  # None only for the root
    name: str
    kind: Kind
    size: int
    mtime_ns: int
    created_ns: int
    mode: int | None
    uid: int | None
    gid: int | None
    version: int
    state: State
    content_id: str | None
    level: Level
    is_link: bool = False  # by its media type and size; whether its bytes lead anywhere they say

    @property
    def is_folder(self) -> bool:
        return self.kind == Kind.FOLDER

    @property
    def is_root(self) -> bool:
        return self.id == ROOT_ID


_COLUMNS = """e.id, e.parent_id, e.name, e.kind, e.size, e.mtime_ns, e.created_ns, e.mode, e.uid, e.gid, e.version,
              e.state, e.content_id, e.mime_type,
              CASE WHEN e.kind = 'folder'
                   THEN (SELECT v.changed_ns FROM folder_versions v WHERE v.folder_id = e.id) END,
              e.vault_id, e.seal_id"""
_WIDTH = _COLUMNS.count(",") + 1
_CONTENT = 12  # where in it
_BY_ID = "e.id = :id"
_BY_NAME = "e.parent_id = :folder AND e.name_key = :key AND e.state = 'ACTIVE'"

# Nothing from the entry up to the root is in the trash or gone. Walked per row, which is half as dear as joining the
# walk (SQLite 11 against 18 µs six folders deep, PostgreSQL alike).
_REACHABLE = """NOT EXISTS (WITH RECURSIVE up(parent_id, state) AS (
        SELECT e.parent_id, e.state
        UNION ALL SELECT a.parent_id, a.state FROM entries a JOIN up ON a.id = up.parent_id
    ) SELECT 1 FROM up WHERE state <> 'ACTIVE')"""
# What the nearest folder with a grant that concerns :user gives him; NULL: there is none on the way.
_GRANTED = f"""CASE WHEN EXISTS (SELECT 1 FROM grants) THEN (WITH RECURSIVE up(id, parent_id, depth) AS (
        SELECT e.id, e.parent_id, 0
        UNION ALL SELECT a.id, a.parent_id, up.depth + 1 FROM entries a JOIN up ON a.id = up.parent_id
    ) SELECT {level_of("g")} FROM up JOIN grants g ON g.folder_id = up.id WHERE {of_user("g")}
      GROUP BY up.depth ORDER BY up.depth LIMIT 1) END"""


# Enums' own look-ups by value cost as much as the rest of the row.
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}


def _node(row: Sequence[Any], level: Level, seals: Seals) -> Node:
    if (row[15] is not None or seals.active) and seals.learn(row[0], row[15], row[16], row[2], row[3]) is not None:
        row = seals.opened(row, 2, 13)
    id, parent_id, name, kind, size, mtime, created, mode, uid, gid, version, state, content_id = row[:13]
    mime_type, changed = row[13:15]
    is_link = size == links.SIZE and mime_type == links.TYPE
    own = (id, parent_id, name, _KINDS[kind], size, mtime if changed is None else changed, created, mode, uid, gid)
    return Node._make((*own, version, _STATES[state], content_id, level, is_link))


class Posix:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def child(self, folder_id: int, key: str, user_id: int | None) -> tuple[Node, int | None] | None:
        """The reachable entry of that name key in a folder, and the level that grants give the user (None: none does).

        `user_id` None: grants are not looked at. `level` of the node is to be filled in by the caller.
        """
        return self._look(_BY_NAME, user_id, folder=folder_id, key=key)

    def next_key(self, folder_id: int, key: str) -> str:
        """The first name key of a folder after this one, in their order; "": there is none."""
        sql = "SELECT MIN(name_key) FROM entries WHERE parent_id = :folder AND name_key > :key AND state = 'ACTIVE'"
        return self._tx.one(sql, folder=folder_id, key=key)[0] or ""

    def by_id(self, id: int, user_id: int | None) -> tuple[Node, int | None] | None:
        """As `child`, by id."""
        return self._look(_BY_ID, user_id, id=id)

    def _look(self, where: str, user_id: int | None, **values: object) -> tuple[Node, int | None] | None:
        granted = "NULL" if user_id is None else _GRANTED
        if user_id is not None:
            values["user"] = user_id
        row = self._tx.one(f"SELECT {_COLUMNS}, {granted} FROM entries e WHERE {where} AND {_REACHABLE}", **values)
        return (_node(row, Level.NONE, self._tx.seals), row[-1]) if row else None

    def page(self, folder_id: int, after: int, limit: int, level: Level = Level.NONE) -> list[Node]:
        """ACTIVE entries of a folder with ids above `after`, by id: whoever is renamed meanwhile keeps its turn.

        `level`: what the nodes say of the caller's right.
        """
        rows = self._tx.all(
            f"""SELECT {_COLUMNS} FROM entries e WHERE e.parent_id = :folder AND e.state = 'ACTIVE' AND e.id > :after
                ORDER BY e.id LIMIT :limit""",
            folder=folder_id,
            after=after,
            limit=limit,
        )
        return [_node(row, level, self._tx.seals) for row in rows]

    def files(self, folder_id: int, first: int, limit: int, level: Level) -> list[tuple[Node, Entry, Content | None]]:
        """ACTIVE files of a folder with ids from `first` on, by id, with the contents of at most one part: None for
        others, and for those that nobody has read yet."""
        rows = self._tx.all(
            f"""SELECT {_COLUMNS}, {COLUMNS}, c.size, c.checksum, c.digests, c.vault_id, c.wrapped_key, c.part_list,
                       o.key, o.size, o.checksum, o.blocks
                FROM entries e LEFT JOIN contents c ON c.id = e.content_id AND c.parts <= 1 AND c.checksum <> ''
                LEFT JOIN objects o ON o.key = c.id AND c.parts = 1
                WHERE e.parent_id = :folder AND e.state = 'ACTIVE' AND e.kind = 'file' AND e.id >= :first
                ORDER BY e.id LIMIT :limit""",
            folder=folder_id,
            first=first,
            limit=limit,
        )
        seals = self._tx.seals
        return [(_node(row, level, seals), entry_of(row[_WIDTH:], seals), _content(row)) for row in rows]


def _content(row: Sequence[Any]) -> Content | None:
    size, checksum, digests, vault, wrapped, part_list, *part = row[-10:]
    if checksum is None:
        return None
    seal = None if vault is None else ContentSeal(vault, wrapped or "", bytes(part_list or b""))
    parts = () if part[0] is None else (Part(*part),)
    return Content(row[_CONTENT], size, checksum, digests, parts, seal)
