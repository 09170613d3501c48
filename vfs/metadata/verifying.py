"""SQL of those who read contents again to see that they are right: learning, scrub, check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.metadata import on_the_way
from vfs.metadata.lists import listed
from vfs.model import Content
from vfs.nas_model import MANIFEST, VAULT_FILE, Spot, is_sealed

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
    sealed: bool = False  # a bundle: each object is a file in it


class Found(NamedTuple):
    """The row of an object."""

    key: str
    size: int
    checksum: str
    status: str
    since_ns: int  # when its status changed last, or when it came into the cache


class Held(NamedTuple):
    """An entry, or an older content of one, as it is recorded in a folder of the NAS: `name` may hold "/".

    `checksum`: BLAKE3 of the content, "" when nobody has read it yet, None for folders. `busy`: the mirror has it
    under way, or takes it off the NAS. `sealed`: a bundle. `manifest`: SHA-256 (hex) of what it, or a folder, has.
    """

    entry_id: int
    version: str | None
    name: str
    kind: str
    content_id: str | None
    checksum: str | None
    size: int | None
    mtime_ns: int | None
    busy: bool
    sealed: bool = False
    manifest: str | None = None


_FOUND = "SELECT key, size, checksum, status, COALESCE(status_ns, cached_ns) FROM objects"
_HELD = """SELECT e.id, NULL, e.nas_name, e.kind, e.nas_content_id, c.checksum, e.nas_size, e.nas_mtime_ns,
                  EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = e.id) OR e.nas_name LIKE '.kelp/tmp/gone-%',
                  c.vault_id IS NOT NULL, e.nas_manifest
           FROM entries e LEFT JOIN contents c ON c.id = e.nas_content_id"""
_HELD_VERSION = """SELECT v.entry_id, v.uuid, v.nas_path, 'file', v.content_id, c.checksum,
                          CASE WHEN c.vault_id IS NULL THEN v.size ELSE v.nas_size END, v.nas_mtime_ns,
                          v.state = 'purged' OR EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = v.entry_id),
                          c.vault_id IS NOT NULL, v.nas_manifest
                   FROM versions v LEFT JOIN contents c ON c.id = v.content_id"""


class Verifying:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def copies(self, content_id: str, *, planned: bool = False) -> list[NasCopy]:
        """Where the NAS is recorded to have a content: in files of the tree, then in versions.

        `planned`: of those that the mirror is moving also where they may be by now.
        """
        rows = self._tx.all(
            """SELECT id, NULL, nas_parent_id, nas_name, nas_size, nas_mtime_ns,
                      (SELECT c.vault_id FROM contents c WHERE c.id = :id) FROM entries
               WHERE nas_content_id = :id AND nas_name IS NOT NULL
               UNION ALL
               SELECT entry_id, uuid, COALESCE(nas_parent_id, 1), nas_path, nas_size, nas_mtime_ns,
                      (SELECT c.vault_id FROM contents c WHERE c.id = :id) FROM versions
               WHERE content_id = :id AND nas_path IS NOT NULL AND state <> 'purged'""",
            id=content_id,
        )
        found = []
        for entry_id, version, parent_id, name, size, mtime_ns, vault_id in rows:
            chain = self._tx.mirror.nas_chain(parent_id)
            if chain is not None:
                path = f"{chain[1]}/{name}" if chain[1] else name
                moving = self.is_moving(entry_id, chain[0])
                sealed = vault_id is not None
                found.append(NasCopy(entry_id, version, path, size, mtime_ns, moving, sealed))
                if planned and moving:
                    elsewhere = on_the_way.paths(self._tx, entry_id, Spot(parent_id, name), chain[0])
                    found += [NasCopy(entry_id, version, path, size, mtime_ns, True, sealed) for path in elsewhere]
        return found

    def is_moving(self, entry_id: int, folder_ids: Sequence[int]) -> bool:
        """The mirror works on the entry, or moves one of the folders that it is recorded to be in."""
        marks, values = listed(folder_ids)
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

    def showing(self, content_ids: Sequence[str], *, but: str) -> list[int]:
        """Entries that show one of these contents, with another media type than `but`; in the trash too."""
        sql = "SELECT id FROM entries WHERE content_id = :id AND state <> 'DELETED' AND mime_type <> :but"
        return sorted(row[0] for id in content_ids for row in self._tx.all(sql, id=id, but=but))

    def seen_on_nas(self, copies: Sequence[tuple[NasCopy | Held, str]], now_ns: int) -> None:
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

    # --- the cache, in the order of its keys ---

    def objects_after(self, key: str, limit: int) -> list[Found]:
        rows = self._tx.all(f"{_FOUND} WHERE key > :key ORDER BY key LIMIT :limit", key=key, limit=limit)
        return [Found(*row) for row in rows]

    def object(self, key: str) -> Found | None:
        row = self._tx.one(f"{_FOUND} WHERE key = :key", key=key)
        return Found(*row) if row else None

    # --- the NAS, folder by folder ---

    def held_in(self, folder_id: int, after: str, limit: int) -> list[tuple[str, Held]]:
        """(key of its name, entry) of those recorded in a folder, in the order of these keys."""
        sql = f"""{_HELD.replace("SELECT", "SELECT e.nas_key,", 1)}
                  WHERE e.nas_parent_id = :folder AND e.nas_key > :after AND e.nas_name IS NOT NULL AND e.id <> 1
                  ORDER BY e.nas_key LIMIT :limit"""
        rows = self._tx.all(sql, folder=folder_id, after=after, limit=limit)
        return [(row[0], Held(*row[1:])) for row in rows]

    def held(self, entry_id: int, version: str | None) -> Held | None:
        """As it is recorded now."""
        if version is not None:
            row = self._tx.one(f"{_HELD_VERSION} WHERE v.uuid = :uuid AND v.nas_path IS NOT NULL", uuid=version)
        else:
            row = self._tx.one(f"{_HELD} WHERE e.id = :id AND e.nas_name IS NOT NULL", id=entry_id)
        return Held(*row) if row else None

    def place(self, entry_id: int, version: str | None) -> tuple[str, bool] | None:
        """(path, whether it may be elsewhere just now) as recorded on the NAS; None when it is not there."""
        if version is not None:
            sql = "SELECT COALESCE(nas_parent_id, 1), nas_path FROM versions WHERE uuid = :uuid"
            row = self._tx.one(sql, uuid=version)
        else:
            row = self._tx.one("SELECT nas_parent_id, nas_name FROM entries WHERE id = :id", id=entry_id)
        if row is None or row[1] is None or (chain := self._tx.mirror.nas_chain(row[0])) is None:
            return None
        return f"{chain[1]}/{row[1]}" if chain[1] else row[1], self.is_moving(entry_id, chain[0])

    def held_versions(self, after: str, limit: int) -> list[Held]:
        """In the order of their uuids."""
        sql = f"{_HELD_VERSION} WHERE v.uuid > :after AND v.nas_path IS NOT NULL ORDER BY v.uuid LIMIT :limit"
        return [Held(*row) for row in self._tx.all(sql, after=after, limit=limit)]

    def names_in(self, folder_id: int, names: Sequence[str]) -> set[str]:
        """Those of these names that are recorded in a folder of the NAS."""
        marks, values = listed(names)
        sql = f"""SELECT nas_name FROM entries WHERE nas_parent_id = :folder AND nas_name IN ({marks})
                  UNION SELECT nas_path FROM versions
                  WHERE COALESCE(nas_parent_id, 1) = :folder AND nas_path IN ({marks})"""
        return {row[0] for row in self._tx.all(sql, folder=folder_id, **values)}

    def manifest_file(self, folder_id: int) -> str | None:
        """What the file in it is called that tells of this folder of a vault; None: it has none on the NAS."""
        sql = "SELECT name FROM entries WHERE id = :id AND nas_manifest IS NOT NULL"
        row = self._tx.one(sql, id=folder_id)
        return None if row is None else MANIFEST if is_sealed(row[0]) else VAULT_FILE

    # --- the scrub, which goes round and round ---

    def unlearned(self, after: str, limit: int) -> list[Content]:
        """Contents of adopted files that nobody has read yet, in the order of their ids."""
        sql = """SELECT id FROM contents c WHERE checksum = '' AND id > :after AND freeing_ns IS NULL
                 AND (c.parts = 0 OR EXISTS (SELECT 1 FROM objects o WHERE o.key = c.id AND o.checksum = '')
                      OR EXISTS (SELECT 1 FROM file_parts p JOIN objects o ON o.key = p.object_key
                                 WHERE p.content_id = c.id AND o.checksum = ''))
                 ORDER BY id LIMIT :limit"""
        found = [self._tx.contents.get(row[0]) for row in self._tx.all(sql, after=after, limit=limit)]
        return [content for content in found if content is not None]

    def cached_after(self, key: str, limit: int) -> list[Found]:
        sql = f"{_FOUND} WHERE key > :key AND status = 'AVAILABLE' AND checksum <> '' ORDER BY key LIMIT :limit"
        return [Found(*row) for row in self._tx.all(sql, key=key, limit=limit)]

    def files_after(self, entry_id: int, limit: int) -> list[Held]:
        """Files of the tree and of the trash."""
        sql = f"""{_HELD} WHERE e.id > :id AND e.kind = 'file' AND e.state <> 'DELETED' AND e.nas_name IS NOT NULL
                  AND c.checksum <> '' ORDER BY e.id LIMIT :limit"""
        return [Held(*row) for row in self._tx.all(sql, id=entry_id, limit=limit)]

    def versions_after(self, uuid: str, limit: int) -> list[Held]:
        sql = f"""{_HELD_VERSION} WHERE v.uuid > :uuid AND v.state = 'kept' AND v.nas_path IS NOT NULL
                  AND c.checksum <> '' ORDER BY v.uuid LIMIT :limit"""
        return [Held(*row) for row in self._tx.all(sql, uuid=uuid, limit=limit)]

    def seen_in_cache(self, keys: Sequence[str], now_ns: int) -> None:
        """These objects were read whole and found right."""
        sql = "UPDATE objects SET verified_ns = :now WHERE key = :key AND status = 'AVAILABLE'"
        self._tx.many(sql, [{"now": now_ns, "key": key} for key in sorted(keys)])

    def lost_and_gone(self) -> list[str]:
        """Subjects of open alerts about lost contents that nobody needs any more."""
        sql = """SELECT subject FROM alerts a WHERE kind = 'CONTENT_LOST' AND closed_ns IS NULL AND subject <> ''
                 AND NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = a.subject)"""
        return [row[0] for row in self._tx.all(sql)]

    # --- repairs ---

    def content_with(self, key: str) -> Content | None:
        """A content that has this object, one on the NAS first."""
        row = self._tx.one(
            """SELECT c.id FROM contents c
               WHERE (c.parts = 1 AND c.id = :key)
               OR c.id IN (SELECT content_id FROM file_parts WHERE object_key = :key)
               ORDER BY CASE WHEN EXISTS (SELECT 1 FROM entries e WHERE e.nas_content_id = c.id) THEN 0 ELSE 1 END
               LIMIT 1""",
            key=key,
        )
        return self._tx.contents.get(row[0]) if row else None

    def undescribe(self, held: Held) -> None:
        """The NAS does not have this manifest there any more."""
        sql = "UPDATE entries SET nas_manifest = NULL WHERE id = :id AND nas_manifest = :manifest"
        self._tx.run(sql, id=held.entry_id, manifest=held.manifest)

    def unrecord(self, held: Held) -> None:
        """The NAS does not have this content there any more; what is there keeps being known by its size and time."""
        if held.version is None:
            sql = """UPDATE entries SET nas_content_id = NULL, nas_manifest = NULL, nas_verified_ns = NULL
                     WHERE id = :id AND nas_content_id = :content"""
            self._tx.run(sql, id=held.entry_id, content=held.content_id)
        else:
            sql = """UPDATE versions SET nas_parent_id = NULL, nas_path = NULL, nas_key = NULL, nas_size = NULL,
                            nas_mtime_ns = NULL, nas_inode = NULL, nas_manifest = NULL, nas_verified_ns = NULL
                     WHERE uuid = :uuid AND content_id = :content"""
            self._tx.run(sql, uuid=held.version, content=held.content_id)
