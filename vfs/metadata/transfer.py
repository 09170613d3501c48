"""SQL that carries a whole drive from one database to another: every table as rows, in an order that can be inserted.

Both engines get the same statements; what differs (how booleans and the counters of ids are kept) is settled here. Rows
travel as they are, with three exceptions that `_AS` names, since they are true of the old server only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from vfs.metadata import event_numbers, revision
from vfs.metadata.lists import listed
from vfs.metadata.sqlite_tx import SqliteTx

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

Row = list[Any]

REVISION = revision.REVISION
LINKS = "links"  # of entries to a parent with a greater id: rows (parent_id, id), for after all entries
LINK_COLUMNS = ("parent_id", "id")
_MARK = "loading"  # the row of `installation` that says that a load has not finished

_AS = {
    ("entries", "parent_id"): "CASE WHEN parent_id > id THEN NULL ELSE parent_id END",  # that row comes later
    ("objects", "status"): "CASE status WHEN 'PENDING' THEN status ELSE 'MISSING' END",  # until its bytes are stored
    ("mirror_leases", "expires_ns"): "0",  # to be settled at once: its holder is gone
}


_OF_PROCESSES = ("reader_leases", "byte_grants", "changes", "unfinished_objects")  # of the old server's, which are gone


def _tables() -> sa.MetaData:
    from vfs.metadata.schema import metadata  # not at each start: revision.py

    return metadata


def table_names() -> list[str]:
    """All tables that travel, each after those that its rows refer to."""
    return [table.name for table in _tables().sorted_tables if table.name not in _OF_PROCESSES]


def columns(table: str) -> list[str]:
    """Names of a table's columns, in the order of its rows here. Raises KeyError for what is no table."""
    return list(LINK_COLUMNS) if table == LINKS else [column.name for column in _tables().tables[table].columns]


# --- out of a database ---


def be_patient(tx: Tx) -> None:
    """Whoever takes the rows may be slow: a snapshot is not given up because nobody asked for a minute."""
    if not isinstance(tx, SqliteTx):
        tx.run("SET LOCAL idle_in_transaction_session_timeout = 0")


def count(tx: Tx, table: str) -> int:
    """Rows of a table, the mark of an unfinished load left out."""
    where = f" WHERE name <> '{_MARK}'" if table == "installation" else ""
    return int(tx.one(f'SELECT COUNT(*) FROM "{table}"{where}')[0])


def rows(tx: Tx, table: str) -> Iterator[Row]:
    """Every row, values in the order of `columns`: text, numbers, true, false, None; bytes as hex."""
    found = _tables().tables[table].columns
    selected = ", ".join(_AS.get((table, each.name), f'"{each.name}"') for each in found)
    order = ", ".join(f'"{each.name}"' for each in _tables().tables[table].primary_key)
    flags = [n for n, each in enumerate(found) if isinstance(each.type, sa.Boolean)]
    binary = _binary(table)
    for values in tx.each(f'SELECT {selected} FROM "{table}" ORDER BY {order}'):
        row = list(values)
        for n in binary:
            row[n] = None if row[n] is None else bytes(row[n]).hex()
        for n in flags:
            row[n] = None if row[n] is None else bool(row[n])  # SQLite knows 0 and 1 only
        yield row


def links(tx: Tx) -> Iterator[Row]:
    """What `rows` leaves out of entries that were moved into a folder younger than they are."""
    for parent_id, id in tx.each("SELECT parent_id, id FROM entries WHERE parent_id > id ORDER BY id"):
        yield [parent_id, id]


def counters(tx: Tx) -> dict[str, int]:
    """For each table that numbers its rows, the last number given: ids are never used again, nor are fences."""
    if isinstance(tx, SqliteTx):
        last = tx.all(
            f"""SELECT name, seq FROM sqlite_sequence WHERE name NOT IN ('sync_events', 'file_events')
                UNION ALL SELECT 'sync_events', {event_numbers.LAST}
                UNION ALL SELECT 'file_events', COALESCE(MAX(id), 0) FROM file_events"""
        )
    else:
        sql = """SELECT replace(sequencename, '_id_seq', ''), last_value FROM pg_sequences
                 WHERE schemaname = current_schema() AND last_value IS NOT NULL"""
        last = tx.all(sql)
    return {table: int(number) for table, number in last if table in _numbered()}


class Stored(NamedTuple):
    """One object of the cache, and where its bytes are in the content that it is (a part of)."""

    key: str
    size: int
    checksum: str
    content_id: str
    content_size: int
    offset: int


# As `contents` has it: what nobody can reach is left to be freed, in the new drive too.
_REACHABLE = """(
    EXISTS (SELECT 1 FROM entries e WHERE e.content_id = c.id AND e.state <> 'DELETED')
 OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = c.id AND v.state <> 'purged'))"""

# Recorded on the NAS, and nothing is on its way that would change that.
_MIRRORED = """(
    EXISTS (SELECT 1 FROM entries e WHERE e.nas_content_id = c.id AND e.nas_name IS NOT NULL
            AND e.nas_status = 'AVAILABLE' AND e.state <> 'DELETED'
            AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = e.id))
 OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = c.id AND v.nas_path IS NOT NULL AND v.state = 'kept'
            AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = v.entry_id)))"""


def objects(tx: Tx, *, only_unmirrored: bool) -> Iterator[Stored]:
    """Every object of every reachable content; with `only_unmirrored` not of those that the NAS is recorded to hold.

    One that several contents share comes for each of them. Adopted files that nobody has read yet are left on the NAS:
    nothing could tell whether what was carried is right.
    """
    wanted = f"o.checksum <> '' AND {_REACHABLE}{f' AND NOT {_MIRRORED}' if only_unmirrored else ''}"
    whole = f"""SELECT o.key, o.size, o.checksum, c.id, c.size FROM objects o JOIN contents c ON c.id = o.key
                WHERE c.parts = 1 AND {wanted} ORDER BY o.key"""
    for key, size, checksum, id, content_size in tx.each(whole):
        yield Stored(key, size, checksum, id, content_size, 0)
    parts = f"""SELECT o.key, o.size, o.checksum, c.id, c.size, {wanted}
                FROM file_parts p JOIN contents c ON c.id = p.content_id JOIN objects o ON o.key = p.object_key
                ORDER BY p.content_id, p.sequence"""
    content_id, offset = "", 0
    for key, size, checksum, id, content_size, is_wanted in tx.each(parts):
        if id != content_id:
            content_id, offset = id, 0
        if is_wanted:
            yield Stored(key, size, checksum, id, content_size, offset)
        offset += size


# --- into a database ---


def is_new(tx: Tx) -> bool:
    """Nothing is there but what the migrations and a first start without users make: the root, the drive's values."""
    own = {"installation": None, "entries": 1, "folder_versions": None}
    return all(count(tx, table) <= most for table in table_names() if (most := own.get(table, 0)) is not None)


def progress(tx: Tx) -> dict[str, Any] | None:
    """What an unfinished load noted; None when there is none."""
    text = tx.accounts.value(_MARK)
    return dict(json.loads(text)) if text else None


def begin(tx: Tx, noted: dict[str, Any]) -> None:
    """Empty a new database and mark it: nothing but a load may use it until `finish`."""
    for table in reversed(table_names()):
        tx.run(f'DELETE FROM "{table}"')
    tx.accounts.set_value(_MARK, json.dumps(noted))


def advance(tx: Tx, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Note progress, in the transaction of what was done; False when somebody else has gone on meanwhile."""
    sql = f"UPDATE installation SET value = :after WHERE name = '{_MARK}' AND value = :before"
    return tx.count(sql, before=json.dumps(before), after=json.dumps(after)) == 1


def finish(tx: Tx) -> None:
    """The drive may be used."""
    tx.run(f"DELETE FROM installation WHERE name = '{_MARK}'")


def insert(tx: Tx, table: str, found: Sequence[Row]) -> None:
    """Rows as `rows` gave them, or `links`."""
    names = columns(table)
    marks = ", ".join(f":{name}" for name in names)
    named = ", ".join(f'"{name}"' for name in names)
    sql = f'INSERT INTO "{table}" ({named}) VALUES ({marks})'
    if table == LINKS:
        sql = "UPDATE entries SET parent_id = :parent_id WHERE id = :id"
    binary = [] if table == LINKS else _binary(table)
    for row in found if binary else ():
        for n in binary:
            row[n] = None if row[n] is None else bytes.fromhex(row[n])
    tx.many(sql, (dict(zip(names, row, strict=True)) for row in found))


def set_counters(tx: Tx, last: dict[str, int]) -> None:
    """Go on numbering where the old database stopped."""
    for table in _numbered():
        number = last.get(table, 0)
        if number and isinstance(tx, SqliteTx):
            event_numbers.set_counter(tx, table, number)
        elif number:
            tx.one("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)", table=table, last=number)


class Expected(NamedTuple):
    """What the row of an object says."""

    size: int
    checksum: str
    is_stored: bool


def expected(tx: Tx, keys: Sequence[str]) -> dict[str, Expected]:
    """What is known of these objects; keys that no row has are left out."""
    marks, values = listed(keys)
    sql = f"SELECT key, size, checksum, status = 'AVAILABLE' FROM objects WHERE key IN ({marks})"
    return {key: Expected(size, checksum, bool(stored)) for key, size, checksum, stored in tx.all(sql, **values)}


def mark_stored(tx: Tx, keys: Iterable[str]) -> None:
    tx.many("UPDATE objects SET status = 'AVAILABLE' WHERE key = :key", [{"key": key} for key in keys])


def mark_found(tx: Tx, objects: Iterable[tuple[str, int]]) -> None:
    """These (key, size) are in the cache; whoever reads them verifies their bytes."""
    sql = "UPDATE objects SET status = 'AVAILABLE' WHERE key = :key AND size = :size AND status = 'MISSING'"
    tx.many(sql, [{"key": key, "size": size} for key, size in objects])


def _binary(table: str) -> list[int]:
    found = _tables().tables[table].columns
    return [n for n, each in enumerate(found) if isinstance(each.type, sa.LargeBinary)]


def _numbered() -> list[str]:
    return [name for name in table_names() if _tables().tables[name].info.get("numbered")]
