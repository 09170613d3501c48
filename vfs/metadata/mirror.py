"""SQL of the mirror: what the NAS shall have for an entry, what it is recorded to have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs import names
from vfs.model import ROOT_ID, Kind
from vfs.nas_model import Recorded, Spot

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# The folder :id first, then the folders it is recorded to be in, up to the root.
_NAS_UP = """
WITH RECURSIVE up(id, nas_parent_id, nas_name, depth) AS (
    SELECT id, nas_parent_id, nas_name, 0 FROM entries WHERE id = :id
    UNION ALL
    SELECT e.id, e.nas_parent_id, e.nas_name, up.depth + 1 FROM entries e JOIN up ON e.id = up.nas_parent_id
)
SELECT id, nas_name FROM up ORDER BY depth"""


class Mirror:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def row(self, id: int) -> Any:
        """Columns of one entry that the mirror needs: see `operations.mirroring`."""
        return self._tx.one(
            """SELECT id, uuid, kind, name, state, parent_id, content_id, mtime_ns, nas_desired_name,
                      nas_parent_id, nas_name, nas_content_id, nas_size, nas_mtime_ns, nas_inode, nas_noted
               FROM entries WHERE id = :id""",
            id=id,
        )

    def nas_chain(self, id: int) -> tuple[list[int], str] | None:
        """Ids from the entry up to the root, and its recorded NAS path ("" for the root); None when it is not there."""
        rows = self._tx.all(_NAS_UP, id=id)
        if not rows or any(name is None for _, name in rows) or rows[-1][0] != ROOT_ID:
            return None
        return [row[0] for row in rows], "/".join(name for _, name in reversed(rows) if name)

    def holder(self, spot: Spot, nas_key: str, but: int) -> int | None:
        """Another entry that is recorded to be at a spot."""
        row = self._tx.one(
            "SELECT id FROM entries WHERE nas_parent_id = :parent AND nas_key = :key AND id <> :but LIMIT 1",
            parent=spot.parent_id,
            key=nas_key,
            but=but,
        )
        return row[0] if row else None

    def is_misplaced(self, id: int) -> bool:
        """Recorded in another folder than it is in on the drive."""
        return self._tx.one("SELECT 1 FROM entries WHERE id = :id AND nas_parent_id <> parent_id", id=id) is not None

    def recorded_below(self, id: int) -> list[tuple[int, Kind]]:
        """Entries recorded to be in a folder on the NAS, at any depth; folders before what is in them."""
        rows = self._tx.all(
            """WITH RECURSIVE there(id, depth) AS (
                   SELECT id, 1 FROM entries WHERE nas_parent_id = :id
                   UNION SELECT e.id, there.depth + 1 FROM entries e JOIN there ON e.nas_parent_id = there.id)
               SELECT e.id, e.kind FROM there JOIN entries e ON e.id = there.id ORDER BY there.depth, e.id""",
            id=id,
        )
        return [(row[0], Kind(row[1])) for row in rows]

    def recorded(self, ids: Sequence[int]) -> dict[int, tuple[int | None, str | None, str | None]]:
        """(nas_parent_id, nas_name, nas_content_id) of these rows, which are locked."""
        marks = ", ".join(f":i{n}" for n in range(len(ids))) or "NULL"
        values = {f"i{n}": id for n, id in enumerate(ids)}
        sql = f"SELECT id, nas_parent_id, nas_name, nas_content_id FROM entries WHERE id IN ({marks})"
        return {row[0]: (row[1], row[2], row[3]) for row in self._tx.all(sql, **values)}

    def record(self, id: int, after: Recorded, folds_case: bool) -> None:
        """What the NAS has of a row that is locked."""
        spot = after.spot
        self._tx.run(
            """UPDATE entries SET nas_parent_id = :parent, nas_name = :name, nas_key = :key, nas_content_id = :content,
                      nas_size = :size, nas_mtime_ns = :mtime, nas_inode = :inode, nas_noted = :note
               WHERE id = :id""",
            id=id,
            parent=spot.parent_id if spot else None,
            name=spot.name if spot else None,
            key=names.nas_key(spot.name, folds_case) if spot else None,
            content=after.content_id,
            size=after.size,
            mtime=after.mtime_ns,
            inode=after.inode,
            note=after.note,
        )

    def held_aside(self) -> set[str]:
        """Recorded names below Kelp's own temporary folder."""
        rows = self._tx.all(
            "SELECT nas_name FROM entries WHERE nas_parent_id = :root AND nas_name LIKE '.kelp/%'", root=ROOT_ID
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
                    OR e.nas_content_id IS DISTINCT FROM e.content_id)""",
            root=ROOT_ID,
        )

    def on_nas(self) -> list[tuple[int, int | None, str, str, str | None, int | None]]:
        """Everything recorded on the NAS: id, nas_parent_id, nas_name, kind, content id, size."""
        return self._tx.all(
            "SELECT id, nas_parent_id, nas_name, kind, nas_content_id, nas_size FROM entries WHERE nas_name IS NOT NULL"
        )

    def paths_of_content(self, content_id: str) -> list[str]:
        """NAS paths recorded to have a content: of entries, and of versions."""
        ids = [row[0] for row in self._tx.all("SELECT id FROM entries WHERE nas_content_id = :id", id=content_id)]
        found = [chain[1] for id in ids if (chain := self.nas_chain(id))]
        sql = "SELECT nas_path FROM versions WHERE content_id = :id AND nas_path IS NOT NULL"
        return found + [row[0] for row in self._tx.all(sql, id=content_id)]

    def waits_to_move(self, folder_ids: list[int], before_event: int) -> bool:
        """One of these folders has an older change of its own place: it goes first, else steady writing below it
        would keep it from ever moving."""
        marks = ", ".join(f":i{n}" for n in range(len(folder_ids)))
        values = {f"i{n}": id for n, id in enumerate(folder_ids)}
        sql = f"""SELECT 1 FROM entries e JOIN sync_events s ON s.aggregate_id = e.id
                  WHERE e.id IN ({marks}) AND e.state = 'ACTIVE'
                  AND s.status = 'PENDING' AND NOT s.litter AND s.id < :before
                  AND (e.nas_parent_id <> e.parent_id OR e.nas_name <> e.nas_desired_name) LIMIT 1"""
        return self._tx.one(sql, before=before_event, **values) is not None

    def stays_below(self, folder_id: int) -> list[int]:
        """Entries recorded to be below a folder on the NAS, at any depth, that do not go when it is DELETED."""
        return [
            row[0]
            for row in self._tx.all(
                """WITH RECURSIVE
                   there(id) AS (SELECT :id UNION SELECT e.id FROM entries e JOIN there ON e.nas_parent_id = there.id),
                   goes(id) AS (SELECT :id UNION
                                SELECT e.id FROM entries e JOIN goes ON e.parent_id = goes.id
                                WHERE e.state <> 'TRASHED')
                   SELECT e.id FROM entries e JOIN there ON there.id = e.id
                   WHERE e.state <> 'DELETED' AND e.id NOT IN (SELECT id FROM goes)""",
                id=folder_id,
            )
        ]

    def tree_below(self, folder_id: int) -> list[tuple[str, str, int | None, int | None, int | None]]:
        """All recorded below a folder on the NAS, deepest first: path relative to it, kind, size, mtime_ns, and the id
        where the name is noted."""
        return self._tx.all(
            """WITH RECURSIVE there(id, path, depth) AS (
                   SELECT id, nas_name, 1 FROM entries WHERE nas_parent_id = :id AND nas_name IS NOT NULL
                   UNION ALL
                   SELECT e.id, there.path || '/' || e.nas_name, there.depth + 1
                   FROM entries e JOIN there ON e.nas_parent_id = there.id WHERE e.nas_name IS NOT NULL)
               SELECT there.path, e.kind, e.nas_size, e.nas_mtime_ns, CASE WHEN e.nas_noted IS NOT NULL THEN e.id END
               FROM there JOIN entries e ON e.id = there.id
               ORDER BY there.depth DESC""",
            id=folder_id,
        )

    def unrecord_below(self, folder_id: int) -> None:
        """Nothing below the folder is on the NAS any more."""
        self._tx.run(
            """UPDATE entries SET nas_parent_id = NULL, nas_name = NULL, nas_key = NULL, nas_content_id = NULL,
                      nas_size = NULL, nas_mtime_ns = NULL, nas_inode = NULL, nas_noted = NULL
               WHERE id IN (WITH RECURSIVE there(id) AS (
                   SELECT id FROM entries WHERE nas_parent_id = :id
                   UNION SELECT e.id FROM entries e JOIN there ON e.nas_parent_id = there.id) SELECT id FROM there)""",
            id=folder_id,
        )

    def heir(self, content_id: str) -> tuple[str, int, int] | None:
        """(version uuid, its entry, created_ns) of a kept version with that content that is not on the NAS yet."""
        row: tuple[str, int, int] | None = self._tx.one(
            """SELECT uuid, entry_id, created_ns FROM versions
               WHERE content_id = :id AND state = 'kept' AND nas_path IS NULL LIMIT 1""",
            id=content_id,
        )
        return row

    def only_copy(self, content_id: str, entry_id: int) -> bool:
        """Some other reachable row needs this content, the cache cannot give it, and the NAS has it only here."""
        return (
            not self._tx.contents.cached(content_id)
            and bool(self._tx.contents.other_holders(content_id, entry_id))
            and len(self.paths_of_content(content_id)) < 2
        )
