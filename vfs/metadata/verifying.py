"""SQL of those who read contents again to see that they are right: learning, scrub, check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.model import Content

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class NasCopy(NamedTuple):
    """A file that is recorded to have a content. `version`: its uuid, when it is an older content of the entry.

    `moving`: a job of the mirror has it or a folder above it under way, so it may be elsewhere than recorded.
    """

    entry_id: int
    version: str | None
    path: str
    size: int | None
    mtime_ns: int | None
    moving: bool


class Verifying:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def copies(self, content_id: str) -> list[NasCopy]:
        """Where the NAS is recorded to have a content: in files of the tree, then in versions."""
        rows = self._tx.all(
            """SELECT id, NULL, nas_parent_id, nas_name, nas_size, nas_mtime_ns FROM entries
               WHERE nas_content_id = :id AND nas_name IS NOT NULL
               UNION ALL
               SELECT entry_id, uuid, COALESCE(nas_parent_id, 1), nas_path, nas_size, nas_mtime_ns FROM versions
               WHERE content_id = :id AND nas_path IS NOT NULL AND state <> 'purged'""",
            id=content_id,
        )
        found = []
        for entry_id, version, parent_id, name, size, mtime_ns in rows:
            chain = self._tx.mirror.nas_chain(parent_id)
            if chain is not None:
                path = f"{chain[1]}/{name}" if chain[1] else name
                found.append(NasCopy(entry_id, version, path, size, mtime_ns, self.is_moving(entry_id, chain[0])))
        return found

    def is_moving(self, entry_id: int, folder_ids: Sequence[int]) -> bool:
        """The mirror works on the entry, or moves one of the folders that it is recorded to be in."""
        marks = ", ".join(f":i{n}" for n in range(len(folder_ids))) or "NULL"
        values = {f"i{n}": id for n, id in enumerate(folder_ids)}
        sql = f"""SELECT EXISTS (SELECT 1 FROM mirror_leases WHERE entry_id = :entry)
                  OR EXISTS (SELECT 1 FROM path_leases WHERE exclusive AND entry_id IN ({marks}))"""
        return bool(self._tx.one(sql, entry=entry_id, **values)[0])

    def learn(self, contents: Sequence[Content]) -> None:
        """What is known now of contents that had no checksum. Whoever came first is right, and the same."""
        self._tx.many(
            "UPDATE contents SET checksum = :checksum WHERE id = :id AND checksum = ''",
            [{"id": content.id, "checksum": content.checksum} for content in sorted(contents, key=lambda c: c.id)],
        )
        parts = sorted((part for content in contents for part in content.parts), key=lambda part: part.key)
        self._tx.many(
            "UPDATE objects SET checksum = :checksum, blocks = :blocks WHERE key = :key AND checksum = ''",
            [{"key": part.key, "checksum": part.checksum, "blocks": part.blocks} for part in parts],
        )

    def seen_on_nas(self, copies: Sequence[tuple[NasCopy, str]], now_ns: int) -> None:
        """These files were read whole and found to have that content."""
        entries = sorted((copy.entry_id, id) for copy, id in copies if copy.version is None)
        self._tx.many(
            "UPDATE entries SET nas_verified_ns = :now WHERE id = :id AND nas_content_id = :content",
            [{"now": now_ns, "id": entry_id, "content": content_id} for entry_id, content_id in entries],
        )
        versions = sorted((copy.version, id) for copy, id in copies if copy.version is not None)
        self._tx.many(
            "UPDATE versions SET nas_verified_ns = :now WHERE uuid = :uuid AND content_id = :content",
            [{"now": now_ns, "uuid": uuid, "content": content_id} for uuid, content_id in versions],
        )
