"""SQL of what is over: what is due to expire, follows a deletion, or has been kept long enough.

Each look takes what it needs from an index, or from the head of a table that grows at its end: on a drive of a million
entries, one that finds nothing costs microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.metadata import event_numbers
from vfs.metadata.lists import listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# Word for word as in the indexes: else SQLite does not see that they have all such rows.
_UNSETTLED = "state IN ('kept', 'expired')"
_GONE = "state = 'DELETED'"

# What else may refer to a DELETED row `e`. What belongs to it alone goes with it: `forget_entries`.
_UNREFERRED = """e.nas_name IS NULL
    AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.parent_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.nas_parent_id = e.id AND c.nas_name IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.entry_id = e.id AND v.state <> 'purged')
    AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.nas_parent_id = e.id AND v.nas_path IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM trash_metadata t WHERE t.entry_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM sync_events s WHERE s.aggregate_id = e.id
                    AND s.status IN ('PENDING', 'PROCESSING', 'FAILED'))
    AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM path_leases l WHERE l.entry_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM upload_sessions u WHERE u.folder_id = e.id)"""

_BELONGINGS = (  # table, column
    ("versions", "entry_id"),
    ("sync_events", "aggregate_id"),
    ("folder_versions", "folder_id"),
    ("dav_locks", "entry_id"),
    ("dav_properties", "entry_id"),
    ("grants", "folder_id"),
    ("cache_pins", "entry_id"),
    ("manifests", "entry_id"),
)


class Pruning:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    # --- what expires ---

    def trash_due(self, now_ns: int, limit: int) -> list[tuple[str, int]]:
        """(uuid, size) of trash items past their date, oldest first; a folder's size is 0."""
        return self._tx.all(
            """SELECT e.uuid, e.size FROM trash_metadata t JOIN entries e ON e.id = t.entry_id
               WHERE t.expires_ns <= :now AND e.state = 'TRASHED' ORDER BY t.expires_ns LIMIT :limit""",
            now=now_ns,
            limit=limit,
        )

    def versions_due(self, replaced_before_ns: int, limit: int) -> list[tuple[str, int]]:
        """(uuid, size) of kept versions that were replaced before then; not of registrations that stay on the NAS."""
        return self._tx.all(
            f"""SELECT uuid, size FROM versions WHERE {_UNSETTLED} AND state = 'kept' AND stamp IS NULL
                AND replaced_ns < :before ORDER BY replaced_ns LIMIT :limit""",
            before=replaced_before_ns,
            limit=limit,
        )

    def versions_off_nas(self, limit: int) -> list[str]:
        """Expired versions with nothing on the NAS (any more)."""
        sql = f"SELECT uuid FROM versions WHERE {_UNSETTLED} AND state = 'expired' AND nas_path IS NULL LIMIT :limit"
        return [row[0] for row in self._tx.all(sql, limit=limit)]

    def versions_on_nas(self, limit: int) -> list[int]:
        """Files with expired versions on the NAS and no job under way."""
        rows = self._tx.all(  # not DISTINCT: SQLite then goes through all versions, by another index
            f"""SELECT v.entry_id FROM versions v JOIN entries e ON e.id = v.entry_id
                WHERE v.{_UNSETTLED} AND v.state = 'expired' AND v.nas_path IS NOT NULL
                AND e.active_sync_event_id IS NULL LIMIT :limit""",
            limit=limit,
        )
        return sorted({row[0] for row in rows})

    def expire_versions(self, uuids: Sequence[str]) -> None:
        sql = "UPDATE versions SET state = 'expired' WHERE uuid = :uuid AND state = 'kept'"
        self._tx.many(sql, [{"uuid": uuid} for uuid in uuids])

    def purge_versions(self, uuids: Sequence[str]) -> None:
        """One that a job is writing just now is expired again when that is recorded."""
        self._tx.many(
            "UPDATE versions SET state = 'purged' WHERE uuid = :uuid AND state = 'expired' AND nas_path IS NULL",
            [{"uuid": uuid} for uuid in uuids],
        )

    def names_due(self, left_before_ns: int, limit: int) -> list[tuple[int, str]]:
        """(folder id, name key) of memories of names that were left before then."""
        sql = "SELECT parent_id, name_key FROM name_memory WHERE left_ns < :before LIMIT :limit"
        return self._tx.all(sql, before=left_before_ns, limit=limit)

    def forget_names(self, names: Sequence[tuple[int, str]], left_before_ns: int) -> None:
        self._tx.many(
            "DELETE FROM name_memory WHERE parent_id = :folder AND name_key = :key AND left_ns < :before",
            [{"folder": folder, "key": key, "before": left_before_ns} for folder, key in names],
        )

    # --- what follows a deletion ---

    def unspread(self, limit: int) -> list[int]:
        """DELETED entries for which what is below them, and their versions, have still to follow."""
        # In the order of the index: for that of ids alone, PostgreSQL goes through all entries (1.1 s at a million).
        sql = f"SELECT id FROM entries WHERE {_GONE} AND deleted_ns IS NULL ORDER BY deleted_ns, id LIMIT :limit"
        return [row[0] for row in self._tx.all(sql, limit=limit)]

    def active_below(self, ids: Sequence[int], limit: int) -> list[int]:
        """ACTIVE entries directly in these folders."""
        marks, values = listed(ids)
        sql = f"SELECT id FROM entries WHERE parent_id IN ({marks}) AND state = 'ACTIVE' LIMIT :limit"
        return sorted(row[0] for row in self._tx.all(sql, limit=limit, **values))  # not by SQL: there may be millions

    def trashed_in_vaults(self, ids: Sequence[int], limit: int) -> list[str]:
        """Uuids of trash items that were in vaults of which these are the folders: they can go back nowhere."""
        marks, values = listed(ids)
        roots = self._tx.all(f"SELECT v.id FROM vaults v WHERE v.entry_id IN ({marks})", **values)
        if not roots:
            return []
        marks, values = listed([row[0] for row in roots])
        return [
            row[0]
            for row in self._tx.all(
                f"""SELECT e.uuid FROM trash_metadata t JOIN entries e ON e.id = t.entry_id
                    WHERE e.vault_id IN ({marks}) AND e.state = 'TRASHED' ORDER BY e.id LIMIT :limit""",
                limit=limit,
                **values,
            )
        ]

    def delete_below_deleted(self, ids: Sequence[int]) -> None:
        """Mark these DELETED, unless one was moved or restored out of its folder since it was found."""
        self._tx.many(
            """UPDATE entries SET state = 'DELETED', version = version + 1
               WHERE id = :id AND state = 'ACTIVE'
               AND EXISTS (SELECT 1 FROM entries p WHERE p.id = entries.parent_id AND p.state = 'DELETED')""",
            [{"id": id} for id in ids],
        )

    def spread(self, ids: Sequence[int], now_ns: int) -> None:
        """All that these DELETED entries had below them has followed; so do their versions."""
        self._tx.many(
            "UPDATE versions SET state = 'expired' WHERE entry_id = :id AND state = 'kept'", [{"id": id} for id in ids]
        )
        self._tx.many(
            """UPDATE entries SET deleted_ns = :now WHERE id = :id AND state = 'DELETED' AND deleted_ns IS NULL
               AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.parent_id = entries.id AND c.state = 'ACTIVE')""",
            [{"id": id, "now": now_ns} for id in ids],
        )

    # --- what was kept long enough ---

    def deleted_before(self, before_ns: int, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """(deleted_ns, id) of rows DELETED before then, in this order, from behind `after`."""
        return self._tx.all(
            f"""SELECT deleted_ns, id FROM entries WHERE {_GONE} AND deleted_ns < :before AND deleted_ns >= :ns
                AND (deleted_ns > :ns OR id > :id) ORDER BY deleted_ns, id LIMIT :limit""",
            before=before_ns,
            ns=after[0],
            id=after[1],
            limit=limit,
        )

    def unreferred(self, ids: Sequence[int]) -> list[int]:
        """Those DELETED rows that nothing else refers to, neither here nor on the NAS."""
        marks, values = listed(ids)
        sql = f"SELECT e.id FROM entries e WHERE e.id IN ({marks}) AND e.{_GONE} AND {_UNREFERRED} ORDER BY e.id"
        return [row[0] for row in self._tx.all(sql, **values)]

    def forget_entries(self, ids: Sequence[int]) -> None:
        """Drop these rows with what belongs to each alone. What refers to one by now makes it a Conflict."""
        event_numbers.keep_last(self._tx)
        marks, values = listed(ids)
        for table, column in _BELONGINGS:
            self._tx.run(f"DELETE FROM {table} WHERE {column} IN ({marks})", **values)
        self._tx.run(f"DELETE FROM entries WHERE id IN ({marks})", **values)

    def history(self, after: int, limit: int) -> list[tuple[int, int, bool]]:
        """(id, created_ns, may go) of who did what when, from behind id `after`."""
        sql = "SELECT id, created_ns, TRUE FROM file_events WHERE id > :after ORDER BY id LIMIT :limit"
        return self._tx.all(sql, after=after, limit=limit)

    def forget_history(self, ids: Sequence[int]) -> None:
        self._tx.many("DELETE FROM file_events WHERE id = :id", [{"id": id} for id in ids])
        self._tx.change_log.forgot_lines(max(ids))

    def events(self, after: int, limit: int) -> list[tuple[int, int, bool]]:
        """(id, created_ns, may go) of changes that were to be carried to the NAS; only finished ones may go."""
        return self._tx.all(
            """SELECT id, created_ns, status IN ('DONE', 'CANCELLED') FROM sync_events WHERE id > :after
               ORDER BY id LIMIT :limit""",
            after=after,
            limit=limit,
        )

    def forget_events(self, ids: Sequence[int]) -> None:
        event_numbers.keep_last(self._tx)
        self._tx.many(
            "DELETE FROM sync_events WHERE id = :id AND status IN ('DONE', 'CANCELLED')", [{"id": id} for id in ids]
        )

    def alerts(self, after: int, limit: int) -> list[tuple[int, int, bool]]:
        """(id, opened_ns, may go): those that are over, and were told."""
        return self._tx.all(
            """SELECT id, opened_ns, closed_ns IS NOT NULL AND untold = '' FROM alerts WHERE id > :after
               ORDER BY id LIMIT :limit""",
            after=after,
            limit=limit,
        )

    def forget_alerts(self, ids: Sequence[int]) -> None:
        sql = "DELETE FROM alerts WHERE id = :id AND closed_ns IS NOT NULL AND untold = ''"
        self._tx.many(sql, [{"id": id} for id in ids])
