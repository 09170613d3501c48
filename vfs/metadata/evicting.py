"""SQL of eviction: which objects may leave the cache, and what the NAS is recorded to have of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.metadata.lists import portions
from vfs.model import ROOT_ID

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


# What goes first, by policy: two numbers that grow with the wish to keep an object.
_ORDERS = {
    "lru": ("COALESCE(last_accessed_ns, cached_ns)", "0"),
    "lfu": ("access_count", "COALESCE(last_accessed_ns, cached_ns)"),
    "fifo": ("cached_ns", "0"),
}

# Contents that have the object `o`.
_HOLDERS = """(SELECT c.id FROM contents c WHERE c.id = o.key AND c.parts = 1
     UNION ALL SELECT p.content_id FROM file_parts p WHERE p.object_key = o.key) h"""

_REACHABLE = """(EXISTS (SELECT 1 FROM entries e WHERE e.content_id = h.id AND e.state <> 'DELETED')
  OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = h.id AND v.state = 'kept'))"""

# Somebody who shows it lacks it on the NAS; the mirror is at work on who has it there; it is being read.
_NEEDED = """(
    EXISTS (SELECT 1 FROM entries e WHERE e.content_id = h.id AND e.state <> 'DELETED'
            AND (e.nas_content_id IS DISTINCT FROM h.id OR e.nas_name IS NULL))
 OR EXISTS (SELECT 1 FROM versions v WHERE v.content_id = h.id AND v.state = 'kept' AND v.nas_path IS NULL)
 OR EXISTS (SELECT 1 FROM entries e JOIN mirror_leases l ON l.entry_id = e.id WHERE e.content_id = h.id)
 OR EXISTS (SELECT 1 FROM entries e JOIN mirror_leases l ON l.entry_id = e.id WHERE e.nas_content_id = h.id)
 OR EXISTS (SELECT 1 FROM versions v JOIN mirror_leases l ON l.entry_id = v.entry_id WHERE v.content_id = h.id)
 OR EXISTS (SELECT 1 FROM reader_leases r WHERE r.content_id = h.id AND r.expires_ns > :now))"""

_PINNED = """EXISTS (
    WITH RECURSIVE up(id, parent_id) AS (
        SELECT e.id, e.parent_id FROM entries e WHERE e.content_id = h.id AND e.state <> 'DELETED'
        UNION SELECT e.id, e.parent_id FROM entries e JOIN up ON e.id = up.parent_id)
    SELECT 1 FROM up JOIN cache_pins k ON k.entry_id = up.id)"""


class Candidate(NamedTuple):
    """An object that is in the cache, in the order of the policy. `may_go`: nothing known speaks against it."""

    key: str
    size: int
    order: tuple[int, int]
    may_go: bool


class Copy(NamedTuple):
    """A file on the NAS as it was recorded. `entry_id`: whose it is; `version`: the UUID, when of a version."""

    content_id: str
    entry_id: int
    version: str | None
    path: str
    size: int
    mtime_ns: int
    inode: int | None


class Evicting:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def candidates(self, policy: str, after: Candidate | None, now_ns: int, limit: int) -> list[Candidate]:
        """The next `limit` objects in the cache. One pass over all objects, but only these are looked at closely."""
        first, second = _ORDERS[policy]
        order = after.order if after else (-1, -1)
        rows = self._tx.all(
            f"""SELECT o.key, o.size, o.first, o.second, {self._may_go()} FROM (
                    SELECT key, size, {first} AS first, {second} AS second FROM objects
                    WHERE status = 'AVAILABLE' AND ({first}, {second}, key) > (:first, :second, :key)
                    ORDER BY 3, 4, 1 LIMIT :limit) o
                ORDER BY 3, 4, 1""",
            first=order[0],
            second=order[1],
            key=after.key if after else "",
            now=now_ns,
            limit=limit,
        )
        return [Candidate(row[0], row[1], (row[2], row[3]), bool(row[4])) for row in rows]

    def _may_go(self) -> str:
        """Some reachable content has it, and none that has it needs it here."""
        needed = _NEEDED
        if self._tx.one("SELECT 1 FROM cache_pins LIMIT 1") is not None:
            needed = f"({_NEEDED} OR {_PINNED})"
        return f"""EXISTS (SELECT 1 FROM {_HOLDERS} WHERE {_REACHABLE})
                   AND NOT EXISTS (SELECT 1 FROM {_HOLDERS} WHERE {_REACHABLE} AND {needed})"""

    def still_may_go(self, keys: Sequence[str], now_ns: int) -> dict[str, int]:
        """Key → size of those that are in the cache, and that nothing known speaks against."""
        found: dict[str, int] = {}
        condition = self._may_go()
        for marks, values in portions(keys):
            sql = f"SELECT key, size FROM objects o WHERE key IN ({marks}) AND status = 'AVAILABLE' AND {condition}"
            found.update(self._tx.all(sql, now=now_ns, **values))
        return found

    def holders(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Key → reachable contents that have it."""
        found: dict[str, list[str]] = {}
        for marks, values in portions(keys):
            rows = self._tx.all(
                f"""SELECT h.key, h.id FROM (
                        SELECT id AS key, id FROM contents WHERE id IN ({marks}) AND parts = 1
                        UNION ALL SELECT object_key, content_id FROM file_parts WHERE object_key IN ({marks})) h
                    WHERE {_REACHABLE}""",
                **values,
            )
            for key, content_id in rows:
                found.setdefault(key, []).append(content_id)
        return found

    def copies(self, content_ids: Iterable[str]) -> dict[str, list[Copy]]:
        """Content → its files on the NAS, of entries and kept versions, that no job of the mirror works on or moves."""
        rows = list(self._recorded(sorted(set(content_ids))))
        ways = self._ways({row[3] for row in rows})
        busy = {row[0] for row in self._tx.all("SELECT entry_id FROM path_leases WHERE exclusive")}
        at_work = {row[0] for row in self._tx.all("SELECT entry_id FROM mirror_leases")}
        found: dict[str, list[Copy]] = {}
        for content_id, entry_id, version, parent_id, name, size, mtime_ns, inode in rows:
            chain, path = ways.get(parent_id, ((), None))
            if path is not None and entry_id not in at_work and busy.isdisjoint(chain):
                whole = f"{path}/{name}" if path else name
                copy = Copy(content_id, entry_id, version, whole, size, mtime_ns, inode)
                found.setdefault(content_id, []).append(copy)
        return found

    def _recorded(self, content_ids: Sequence[str]) -> Iterator[tuple[str, int, str | None, int, str, int, int, int]]:
        for marks, values in portions(content_ids):
            yield from self._tx.all(
                f"""SELECT nas_content_id, id, NULL, nas_parent_id, nas_name, nas_size, nas_mtime_ns, nas_inode
                    FROM entries WHERE nas_content_id IN ({marks}) AND content_id = nas_content_id
                    AND state <> 'DELETED' AND nas_name IS NOT NULL AND nas_size IS NOT NULL
                    UNION ALL
                    SELECT content_id, entry_id, uuid, nas_parent_id, nas_path, nas_size, nas_mtime_ns, nas_inode
                    FROM versions WHERE content_id IN ({marks}) AND state = 'kept'
                    AND nas_path IS NOT NULL AND nas_size IS NOT NULL""",
                **values,
            )

    def _ways(self, folder_ids: set[int]) -> dict[int, tuple[list[int], str]]:
        """Folder → (it and all above it, its recorded path); those that are not recorded to be there are left out."""
        steps: dict[int, list[tuple[int, str | None]]] = {}
        for marks, values in portions(sorted(folder_ids)):
            rows = self._tx.all(
                f"""WITH RECURSIVE up(start, id, parent, name, depth) AS (
                        SELECT id, id, nas_parent_id, nas_name, 0 FROM entries WHERE id IN ({marks})
                        UNION ALL SELECT up.start, e.id, e.nas_parent_id, e.nas_name, up.depth + 1
                        FROM entries e JOIN up ON e.id = up.parent WHERE up.depth < 1000)
                    SELECT start, id, name FROM up ORDER BY start, depth""",
                **values,
            )
            for start, id, name in rows:
                steps.setdefault(start, []).append((id, name))
        return {
            start: ([id for id, _ in way], "/".join(name for _, name in reversed(way) if name))
            for start, way in steps.items()
            if way[-1][0] == ROOT_ID and all(name is not None for _, name in way)
        }

    # --- statuses, each change a compare-and-set ---

    def mark(self, keys: Iterable[str], now_ns: int) -> set[str]:
        """AVAILABLE → EVICTING since `now_ns`, which is nobody else's time; those that were AVAILABLE."""
        rows: list[dict[str, object]] = [{"key": key, "now": now_ns} for key in sorted(keys)]
        sql = "UPDATE objects SET status = 'EVICTING', status_ns = :now WHERE key = :key AND status = 'AVAILABLE'"
        self._tx.many(sql, rows)
        return self.marked([str(row["key"]) for row in rows], now_ns)

    def marked(self, keys: Sequence[str], since_ns: int) -> set[str]:
        found: set[str] = set()
        for marks, values in portions(keys):
            sql = f"SELECT key FROM objects WHERE key IN ({marks}) AND status = 'EVICTING' AND status_ns = :since"
            found.update(row[0] for row in self._tx.all(sql, since=since_ns, **values))
        return found

    def end(self, keys: Iterable[str], since_ns: int, status: str, now_ns: int) -> None:
        """EVICTING → `status` (MISSING: it is deleted; AVAILABLE: it stays), where nobody else has taken it over."""
        sql = """UPDATE objects SET status = :status, status_ns = :now
                 WHERE key = :key AND status = 'EVICTING' AND status_ns = :since"""
        rows = [{"key": key, "since": since_ns, "status": status, "now": now_ns} for key in sorted(keys)]
        self._tx.many(sql, rows)

    def abandoned(self, before_ns: int, absurd_ns: int, limit: int) -> list[str]:
        """EVICTING for so long that whoever did it must have died; or since a time that is yet to come."""
        rows = self._tx.all(
            """SELECT key FROM objects
               WHERE status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR') AND status = 'EVICTING'
               AND (status_ns IS NULL OR status_ns < :before OR status_ns > :absurd) ORDER BY key LIMIT :limit""",
            before=before_ns,
            absurd=absurd_ns,
            limit=limit,
        )
        return [row[0] for row in rows]

    def take_over(self, keys: Iterable[str], before_ns: int, absurd_ns: int, now_ns: int) -> dict[str, int]:
        """Those that are still abandoned are EVICTING since `now_ns`; key → size."""
        rows: list[dict[str, object]] = [
            {"key": key, "now": now_ns, "before": before_ns, "absurd": absurd_ns} for key in sorted(keys)
        ]
        self._tx.many(
            """UPDATE objects SET status_ns = :now WHERE key = :key AND status = 'EVICTING'
               AND (status_ns IS NULL OR status_ns < :before OR status_ns > :absurd)""",
            rows,
        )
        found: dict[str, int] = {}
        for marks, values in portions([str(row["key"]) for row in rows]):
            sql = f"SELECT key, size FROM objects WHERE key IN ({marks}) AND status = 'EVICTING' AND status_ns = :now"
            found.update(self._tx.all(sql, now=now_ns, **values))
        return found

    def note_inode(self, copy: Copy, inode: int) -> None:
        """The NAS numbers its files anew; this one was read and is the same."""
        table, id = ("versions", "uuid") if copy.version is not None else ("entries", "id")
        self._tx.run(
            f"""UPDATE {table} SET nas_inode = :inode WHERE {id} = :id AND nas_inode IS NOT DISTINCT FROM :old
                AND nas_size = :size AND nas_mtime_ns = :mtime""",
            id=copy.entry_id if copy.version is None else copy.version,
            inode=inode,
            old=copy.inode,
            size=copy.size,
            mtime=copy.mtime_ns,
        )
