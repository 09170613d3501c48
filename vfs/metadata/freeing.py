"""SQL of what goes because nobody can reach it: contents in two phases (design §3), then their objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from vfs.holds import EVERYTHING
from vfs.metadata.lists import listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# A content that someone can still reach: an entry whose row is not DELETED, or a version that is not purged.
_REFERRED = """(
    EXISTS (SELECT 1 FROM entries e WHERE e.content_id = contents.id AND e.state <> 'DELETED')
 OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = contents.id AND v.state <> 'purged'))"""
_READ = f"""EXISTS (SELECT 1 FROM reader_leases r
                  WHERE r.content_id IN (contents.id, '{EVERYTHING}') AND r.expires_ns > :now)"""
# Some content that has the object `o` is nowhere on the NAS, as far as is recorded.
_ONLY_HERE = """EXISTS (
    SELECT 1 FROM (SELECT c.id FROM contents c WHERE c.id = o.key AND c.parts = 1
                   UNION ALL SELECT p.content_id FROM file_parts p WHERE p.object_key = o.key) h
    WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.nas_content_id = h.id AND e.nas_name IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.content_id = h.id AND v.nas_path IS NOT NULL))"""
_PENDING = "status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR') AND status = 'PENDING'"  # as the index has it


class Freeing:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def unreferred(self, older_than_ns: int) -> Iterator[str]:
        """Contents that nothing refers to. Looks at every content: for a scan."""
        sql = f"SELECT id FROM contents WHERE freeing_ns IS NULL AND created_ns < :older AND NOT {_REFERRED}"
        return (row[0] for row in self._tx.each(sql, older=older_than_ns))

    def mark(self, ids: Iterable[str], now_ns: int) -> None:
        """To be freed, unless something refers to them by now."""
        self._tx.many(
            f"UPDATE contents SET freeing_ns = :now WHERE id = :id AND freeing_ns IS NULL AND NOT {_REFERRED}",
            [{"id": id, "now": now_ns} for id in sorted(ids)],
        )

    def any_to_take_back(self, absurd_ns: int) -> bool:
        sql = f"""SELECT 1 FROM contents WHERE freeing_ns IS NOT NULL AND (freeing_ns > :absurd OR {_REFERRED})
                  LIMIT 1"""
        return self._tx.one(sql, absurd=absurd_ns) is not None

    def take_back(self, absurd_ns: int) -> None:
        """Marked, and referred to again; or marked by a clock that was wrong, since its time is beyond `absurd_ns`."""
        self._tx.run(
            f"""UPDATE contents SET freeing_ns = NULL
                WHERE freeing_ns IS NOT NULL AND (freeing_ns > :absurd OR {_REFERRED})""",
            absurd=absurd_ns,
        )

    def freeable(self, before_ns: int, now_ns: int, after: tuple[int, str], limit: int) -> list[tuple[int, str]]:
        """(since when, id) of contents marked before `before_ns`, that nothing refers to and nobody reads."""
        return self._tx.all(
            f"""SELECT freeing_ns, id FROM contents WHERE freeing_ns IS NOT NULL AND freeing_ns < :before
                AND (freeing_ns, id) > (:since, :id) AND NOT {_READ} AND NOT {_REFERRED}
                ORDER BY freeing_ns, id LIMIT :limit""",
            before=before_ns,
            now=now_ns,
            since=after[0],
            id=after[1],
            limit=limit,
        )

    def still_freeable(self, ids: Sequence[str], before_ns: int, now_ns: int) -> list[str]:
        marks, values = listed(ids)
        sql = f"""SELECT id FROM contents WHERE id IN ({marks}) AND freeing_ns < :before
                  AND NOT {_READ} AND NOT {_REFERRED} ORDER BY id"""
        return [row[0] for row in self._tx.all(sql, before=before_ns, now=now_ns, **values)]

    def forget(self, ids: Sequence[str], now_ns: int) -> None:
        """Drop the rows of contents; their objects that no other content has become PENDING.

        Only what _REFERRED does not count lets go of them: a copy that was committed since the last look keeps its
        content, and the database refuses this (Conflict).
        """
        if not ids:
            return
        marks, values = listed(ids)
        rows = self._tx.all(
            f"""SELECT id FROM contents WHERE id IN ({marks}) AND parts = 1
                UNION SELECT object_key FROM file_parts WHERE content_id IN ({marks})""",
            **values,
        )
        sql = f"UPDATE entries SET content_id = NULL WHERE content_id IN ({marks}) AND state = 'DELETED'"
        self._tx.run(sql, **values)
        self._tx.run(f"DELETE FROM versions WHERE content_id IN ({marks}) AND state = 'purged'", **values)
        self._tx.run(f"DELETE FROM file_parts WHERE content_id IN ({marks})", **values)
        self._tx.run(f"DELETE FROM contents WHERE id IN ({marks})", **values)
        self._tx.many(
            """UPDATE objects SET status = 'PENDING', status_ns = :now
               WHERE key = :key AND NOT EXISTS (SELECT 1 FROM file_parts WHERE object_key = :key)
               AND NOT EXISTS (SELECT 1 FROM contents WHERE id = :key AND parts = 1)""",
            [{"key": key, "now": now_ns} for key in sorted(row[0] for row in rows)],
        )

    def pending(self, after: str, limit: int) -> list[tuple[str, int]]:
        """(key, size) of objects that are to be deleted, by key."""
        sql = f"SELECT key, size FROM objects WHERE {_PENDING} AND key > :after ORDER BY key LIMIT :limit"
        return [(row[0], row[1]) for row in self._tx.all(sql, after=after, limit=limit)]

    def forget_objects(self, keys: Iterable[str]) -> None:
        """They were deleted."""
        sql = "DELETE FROM objects WHERE key = :key AND status = 'PENDING'"
        self._tx.many(sql, [{"key": key} for key in sorted(keys)])

    # --- orphans: objects that nobody knows ---

    def orphans(self, keys: Sequence[str], now_ns: int) -> list[str]:
        """Those keys that no row names, nor an upload under way; and those whose row says that they are not there, when
        the NAS has what they hold: else they may be all there is (the cache's disk was not mounted for a while)."""
        known: set[str] = set()
        marks, values = listed(keys)
        sql = f"SELECT key FROM objects o WHERE key IN ({marks}) AND (status <> 'MISSING' OR {_ONLY_HERE})"
        known.update(row[0] for row in self._tx.all(sql, **values))
        prefixes = sorted({key.partition(".")[0] for key in keys})
        marks, values = listed(prefixes)
        sql = (
            f"SELECT content_id FROM upload_sessions WHERE content_id IN ({marks}) AND status IN ('INIT', 'UPLOADING')"
        )
        running = {row[0] for row in self._tx.all(sql, **values)}
        known.update(self._tx.uploads.having(keys, cleaned=False), self._tx.unfinished.among(keys, now_ns))
        return [key for key in keys if key not in known and key.partition(".")[0] not in running]

    def hold_missing(self, keys: Sequence[str]) -> None:
        """Until this transaction ends nobody begins to restore them."""
        self._tx.many(
            "UPDATE objects SET status_ns = status_ns WHERE key = :key AND status = 'MISSING'",
            [{"key": key} for key in sorted(keys)],
        )
