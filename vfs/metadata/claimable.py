"""SQL of a claim of many entries at once: what decides about each of them, and which names on the NAS are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs.metadata.lists import listed
from vfs.metadata.mirror import ROW

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_WAITS = "FROM sync_events s WHERE s.aggregate_id = e.id AND s.status IN ('PENDING', 'PROCESSING')"
_OTHERS_HAVE = """(EXISTS (SELECT 1 FROM entries o
                  WHERE o.content_id = e.nas_content_id AND o.id <> e.id AND o.state <> 'DELETED')
       OR EXISTS (SELECT 1 FROM versions v
                  WHERE v.content_id = e.nas_content_id AND v.entry_id <> e.id AND v.state = 'kept'))"""
_LOOK = f"""
SELECT e.kind <> 'file'
    OR EXISTS (SELECT 1 FROM versions v WHERE v.entry_id = e.id AND v.state <> 'purged')
    OR e.nas_content_id IS NOT NULL AND (
          {_OTHERS_HAVE}
       OR EXISTS (SELECT 1 FROM reader_leases r WHERE r.content_id = e.nas_content_id AND r.expires_ns > :now)),
    (SELECT MIN(s.id) {_WAITS}), (SELECT MAX(s.id) {_WAITS}),
    (SELECT t.trashed_ns FROM trash_metadata t WHERE t.entry_id = e.id AND e.state = 'TRASHED'),
    {ROW}
FROM entries e WHERE e.id IN"""


class Claimable(NamedTuple):
    """`is_special`: more than this is to be looked at. It is a folder, or has versions, or others need what the NAS has
    of it, or read it. `oldest` and `newest`: its changes that are not carried yet; None: there is none. `row`: as
    `Mirror.row`."""

    is_special: bool
    oldest: int | None
    newest: int | None
    trashed_ns: int | None
    row: tuple[Any, ...]


def look(tx: Tx, ids: Sequence[int], now_ns: int) -> dict[int, Claimable]:
    """Of each of these entries."""
    marks, values = listed(ids)
    rows = tx.all(f"{_LOOK} ({marks})", now=now_ns, **values)
    return {row[4]: Claimable(bool(row[0]), row[1], row[2], row[3], tuple(row[4:])) for row in rows}


def others_have(tx: Tx, ids: Sequence[int]) -> set[int]:
    """Those of them whose content on the NAS another entry has too, or keeps as a version."""
    marks, values = listed(ids)
    sql = f"SELECT e.id FROM entries e WHERE e.id IN ({marks}) AND {_OTHERS_HAVE}"
    return {row[0] for row in tx.all(sql, **values)}


def names_taken(tx: Tx, parent_id: int, keys: Sequence[str]) -> list[tuple[str, int]]:
    """(key, id) of entries that have one of these names there, or a version that has, or are about to: their own plan
    says so, or (0) the one of another."""
    marks, values = listed(keys)
    return tx.all(
        f"""SELECT nas_key, id FROM entries WHERE nas_parent_id = :parent AND nas_key IN ({marks})
            UNION ALL
            SELECT nas_key, entry_id FROM versions WHERE nas_parent_id = :parent AND nas_key IN ({marks})
            UNION ALL
            SELECT nas_key, 0 FROM mirror_leases WHERE nas_parent_id = :parent AND nas_key IN ({marks})""",
        parent=parent_id,
        **values,
    )
