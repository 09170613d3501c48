"""SQL of older contents of files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vfs import names
from vfs.model import Version
from vfs.nas_model import Recorded

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SELECT = """SELECT v.uuid, v.entry_id, v.content_id, v.size, v.created_ns, COALESCE(u.name, '')
             FROM versions v LEFT JOIN users u ON u.id = v.user_id"""


class Versions:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def add(
        self,
        uuid: str,
        entry_id: int,
        content_id: str,
        size: int,
        created_ns: int,
        replaced_ns: int,
        user_id: int | None,
        in_tree: tuple[str, str, str] | None = None,
    ) -> None:
        """`in_tree`: stamp, name and key of its file there, where every registration stays one (keep-dated)."""
        stamp, nas_name, nas_key = in_tree or (None, None, None)
        self._tx.run(
            """INSERT INTO versions (uuid, entry_id, content_id, size, state, created_ns, replaced_ns, user_id,
                                     stamp, nas_desired_name, nas_desired_key)
               VALUES (:uuid, :entry, :content, :size, 'kept', :created, :replaced, :user, :stamp, :name, :key)""",
            uuid=uuid,
            entry=entry_id,
            content=content_id,
            size=size,
            created=created_ns,
            replaced=replaced_ns,
            user=user_id,
            stamp=stamp,
            name=nas_name,
            key=nas_key,
        )

    def of(self, entry_id: int) -> list[Version]:
        """Kept versions, newest first."""
        sql = f"{_SELECT} WHERE v.entry_id = :id AND v.state = 'kept' ORDER BY v.replaced_ns DESC, v.uuid"
        return [Version(*row) for row in self._tx.all(sql, id=entry_id)]

    def get(self, uuid: str) -> Version | None:
        row = self._tx.one(f"{_SELECT} WHERE v.uuid = :uuid AND v.state = 'kept'", uuid=uuid)
        return Version(*row) if row else None

    def has_content(self, entry_id: int, content_id: str) -> bool:
        """It is one of the entry's kept versions already; or it is lost in both stores, and nothing to be kept."""
        sql = """SELECT 1 FROM versions WHERE entry_id = :entry AND content_id = :content AND state = 'kept'
                 UNION ALL SELECT 1 FROM objects WHERE status = 'ERROR' AND (key = :content
                     OR key IN (SELECT object_key FROM file_parts WHERE content_id = :content)) LIMIT 1"""
        return self._tx.one(sql, entry=entry_id, content=content_id) is not None

    def expire_beyond(self, entry_id: int, keep: int) -> None:
        """All but so many; those that are files in the tree stay for good."""
        self._tx.run(
            """UPDATE versions SET state = 'expired'
               WHERE entry_id = :id AND state = 'kept' AND stamp IS NULL AND uuid NOT IN (
                   SELECT uuid FROM versions WHERE entry_id = :id AND state = 'kept' AND stamp IS NULL
                   ORDER BY replaced_ns DESC, uuid LIMIT :keep)""",
            id=entry_id,
            keep=keep,
        )

    def hand_over(self, source_id: int, target_id: int) -> None:
        """The version chain of one entry becomes another's (an editor's safe save)."""
        self._tx.run(
            "UPDATE versions SET entry_id = :target WHERE entry_id = :source", source=source_id, target=target_id
        )

    def expire_all(self, entry_id: int) -> None:
        self._tx.run("UPDATE versions SET state = 'expired' WHERE entry_id = :id AND state = 'kept'", id=entry_id)

    def in_tree(self, entry_id: int) -> list[tuple[str, str, str, str]]:
        """(uuid, stamp, desired name, its key) of kept versions that are files in the tree, oldest first."""
        return self._tx.all(
            """SELECT uuid, stamp, nas_desired_name, nas_desired_key FROM versions
               WHERE entry_id = :id AND state = 'kept' AND stamp IS NOT NULL ORDER BY stamp, uuid""",
            id=entry_id,
        )

    def place(self, places: Iterable[tuple[str, str, str, str]]) -> None:
        """The names that their files in the tree shall have: (uuid, stamp, name, key) of each."""
        self._tx.many(
            "UPDATE versions SET stamp = :stamp, nas_desired_name = :name, nas_desired_key = :key WHERE uuid = :uuid",
            [{"uuid": uuid, "stamp": stamp, "name": name, "key": key} for uuid, stamp, name, key in places],
        )

    # --- what the NAS has of them ---

    def on_nas(self, entry_id: int) -> list[tuple[Any, ...]]:
        """(uuid, state, content id, created_ns, desired name, digest of its manifest; nas_parent_id, nas_path, size,
        mtime_ns, inode, manifest) of versions not purged, oldest first. Those in the tree that are where they shall be
        are left out: there can be thousands."""
        return self._tx.all(
            """SELECT v.uuid, v.state, v.content_id, v.created_ns, v.nas_desired_name, m.digest,
                      v.nas_parent_id, v.nas_path, v.nas_size, v.nas_mtime_ns, v.nas_inode, v.nas_manifest
               FROM versions v JOIN entries e ON e.id = v.entry_id LEFT JOIN manifests m ON m.subject = v.uuid
               WHERE v.entry_id = :id AND v.state <> 'purged'
               AND NOT (v.state = 'kept' AND v.nas_desired_name IS NOT NULL AND e.state = 'ACTIVE'
                        AND v.nas_parent_id IS NOT DISTINCT FROM e.parent_id
                        AND v.nas_path IS NOT DISTINCT FROM v.nas_desired_name
                        AND (m.digest IS NULL OR m.digest = v.nas_manifest))
               ORDER BY v.replaced_ns, v.uuid""",
            id=entry_id,
        )

    def on_nas_of(self, uuid: str) -> list[tuple[Any, ...]]:
        """The same of one version: content id, created_ns; nas_parent_id, nas_path, size, mtime_ns, inode, manifest."""
        return self._tx.all(
            """SELECT content_id, created_ns, nas_parent_id, nas_path, nas_size, nas_mtime_ns, nas_inode, nas_manifest
               FROM versions WHERE uuid = :uuid""",
            uuid=uuid,
        )

    def record(self, uuid: str, seen: Recorded, folds_case: bool) -> None:
        """What the NAS has of one. An expired one is purged when it has left; one that was purged while a job wrote it
        is expired again: its file must still leave the NAS."""
        spot = seen.spot
        gone, there = ("expired", "purged") if spot is None else ("purged", "expired")
        self._tx.run(
            """UPDATE versions SET nas_parent_id = :parent, nas_path = :path, nas_key = :key, nas_size = :size,
                      nas_mtime_ns = :mtime, nas_inode = :inode, nas_manifest = :manifest,
                      state = CASE state WHEN :one THEN :other ELSE state END
               WHERE uuid = :uuid""",
            uuid=uuid,
            parent=spot.parent_id if spot else None,
            path=spot.name if spot else None,
            key=names.nas_key(spot.name, folds_case) if spot else None,
            size=seen.size,
            mtime=seen.mtime_ns,
            inode=seen.inode,
            manifest=seen.manifest,
            one=gone,
            other=there,
        )
