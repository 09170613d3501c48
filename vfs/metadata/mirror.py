"""SQL of the mirror: what the NAS shall have for an entry, what it is recorded to have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vfs import names
from vfs.metadata.lists import listed
from vfs.model import ROOT_ID, Kind
from vfs.nas_model import Recorded, Spot

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# Of an entry `e`: what `Mirror.row` gives.
ROW = """e.id, e.uuid, e.kind, e.name, e.state, e.parent_id, e.content_id, e.mtime_ns, e.nas_desired_name,
    e.nas_parent_id, e.nas_name, e.nas_content_id, e.nas_size, e.nas_mtime_ns, e.nas_inode, e.nas_noted, e.nas_manifest,
    CASE WHEN e.vault_id IS NOT NULL THEN (SELECT digest FROM manifests WHERE subject = CAST(e.id AS TEXT)) END"""

# The folder :id first, then the folders it is recorded to be in, up to the root.
_NAS_UP = """
WITH RECURSIVE up(id, nas_parent_id, nas_name, depth) AS (
    SELECT id, nas_parent_id, nas_name, 0 FROM entries WHERE id = :id
    UNION ALL
    SELECT e.id, e.nas_parent_id, e.nas_name, up.depth + 1 FROM entries e JOIN up ON e.id = up.nas_parent_id
)
SELECT id, nas_name FROM up ORDER BY depth"""

# `there`: a folder and all entries recorded to be below it; `goes`: those that go when it is DELETED.
_THERE_AND_GOES = """
WITH RECURSIVE
there(id) AS (SELECT id FROM entries WHERE id = :id
              UNION SELECT e.id FROM entries e JOIN there ON e.nas_parent_id = there.id),
goes(id) AS (SELECT id FROM entries WHERE id = :id
             UNION SELECT e.id FROM entries e JOIN goes ON e.parent_id = goes.id WHERE e.state <> 'TRASHED')"""


def _recorded_row(id: int, after: Recorded, upto: int, folds_case: bool) -> dict[str, object]:
    spot = after.spot
    return {
        "id": id,
        "upto": upto,
        "parent": spot.parent_id if spot else None,
        "name": spot.name if spot else None,
        "key": names.nas_key(spot.name, folds_case) if spot else None,
        "content": after.content_id,
        "size": after.size,
        "mtime": after.mtime_ns,
        "inode": after.inode,
        "note": after.note,
        "manifest": after.manifest,
    }


class Mirror:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def row(self, id: int) -> Any:
        """Columns of one entry that the mirror needs: see `operations.mirroring`."""
        return self._tx.one(f"SELECT {ROW} FROM entries e WHERE id = :id", id=id)

    def nas_chain(self, id: int) -> tuple[list[int], str] | None:
        """Ids from the entry up to the root, and its recorded NAS path ("" for the root); None when it is not there."""
        rows = self._tx.all(_NAS_UP, id=id)
        if not rows or any(name is None for _, name in rows) or rows[-1][0] != ROOT_ID:
            return None
        return [row[0] for row in rows], "/".join(name for _, name in reversed(rows) if name)

    def holder(self, spot: Spot, nas_key: str, but: int) -> tuple[int, str | None] | None:
        """Another entry that is recorded to be at a spot, or one with a version (its uuid) that is."""
        row: tuple[int, str | None] | None = self._tx.one(
            """SELECT id, NULL FROM entries WHERE nas_parent_id = :parent AND nas_key = :key AND id <> :but
               UNION ALL
               SELECT entry_id, uuid FROM versions
               WHERE nas_parent_id = :parent AND nas_key = :key AND entry_id <> :but LIMIT 1""",
            parent=spot.parent_id,
            key=nas_key,
            but=but,
        )
        return row

    def is_misplaced(self, id: int) -> bool:
        """Recorded in another folder than it is in on the drive."""
        return self._tx.one("SELECT 1 FROM entries WHERE id = :id AND nas_parent_id <> parent_id", id=id) is not None

    def recorded_below(self, id: int) -> list[tuple[int, Kind]]:
        """Entries recorded to be in a folder on the NAS, or to have a version there, at any depth; folders before what
        is in them."""
        rows = self._tx.all(
            """WITH RECURSIVE there(id, depth) AS (
                   SELECT id, 1 FROM entries WHERE nas_parent_id = :id
                   UNION SELECT e.id, there.depth + 1 FROM entries e JOIN there ON e.nas_parent_id = there.id),
               found(id, depth) AS (
                   SELECT id, depth FROM there
                   UNION ALL SELECT entry_id, 1000000 FROM versions
                   WHERE nas_parent_id = :id OR nas_parent_id IN (SELECT id FROM there))
               SELECT e.id, e.kind FROM entries e
               JOIN (SELECT id, MIN(depth) AS depth FROM found GROUP BY id) AS f ON f.id = e.id
               ORDER BY f.depth, e.id""",
            id=id,
        )
        return [(row[0], Kind(row[1])) for row in rows]

    def recorded(self, ids: Sequence[int]) -> dict[int, tuple[int | None, str | None, str | None]]:
        """(nas_parent_id, nas_name, nas_content_id) of these rows, which are locked."""
        marks, values = listed(ids)
        sql = f"SELECT id, nas_parent_id, nas_name, nas_content_id FROM entries WHERE id IN ({marks})"
        return {row[0]: (row[1], row[2], row[3]) for row in self._tx.all(sql, **values)}

    def record(self, id: int, after: Recorded, folds_case: bool) -> None:
        """What the NAS has of a row that is locked."""
        self.record_all([(id, after, 0)], folds_case)

    def record_all(self, every: Iterable[tuple[int, Recorded, int]], folds_case: bool) -> None:
        """The same of several: (id, what, the event up to which it waits for none any more; 0: it waits on)."""
        self._tx.many(
            """UPDATE entries SET nas_parent_id = :parent, nas_name = :name, nas_key = :key, nas_content_id = :content,
                      nas_size = :size, nas_mtime_ns = :mtime, nas_inode = :inode, nas_noted = :note,
                      nas_manifest = :manifest,
                      nas_verified_ns = CASE WHEN nas_content_id = :content AND nas_inode = :inode
                                        THEN nas_verified_ns END,
                      nas_status = CASE WHEN active_sync_event_id <= :upto THEN 'AVAILABLE' ELSE nas_status END,
                      active_sync_event_id = CASE WHEN active_sync_event_id > :upto THEN active_sync_event_id END
               WHERE id = :id""",
            [_recorded_row(id, after, upto, folds_case) for id, after, upto in every],
        )

    def held_aside(self) -> set[str]:
        """Recorded names below Kelp's own temporary folder."""
        rows = self._tx.all(
            """SELECT nas_name FROM entries WHERE nas_parent_id = :root AND nas_name LIKE '.kelp/%'
               UNION ALL
               SELECT nas_path FROM versions WHERE nas_parent_id = :root AND nas_path LIKE '.kelp/tmp/%'""",
            root=ROOT_ID,
        )
        return {row[0] for row in rows}

    def unmirrored(self) -> list[tuple[int, str]]:
        """(id, name) of entries that say AVAILABLE although recorded differs from desired; there should be none."""
        return self._tx.all(
            """WITH RECURSIVE shown(id) AS (
                   SELECT id FROM entries WHERE parent_id IS NULL
                   UNION ALL
                   SELECT e.id FROM entries e JOIN shown ON e.parent_id = shown.id WHERE e.state = 'ACTIVE')
               SELECT e.id, e.name FROM entries e JOIN shown ON shown.id = e.id
               WHERE e.id <> :root AND e.nas_status = 'AVAILABLE'
               AND (e.nas_name IS DISTINCT FROM e.nas_desired_name OR e.nas_parent_id IS DISTINCT FROM e.parent_id
                    OR e.nas_content_id IS DISTINCT FROM e.content_id
                    OR e.vault_id IS NOT NULL AND e.nas_manifest IS DISTINCT FROM
                       (SELECT digest FROM manifests WHERE subject = CAST(e.id AS TEXT)))""",
            root=ROOT_ID,
        )

    def forgotten(self, changed_before_ns: int, limit: int) -> list[tuple[int, str]]:
        """(id, kind) of entries for which no event is open, though the NAS is recorded to have something else than it
        shall have, or they say that a change is under way. What was changed a moment ago is left out, and what goes
        with a purged folder, however far above.

        Looks at every entry: for a scan.
        """
        rows = self._tx.all(
            """SELECT e.id, e.kind FROM entries e LEFT JOIN entries p ON p.id = e.parent_id
               WHERE e.parent_id IS NOT NULL AND (
                   e.nas_status = 'SYNCING'
                OR e.state = 'ACTIVE' AND (
                       p.id IS NULL OR e.nas_name IS DISTINCT FROM e.nas_desired_name
                    OR e.nas_parent_id IS DISTINCT FROM e.parent_id
                    OR e.nas_content_id IS DISTINCT FROM e.content_id
                    OR e.vault_id IS NOT NULL AND e.nas_manifest IS DISTINCT FROM
                       (SELECT digest FROM manifests WHERE subject = CAST(e.id AS TEXT)))
                OR e.state = 'TRASHED' AND (e.nas_name IS NULL OR e.nas_name NOT LIKE '.trash/%')
                OR e.state = 'DELETED' AND e.nas_name IS NOT NULL
                OR e.state <> 'DELETED' AND EXISTS (
                       SELECT 1 FROM versions v WHERE v.entry_id = e.id AND v.state = 'kept' AND v.nas_path IS NULL))
               AND NOT EXISTS (SELECT 1 FROM sync_events s WHERE s.aggregate_id = e.id
                               AND s.status IN ('PENDING', 'PROCESSING', 'FAILED'))
               AND NOT EXISTS (SELECT 1 FROM sync_events s WHERE s.aggregate_id = e.id AND s.processed_ns > :before)
               AND NOT EXISTS (
                   WITH RECURSIVE up(parent_id, state) AS (
                       SELECT u.parent_id, u.state FROM entries u
                       WHERE u.id = CASE WHEN e.state = 'DELETED' THEN e.nas_parent_id ELSE e.parent_id END
                       UNION ALL SELECT u.parent_id, u.state FROM entries u JOIN up ON u.id = up.parent_id)
                   SELECT 1 FROM up WHERE up.state = 'DELETED')
               LIMIT :limit""",
            before=changed_before_ns,
            limit=limit,
        )
        return [(row[0], row[1]) for row in rows]

    def on_nas(self) -> list[tuple[int, int | None, str, str, str | None, int | None]]:
        """Everything recorded on the NAS: id, nas_parent_id, nas_name, kind, content id, size."""
        return self._tx.all(
            "SELECT id, nas_parent_id, nas_name, kind, nas_content_id, nas_size FROM entries WHERE nas_name IS NOT NULL"
        )

    def paths_of_content(self, content_id: str) -> list[str]:
        """NAS paths recorded to have a content: of entries, and of versions."""
        places = self._tx.all(
            """SELECT nas_parent_id, nas_name FROM entries WHERE nas_content_id = :id AND nas_name IS NOT NULL
               UNION ALL
               SELECT nas_parent_id, nas_path FROM versions WHERE content_id = :id AND nas_path IS NOT NULL""",
            id=content_id,
        )
        found = ((self.nas_chain(parent_id), name) for parent_id, name in places)
        return [f"{chain[1]}/{name}" if chain[1] else name for chain, name in found if chain is not None]

    def waits_to_move(self, folder_ids: Sequence[int]) -> int | None:
        """The oldest change that waits to give one of these folders another place."""
        marks, values = listed(folder_ids)
        sql = f"""SELECT MIN(s.id) FROM entries e JOIN sync_events s ON s.aggregate_id = e.id
                  WHERE e.id IN ({marks}) AND e.state = 'ACTIVE' AND s.status = 'PENDING' AND NOT s.litter
                  AND (e.nas_parent_id <> e.parent_id OR e.nas_name <> e.nas_desired_name)"""
        oldest: int | None = self._tx.one(sql, **values)[0]
        return oldest

    def stays_below(self, folder_id: int) -> list[int]:
        """Entries recorded to be below a folder on the NAS, at any depth, that do not go when it is DELETED; also those
        of which only a version is there."""
        return [
            row[0]
            for row in self._tx.all(
                f"""{_THERE_AND_GOES}
                   SELECT e.id FROM entries e JOIN there ON there.id = e.id
                   WHERE e.state <> 'DELETED' AND e.id NOT IN (SELECT id FROM goes)
                   UNION
                   SELECT v.entry_id FROM versions v JOIN there ON there.id = v.nas_parent_id
                   JOIN entries e ON e.id = v.entry_id
                   WHERE v.state = 'kept' AND e.state <> 'DELETED' AND v.entry_id NOT IN (SELECT id FROM goes)""",
                id=folder_id,
            )
        ]

    def tree_below(self, folder_id: int) -> list[tuple[str, str, int | None, int | None, int | None, bool]]:
        """All recorded below a folder on the NAS, deepest first: path relative to it, kind, size, mtime_ns, the id
        where the name is noted, and whether it has a manifest."""
        return self._tx.all(
            """WITH RECURSIVE there(id, path, depth) AS (
                   SELECT id, nas_name, 1 FROM entries WHERE nas_parent_id = :id AND nas_name IS NOT NULL
                   UNION ALL
                   SELECT e.id, there.path || '/' || e.nas_name, there.depth + 1
                   FROM entries e JOIN there ON e.nas_parent_id = there.id WHERE e.nas_name IS NOT NULL)
               SELECT path, kind, size, mtime_ns, noted, manifest IS NOT NULL FROM (
                   SELECT there.path, e.kind, e.nas_size AS size, e.nas_mtime_ns AS mtime_ns,
                          CASE WHEN e.nas_noted IS NOT NULL THEN e.id END AS noted,
                          e.nas_manifest AS manifest, there.depth
                   FROM there JOIN entries e ON e.id = there.id
                   UNION ALL
                   SELECT there.path || '/' || v.nas_path, 'file', v.nas_size, v.nas_mtime_ns, NULL, NULL,
                          there.depth + 1
                   FROM there JOIN versions v ON v.nas_parent_id = there.id
                   UNION ALL
                   SELECT nas_path, 'file', nas_size, nas_mtime_ns, NULL, NULL, 1
                   FROM versions WHERE nas_parent_id = :id
               ) AS below ORDER BY depth DESC""",
            id=folder_id,
        )

    def unrecord_below(self, folder_id: int) -> None:
        """Nothing below the folder is on the NAS any more."""
        self._tx.run(
            """UPDATE versions SET nas_parent_id = NULL, nas_path = NULL, nas_key = NULL, nas_size = NULL,
                      nas_mtime_ns = NULL, nas_inode = NULL, nas_manifest = NULL,
                      state = CASE state WHEN 'expired' THEN 'purged' ELSE state END
               WHERE nas_parent_id IN (WITH RECURSIVE there(id) AS (
                   SELECT id FROM entries WHERE id = :id
                   UNION SELECT e.id FROM entries e JOIN there ON e.nas_parent_id = there.id) SELECT id FROM there)""",
            id=folder_id,
        )
        self._tx.run(
            """UPDATE entries SET nas_parent_id = NULL, nas_name = NULL, nas_key = NULL, nas_content_id = NULL,
                      nas_size = NULL, nas_mtime_ns = NULL, nas_inode = NULL, nas_noted = NULL, nas_manifest = NULL
               WHERE id IN (WITH RECURSIVE there(id) AS (
                   SELECT id FROM entries WHERE nas_parent_id = :id
                   UNION SELECT e.id FROM entries e JOIN there ON e.nas_parent_id = there.id) SELECT id FROM there)""",
            id=folder_id,
        )

    def heirs(self, content_id: str, but: int) -> list[tuple[str, int, int, str | None]]:
        """(version uuid, its entry, created_ns, name in the tree) of kept versions with that content, of other entries,
        that are not on the NAS yet."""
        return self._tx.all(
            """SELECT uuid, entry_id, created_ns, nas_desired_name FROM versions
               WHERE content_id = :id AND state = 'kept' AND nas_path IS NULL AND entry_id <> :but
               ORDER BY uuid LIMIT 8""",
            id=content_id,
            but=but,
        )

    # --- who else needs a content (design §1.4) ---

    def needers(self, content_id: str, but: int) -> list[int]:
        """Other entries that show a content, or keep a version of it, and are not DELETED themselves."""
        rows = self._tx.all(
            """SELECT id FROM entries WHERE content_id = :content AND id <> :but AND state <> 'DELETED'
               UNION
               SELECT e.id FROM versions v JOIN entries e ON e.id = v.entry_id
               WHERE v.content_id = :content AND v.state = 'kept' AND e.id <> :but AND e.state <> 'DELETED'""",
            content=content_id,
            but=but,
        )
        return [row[0] for row in rows]

    def places_of(self, content_id: str, but: int) -> list[tuple[int, int]]:
        """(entry, nas_parent_id) of the places recorded to have a content: files of other entries, their versions, and
        its own kept ones."""
        return self._tx.all(
            """SELECT id, nas_parent_id FROM entries
               WHERE nas_content_id = :content AND nas_name IS NOT NULL AND id <> :but
               UNION ALL
               SELECT entry_id, nas_parent_id FROM versions
               WHERE content_id = :content AND nas_path IS NOT NULL AND (entry_id <> :but OR state = 'kept')""",
            content=content_id,
            but=but,
        )

    def needed_outside(self, folder_id: int) -> list[str]:
        """Contents recorded below a folder that somebody needs who does not go when it is DELETED."""
        rows = self._tx.all(
            f"""{_THERE_AND_GOES},
               held(content) AS (
                   SELECT e.nas_content_id FROM entries e JOIN there ON there.id = e.id
                   WHERE e.nas_content_id IS NOT NULL
                   UNION SELECT v.content_id FROM versions v JOIN there ON there.id = v.nas_parent_id)
               SELECT content FROM held
               WHERE EXISTS (SELECT 1 FROM entries e WHERE e.content_id = held.content AND e.state <> 'DELETED'
                             AND e.id NOT IN (SELECT id FROM goes))
                  OR EXISTS (SELECT 1 FROM versions v JOIN entries e ON e.id = v.entry_id
                             WHERE v.content_id = held.content AND v.state = 'kept' AND e.state <> 'DELETED'
                             AND e.id NOT IN (SELECT id FROM goes))""",
            id=folder_id,
        )
        return [row[0] for row in rows]
