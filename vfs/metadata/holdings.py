"""SQL of what the cache holds, and of the bytes that processes were granted to bring in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# The account: rows that are nobody's.
_BASE, _GRANTED = "base", "granted"

# Contents that somebody can reach and that have no place on the NAS. Entries that lack something there have an event
# that is not DONE, so neither all entries nor all contents are looked at.
_UNMIRRORED = """
SELECT e.content_id AS id FROM sync_events s JOIN entries e ON e.id = s.aggregate_id
WHERE s.status IN ('PENDING', 'PROCESSING', 'FAILED') AND e.state <> 'DELETED'
  AND e.nas_content_id IS DISTINCT FROM e.content_id
UNION
SELECT v.content_id FROM versions v WHERE v.nas_path IS NULL AND v.state = 'kept'"""
_ON_THE_NAS = """(EXISTS (SELECT 1 FROM entries n WHERE n.nas_content_id = {id} AND n.nas_name IS NOT NULL)
 OR EXISTS (SELECT 1 FROM versions w WHERE w.content_id = {id} AND w.nas_path IS NOT NULL))"""
# Those of one object are as large as it. The objects of the others are counted once, and not where another content
# has them that is on the NAS: a draft shares what it did not touch.
_DIRTY = f"""
WITH dirty AS (SELECT c.id, c.size, c.parts FROM contents c WHERE c.id IN ({_UNMIRRORED})
               AND NOT {_ON_THE_NAS.format(id="c.id")})
SELECT (SELECT COALESCE(SUM(size), 0) FROM dirty WHERE parts < 2)
     + (SELECT COALESCE(SUM(o.size), 0) FROM objects o
        WHERE o.key IN (SELECT p.object_key FROM dirty d JOIN file_parts p ON p.content_id = d.id WHERE d.parts > 1)
        AND o.key NOT IN (SELECT id FROM dirty WHERE parts = 1)
        AND NOT EXISTS (SELECT 1 FROM file_parts q WHERE q.object_key = o.key
                        AND {_ON_THE_NAS.format(id="q.content_id")})
        AND NOT EXISTS (SELECT 1 FROM contents b WHERE b.id = o.key AND b.parts = 1
                        AND {_ON_THE_NAS.format(id="b.id")}))"""

_UPLOADED = """
SELECT COALESCE(SUM(p.size), 0) FROM upload_parts p JOIN upload_sessions u ON u.id = p.session_id
WHERE u.status IN ('INIT', 'UPLOADING')"""


class Holdings:
    """Nothing in here changes what `Database.recall` may have kept, so its changes may be quiet ones."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def by_status(self) -> dict[str, tuple[int, int]]:
        """Status → (objects, bytes). Looks at every object: for a scan."""
        rows = self._tx.all("SELECT status, COUNT(*), COALESCE(SUM(size), 0) FROM objects GROUP BY status")
        return {status: (int(count), int(size)) for status, count, size in rows}

    def dirty(self) -> int:
        """Bytes that only the cache has: of contents, and of uploads that are not complete. Looks at all that waits."""
        return int(self._tx.one(_DIRTY)[0]) + int(self._tx.one(_UPLOADED)[0])

    # --- grants ---

    def account(self) -> tuple[int, int] | None:
        """(base, granted): together never less than what only the cache has and all grants; None: never measured."""
        sql = f"SELECT owner, bytes FROM byte_grants WHERE owner IN ('{_BASE}', '{_GRANTED}')"
        rows = dict(self._tx.all(sql))
        return (int(rows[_BASE]), int(rows[_GRANTED])) if len(rows) == 2 else None

    def set_base(self, base: int) -> None:
        self._put(_BASE, base, 0)

    def set_granted(self, granted: int) -> None:
        self._put(_GRANTED, granted, 0)

    def grant_of(self, owner: str, now_ns: int) -> int | None:
        """Bytes that a process has been granted; None when that is void."""
        sql = "SELECT bytes FROM byte_grants WHERE owner = :owner AND expires_ns > :now"
        row = self._tx.one(sql, owner=owner, now=now_ns)
        return int(row[0]) if row else None

    def set_grant(self, owner: str, size: int, expires_ns: int) -> None:
        self._put(owner, size, expires_ns)

    def all_grants(self, now_ns: int, absurd_ns: int) -> int:
        """Bytes of all grants that hold; those beyond `absurd_ns` were made by a clock that was wrong."""
        sql = "SELECT COALESCE(SUM(bytes), 0) FROM byte_grants WHERE expires_ns > :now AND expires_ns < :absurd"
        return int(self._tx.one(sql, now=now_ns, absurd=absurd_ns)[0])

    def forget_void(self, before_ns: int) -> None:
        self._tx.run("DELETE FROM byte_grants WHERE expires_ns > 0 AND expires_ns < :before", before=before_ns)

    def _put(self, owner: str, size: int, expires_ns: int) -> None:
        self._tx.run(
            """INSERT INTO byte_grants (owner, bytes, expires_ns) VALUES (:owner, :size, :expires)
               ON CONFLICT (owner) DO UPDATE SET bytes = excluded.bytes, expires_ns = excluded.expires_ns""",
            owner=owner,
            size=size,
            expires=expires_ns,
        )
