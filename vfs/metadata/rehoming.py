"""SQL of a drive that gets another, empty NAS: nothing of what is recorded there is true any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.model import ROOT_ID, Kind

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_NOTHING = """nas_parent_id = NULL, nas_name = NULL, nas_key = NULL, nas_content_id = NULL, nas_size = NULL,
              nas_mtime_ns = NULL, nas_inode = NULL, nas_noted = NULL, nas_manifest = NULL,
              nas_verified_ns = NULL"""
_ABSENT = """EXISTS (SELECT 1 FROM contents c LEFT JOIN file_parts p ON p.content_id = c.id
                     JOIN objects o ON o.key = COALESCE(p.object_key, c.id)
                     WHERE c.id = {}.content_id AND o.status <> 'AVAILABLE')"""


class Row(NamedTuple):
    """`absent`: its content is not whole in the cache."""

    id: int
    kind: Kind
    state: str
    size: int
    absent: bool


def entries_after(tx: Tx, id: int, limit: int) -> list[Row]:
    """All but the root, in the order of their ids."""
    rows = tx.all(
        f"""SELECT e.id, e.kind, e.state, e.size, {_ABSENT.format("e")} FROM entries e
            WHERE e.id > :id AND e.id <> :root ORDER BY e.id LIMIT :limit""",
        id=id,
        root=ROOT_ID,
        limit=limit,
    )
    return [Row(row[0], Kind(row[1]), row[2], row[3], bool(row[4])) for row in rows]


def unrecord(tx: Tx, first: int, last: int) -> None:
    """The NAS has nothing of these entries, nor of their versions. Versions that the cache lacks are lost."""
    values = {"first": first, "last": last}
    tx.run(f"UPDATE entries SET {_NOTHING} WHERE id BETWEEN :first AND :last AND id <> {ROOT_ID}", **values)
    tx.run(
        f"""UPDATE versions SET state = 'purged' WHERE entry_id BETWEEN :first AND :last AND state <> 'purged'
            AND (state = 'expired' OR {_ABSENT.format("versions")})""",
        **values,
    )
    tx.run(
        """UPDATE versions SET nas_parent_id = NULL, nas_path = NULL, nas_key = NULL, nas_size = NULL,
                  nas_mtime_ns = NULL, nas_inode = NULL, nas_manifest = NULL, nas_verified_ns = NULL
           WHERE entry_id BETWEEN :first AND :last""",
        **values,
    )


def mark_there(tx: Tx, keys: Sequence[str]) -> None:
    """The cache holds these objects, whatever was about to happen to them."""
    sql = "UPDATE objects SET status = 'AVAILABLE' WHERE key = :key AND status IN ('EVICTING', 'SYNCING', 'MISSING')"
    tx.many(sql, [{"key": key} for key in sorted(keys)])


def mark_lost(tx: Tx, id: int, now_ns: int) -> None:
    """Neither cache nor NAS has it, and no change of it is to be carried."""
    tx.run(
        """UPDATE sync_events SET status = 'CANCELLED'
           WHERE aggregate_id = :id AND status IN ('PENDING', 'PROCESSING', 'FAILED')""",
        id=id,
    )
    tx.run("UPDATE entries SET nas_status = 'ERROR', active_sync_event_id = NULL WHERE id = :id", id=id)
    tx.run(
        """UPDATE objects SET status = 'ERROR', status_ns = :now WHERE status = 'MISSING' AND key IN (
               SELECT COALESCE(p.object_key, c.id) FROM entries e JOIN contents c ON c.id = e.content_id
               LEFT JOIN file_parts p ON p.content_id = c.id WHERE e.id = :id)""",
        id=id,
        now=now_ns,
    )


def forget_jobs(tx: Tx) -> None:
    """Whatever a job had begun, it had begun elsewhere."""
    tx.run("DELETE FROM path_leases")
    tx.run("DELETE FROM mirror_leases")
    tx.run("UPDATE sync_events SET status = 'PENDING' WHERE status = 'PROCESSING'")
    tx.run("DELETE FROM installation WHERE name IN ('nas', 'nas_capacity', 'nas_health')")
