"""Numbers of sync events, and the uuids that tell them.

On SQLite an event has its number before its row is made, and its uuid begins with it: whoever asks by uuid is answered
by the table itself. An index of random uuids was touched by every change, and each time somewhere else: 1.3 pages of 17
that a removed file wrote. The index has only the others now: those of drives that are older than this, or that were
on PostgreSQL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vfs.ids import new_id

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_DIGITS = 12  # hexadecimal ones before the version's
_MOST = 1 << 4 * _DIGITS
# Word for word as in the index `sync_events_uuid` of SQLite.
_OTHERS = "substr(uuid, 1, 8) || substr(uuid, 10, 4) <> printf('%012x', id)"
# The last number given on SQLite: of an event that is there, or was when some were forgotten.
LAST = """max((SELECT COALESCE(MAX(id), 0) FROM sync_events),
               COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'sync_events'), 0))"""


def uuid_of(number: int | None) -> str:
    """A new UUID of version 4 (RFC 9562 §5.4); it tells the number where there is one."""
    if number is None or number >= _MOST:
        return new_id()
    told, rest = f"{number:0{_DIGITS}x}", os.urandom(10).hex()
    return f"{told[:8]}-{told[8:]}-4{rest[:3]}-{'89ab'[int(rest[3], 16) & 3]}{rest[4:7]}-{rest[7:19]}"


def number_of(tx: Tx, uuid: str) -> int | None:
    """The number of the event that has this uuid."""
    if tx.commits_in_order:
        told = _told_by(uuid)
        if told is not None and tx.one("SELECT 1 FROM sync_events WHERE id = :id AND uuid = :uuid", id=told, uuid=uuid):
            return told
    others = f"AND {_OTHERS}" if tx.commits_in_order else ""
    row = tx.one(f"SELECT id FROM sync_events WHERE uuid = :uuid {others}", uuid=uuid)
    return int(row[0]) if row else None


def _told_by(uuid: str) -> int | None:
    try:
        return int(uuid[:8] + uuid[9:13], 16)
    except ValueError:
        return None


def keep_last(tx: Tx) -> None:
    """Before events are forgotten: their numbers are not given again. PostgreSQL's sequences see to it themselves."""
    if tx.commits_in_order:
        set_counter(tx, "sync_events", tx.one(f"SELECT {LAST}")[0])


def set_counter(tx: Tx, table: str, last: int) -> None:
    """On SQLite. Its own, of tables with AUTOINCREMENT, are in the same place; it is a table as others are."""
    tx.run("DELETE FROM sqlite_sequence WHERE name = :table", table=table)
    tx.run("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)", table=table, last=last)
