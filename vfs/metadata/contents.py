"""SQL of contents, their parts and the cache's objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs import trace
from vfs.metadata.lists import listed
from vfs.model import Content, ContentSeal, Part

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_OBJECT = """INSERT INTO objects (key, size, checksum, blocks, status, cached_ns)
             VALUES (:key, :size, :checksum, :blocks, 'AVAILABLE', :now)"""
_MOST_WITH_BLOCKS = 1024  # parts: 8 GiB, whose sums take a MiB


class Contents:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    @trace.step("db.storage_object_create")
    def insert(self, content: Content, now_ns: int, fresh: Sequence[Part] | None = None) -> None:
        """`fresh`: those of its objects that have no row yet [all]. An object may be in it several times; the only one
        has the name of the content, and no row says so."""
        if len(content.parts) == 1 and content.parts[0].key != content.id:
            raise AssertionError("nobody would find the only object of a content under another name")
        self.insert_row(content, len(content.parts), now_ns)
        rows: list[dict[str, object]] = [
            {"key": part.key, "size": part.size, "checksum": part.checksum, "blocks": part.blocks, "now": now_ns}
            for part in (content.parts if fresh is None else fresh)
        ]
        if len(rows) == 1:  # nearly always; half as dear as `many`
            self._tx.run(_OBJECT, **rows[0])
        elif rows:
            self._tx.many(_OBJECT, rows)
        if len(content.parts) > 1:
            self._tx.many(
                "INSERT INTO file_parts (content_id, sequence, object_key) VALUES (:id, :n, :key)",
                [{"id": content.id, "n": n, "key": part.key} for n, part in enumerate(content.parts)],
            )

    def insert_row(self, content: Content, parts: int, now_ns: int) -> None:
        """Without its parts, which the caller inserts."""
        seal = content.seal
        if seal is not None:
            self._tx.manifests.know_list(content.id, seal.part_list)
        self._tx.run(
            """INSERT INTO contents (id, size, checksum, digests, parts, created_ns, vault_id, wrapped_key, part_list)
               VALUES (:id, :size, :checksum, :digests, :parts, :now, :vault, :wrapped, :list)""",
            id=content.id,
            size=content.size,
            checksum=content.checksum,
            digests=content.digests,
            parts=parts,
            now=now_ns,
            vault=seal.vault_id if seal else None,
            wrapped=seal.wrapped_key if seal else None,
            list=seal.part_list if seal else None,
        )

    def get(self, id: str) -> Content | None:
        """Of one with very many parts, the sums of their blocks are left out: see `blocks`."""
        rows = self._tx.all(
            f"""SELECT c.id, c.size, c.checksum, c.digests, c.vault_id, c.wrapped_key,
                      CASE WHEN p.sequence IS NULL OR p.sequence = 0 THEN c.part_list END, o.key, o.size, o.checksum,
                      CASE WHEN c.parts <= {_MOST_WITH_BLOCKS} THEN o.blocks END
               FROM contents c
               LEFT JOIN file_parts p ON p.content_id = c.id AND c.parts > 1
               LEFT JOIN objects o ON o.key = COALESCE(p.object_key, c.id) AND c.parts > 0
               WHERE c.id = :id ORDER BY p.sequence""",
            id=id,
        )
        parts = tuple(Part(*row[7:]) for row in rows if row[7] is not None)
        if not rows:
            return None
        id, size, checksum, digests, vault, wrapped, part_list = rows[0][:7]
        # Of a row that was damaged nothing opens; whoever cares for its bytes goes on.
        seal = None if vault is None else ContentSeal(vault, wrapped or "", bytes(part_list or b""))
        return Content(id, size, checksum, digests, parts, seal)

    def of_one_object(self, ids: Sequence[str]) -> dict[str, Content]:
        """Those of these contents that are plain, have one object, and whose checksum is known."""
        marks, values = listed(ids)
        rows = self._tx.all(
            f"""SELECT c.id, c.size, c.checksum, c.digests, o.key, o.size, o.checksum, o.blocks
                FROM contents c JOIN objects o ON o.key = c.id
                WHERE c.id IN ({marks}) AND c.parts = 1 AND c.vault_id IS NULL AND c.checksum <> ''""",
            **values,
        )
        return {row[0]: Content(row[0], row[1], row[2], row[3], (Part(*row[4:]),)) for row in rows}

    def blocks(self, key: str) -> bytes | None:
        """The sums of one part's blocks, where they are known."""
        row = self._tx.one("SELECT blocks FROM objects WHERE key = :key", key=key)
        return bytes(row[0]) if row is not None and row[0] is not None else None

    def digests_of_children(self, folder_id: int) -> list[tuple[int, str, str, int | None]]:
        """(entry, digests as they are stored, content, the vault they are sealed for)."""
        sql = """SELECT e.id, c.digests, c.id, c.vault_id FROM entries e JOIN contents c ON c.id = e.content_id
                 WHERE e.parent_id = :id AND e.state = 'ACTIVE' AND c.digests IS NOT NULL"""
        return [(row[0], row[1], row[2], row[3]) for row in self._tx.all(sql, id=folder_id)]

    def in_use(self, id: str) -> bool:
        """False for a content that is unknown or being freed: a copy of it must start over."""
        return self._stays(id, "")

    def hold(self, id: str) -> bool:
        """As `in_use`; until this transaction ends it is as if a row referred to it, so that nobody frees it, and the
        mirror keeps the only file that has it."""
        return self._stays(id, "" if self._tx.holds_all else " FOR KEY SHARE")

    def _stays(self, id: str, lock: str) -> bool:
        row = self._tx.one(f"SELECT freeing_ns FROM contents WHERE id = :id{lock}", id=id)
        return row is not None and row[0] is None

    def cached(self, id: str) -> bool:
        """Every part is AVAILABLE in the cache."""
        sql = """SELECT COUNT(*) FROM contents c LEFT JOIN file_parts p ON p.content_id = c.id
                 JOIN objects o ON o.key = COALESCE(p.object_key, c.id)
                 WHERE c.id = :id AND o.status <> 'AVAILABLE'"""
        return bool(self._tx.one(sql, id=id)[0] == 0)

    def unknown(self, keys: list[str], now_ns: int) -> list[str]:
        """Those object keys that no row names, nor an upload whose parts have not gone."""
        marks, values = listed(keys)
        known = {row[0] for row in self._tx.all(f"SELECT key FROM objects WHERE key IN ({marks})", **values)}
        marks, prefixes = listed([key.partition(".")[0] for key in keys])
        sql = f"""SELECT content_id FROM upload_sessions WHERE content_id IN ({marks})
                  AND status <> 'COMPLETED' AND cleaned_ns IS NULL"""
        uploads = {row[0] for row in self._tx.all(sql, **prefixes)}
        known.update(self._tx.uploads.having(keys, cleaned=True), self._tx.unfinished.among(keys, now_ns))
        return [key for key in keys if key not in known and key.partition(".")[0] not in uploads]
