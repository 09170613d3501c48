"""SQL that makes rows of what is on the NAS already: many at once, in a drive that nobody else may open until the end.

A mark in `installation` says how far it came. It is changed in the transaction of what was done, so who is killed goes
on there, and of two that run at once one finds out at its next commit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vfs.metadata import transfer
from vfs.metadata.lists import portions
from vfs.model import ROOT_ID

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_MARK = "taking"
Row = dict[str, object]

_ENTRY = (
    "uuid", "parent_id", "name", "name_key", "kind", "state", "content_id", "content_ns", "size", "mime_type",
    "mtime_ns", "shown_mtime", "created_ns", "registered_ns", "nas_stamp", "nas_desired_name", "nas_desired_key",
    "nas_parent_id", "nas_name", "nas_key", "nas_content_id", "nas_size", "nas_mtime_ns", "nas_inode", "nas_noted",
    "nas_status",
)  # fmt: skip


def progress(tx: Tx) -> dict[str, Any] | None:
    """What an unfinished run noted; None when there is none."""
    text = tx.accounts.value(_MARK)
    return dict(json.loads(text)) if text else None


def begin(tx: Tx, noted: dict[str, Any]) -> None:
    tx.accounts.set_value(_MARK, json.dumps(noted))


def advance(tx: Tx, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Note progress; False when somebody else has gone on meanwhile."""
    sql = f"UPDATE installation SET value = :after WHERE name = '{_MARK}' AND value = :before"
    return tx.count(sql, before=json.dumps(before), after=json.dumps(after)) == 1


def finish(tx: Tx) -> None:
    """The drive may be used."""
    tx.run(f"DELETE FROM installation WHERE name = '{_MARK}'")


def has_entries(tx: Tx) -> bool:
    """Anything but the root was ever made."""
    return tx.one("SELECT 1 FROM entries WHERE id <> :root LIMIT 1", root=ROOT_ID) is not None


def set_installation(tx: Tx, id: str) -> None:
    tx.accounts.set_value("id", id)


def busy_until(tx: Tx) -> int:
    """Until when a process that runs jobs of this drive said it has some duty (ns); 0: none did."""
    rows = tx.all("SELECT value FROM installation WHERE name LIKE 'duty:%'")
    return max((int(row[0].rpartition(" ")[2]) for row in rows), default=0)


def next_folders(tx: Tx, after: int, limit: int) -> list[tuple[int, str]]:
    """Folders recorded on the NAS with ids greater than `after`, ascending: id, and path there ("" for the root)."""
    rows = tx.all(
        """SELECT id FROM entries WHERE id > :after AND kind = 'folder' AND nas_name IS NOT NULL
           ORDER BY id LIMIT :limit""",
        after=after,
        limit=limit,
    )
    found = [(row[0], tx.mirror.nas_chain(row[0])) for row in rows]
    return [(id, chain[1]) for id, chain in found if chain is not None]


def count_folders(tx: Tx) -> int:
    return int(tx.one("SELECT COUNT(*) FROM entries WHERE kind = 'folder'")[0])


def taken(tx: Tx, parent_id: int, keys: Collection[str]) -> dict[str, str]:
    """Of these name keys and NAS keys those that ACTIVE entries of a folder have: key → the entry's NAS name."""
    found: dict[str, str] = {}
    wanted = list(keys)
    for marks, values in portions(wanted):
        rows = tx.all(
            f"""SELECT name_key, nas_desired_key, nas_name FROM entries
                WHERE parent_id = :parent AND state = 'ACTIVE'
                AND (name_key IN ({marks}) OR nas_desired_key IN ({marks}))""",
            parent=parent_id,
            **values,
        )
        for name_key, nas_key, nas_name in rows:
            found[name_key] = found[nas_key] = nas_name
    return found


def insert_contents(tx: Tx, contents: Sequence[Row], parts: Iterable[Row]) -> None:
    """Contents that the cache does not hold. `parts`: id (of the content), n, key, size, alone (its only part)."""
    tx.many(
        """INSERT INTO contents (id, size, checksum, parts, created_ns)
           VALUES (:id, :size, :checksum, :parts, :created_ns)""",
        contents,
    )
    rows = list(parts)
    tx.many(
        "INSERT INTO objects (key, size, checksum, status, cached_ns) VALUES (:key, :size, '', 'MISSING', 0)",
        [{"key": row["key"], "size": row["size"]} for row in rows],
    )
    tx.many(
        "INSERT INTO file_parts (content_id, sequence, object_key) VALUES (:id, :n, :key)",
        [{"id": row["id"], "n": row["n"], "key": row["key"]} for row in rows if not row["alone"]],
    )


def insert_entries(tx: Tx, entries: Sequence[Row], *, numbered: bool = False) -> None:
    """Rows with every column of `_ENTRY`; `numbered`: which bring their ids."""
    names = ("id", *_ENTRY) if numbered else _ENTRY
    marks = ", ".join(f":{name}" for name in names)
    sql = f"INSERT INTO entries ({', '.join(names)}) VALUES ({marks})"
    tx.many(sql, [{name: entry[name] for name in names} for entry in entries])
    if entries:
        tx.note_change()


def number_from(tx: Tx, id: int) -> None:
    """Entries without an id of their own get greater ones."""
    transfer.set_counters(tx, {"entries": id})


def insert_version(tx: Tx, row: Row) -> None:
    """A version that the NAS has: every column but `state` and `user_id`."""
    names = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row)
    tx.run(f"INSERT INTO versions ({names}, state) VALUES ({marks}, 'kept')", **row)


def version_paths(tx: Tx, entry_id: int) -> set[str]:
    """Where the NAS is recorded to have versions of an entry."""
    rows = tx.all("SELECT nas_path FROM versions WHERE entry_id = :id AND nas_path IS NOT NULL", id=entry_id)
    return {row[0] for row in rows}


def known_uuids(tx: Tx, uuids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for marks, values in portions(uuids):
        found |= {row[0] for row in tx.all(f"SELECT uuid FROM entries WHERE uuid IN ({marks})", **values)}
    return found


def id_at(tx: Tx, parent_id: int, nas_name: str) -> int:
    """Of the entry recorded at that place, which exists."""
    sql = "SELECT id FROM entries WHERE nas_parent_id = :parent AND nas_name = :name"
    return int(tx.one(sql, parent=parent_id, name=nas_name)[0])


def last_id(tx: Tx) -> int:
    """The greatest id of an entry."""
    return int(tx.one("SELECT MAX(id) FROM entries")[0])


def ids_upto(tx: Tx, greatest: int) -> set[int]:
    """Ids of entries, none greater."""
    return {
        row[0]
        for row in tx.all("SELECT id FROM entries WHERE id <= :most AND id <> :root", most=greatest, root=ROOT_ID)
    }


def put_in_trash(tx: Tx, id: int, path: str, trashed_ns: int, expires_ns: int) -> None:
    """By whom is not known."""
    tx.run(
        """INSERT INTO trash_metadata (entry_id, original_path, trashed_ns, expires_ns)
           VALUES (:id, :path, :trashed, :expires)""",
        id=id,
        path=path,
        trashed=trashed_ns,
        expires=expires_ns,
    )
