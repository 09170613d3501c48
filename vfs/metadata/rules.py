"""What must be true of the rows alone, whatever the stores hold: one statement for each kind of damage.

Each `find` lists (subject, detail) of rows that must not be; each `repair` does, for all that its rule finds, what
loses nothing, and says the condition again, so that it is safe beside a running server. Values: `:now`, and `:old`,
an hour before, by which whatever is only being done just now is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from vfs.metadata.vaults import STANDS


@dataclass(frozen=True, slots=True)
class Rule:
    """`again`: its subjects are entries, and the mirror looking at them anew repairs it."""

    kind: str
    find: str
    repair: str | None = None
    again: bool = False


_HAS_EVENT = """EXISTS (SELECT 1 FROM sync_events s
    WHERE s.aggregate_id = e.id AND s.status IN ('PENDING', 'PROCESSING'))"""
_NO_LEASE = "NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = aggregate_id)"
# Deleted, itself or with a folder above it, whose other rows a batch has not marked yet: the first that is not ACTIVE.
_GONE = """EXISTS (
    WITH RECURSIVE up(parent_id, state) AS (
        SELECT e.parent_id, e.state
        UNION ALL SELECT a.parent_id, a.state FROM entries a JOIN up ON a.id = up.parent_id WHERE up.state = 'ACTIVE')
    SELECT 1 FROM up WHERE up.state = 'DELETED')"""
_TRASHED = "SELECT id FROM entries WHERE state = 'TRASHED'"
_NOT_ACTIVE = "SELECT id FROM entries WHERE state <> 'ACTIVE'"
_UNUSED = """status <> 'PENDING' AND NOT EXISTS (SELECT 1 FROM file_parts p WHERE p.object_key = key)
    AND NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = key AND c.parts = 1)"""
_WRONG_EVENT = """active_sync_event_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sync_events s
    WHERE s.id = active_sync_event_id AND s.aggregate_id = entries.id)"""
_HALF = """id <> 1 AND CASE WHEN nas_name IS NULL
    THEN nas_parent_id IS NOT NULL OR nas_key IS NOT NULL OR nas_content_id IS NOT NULL
    ELSE nas_parent_id IS NULL OR nas_key IS NULL END"""
_LOST_SUBJECT = """kind = 'CONTENT_LOST' AND closed_ns IS NULL AND last_ns < :old
    AND NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = subject)"""
_WORDS = (
    ("entries", "id", "state", "'ACTIVE', 'TRASHED', 'DELETED'"),
    ("entries", "id", "kind", "'folder', 'file', 'symlink'"),
    ("entries", "id", "nas_status", "'SYNCING', 'AVAILABLE', 'ERROR'"),
    ("objects", "key", "status", "'SYNCING', 'AVAILABLE', 'PENDING', 'EVICTING', 'MISSING', 'ERROR'"),
    ("versions", "uuid", "state", "'kept', 'expired', 'purged'"),
    ("sync_events", "uuid", "status", "'PENDING', 'PROCESSING', 'DONE', 'FAILED', 'CANCELLED'"),
    ("recipients", "key_id", "role", "'server', 'admin', 'recovery'"),
)

# Bytes that the content `c` shows. Of a sealed one: its parts have 16 bytes more for each begun 64 KiB.
_SHOWN = """CASE WHEN c.vault_id IS NULL THEN c.size ELSE (
    SELECT COALESCE(SUM(o.size - 16 * ((o.size + 65551) / 65552)), 0)
    FROM (SELECT c.id AS key WHERE c.parts = 1
          UNION ALL SELECT p.object_key FROM file_parts p WHERE p.content_id = c.id AND c.parts > 1) k
    JOIN objects o ON o.key = k.key) END"""
_SHOWS = f"(SELECT {_SHOWN} FROM contents c WHERE c.id = content_id)"
# Bytes that the NAS shall have of the content `c`: of a sealed one, each object once.
_ON_NAS = """CASE WHEN c.vault_id IS NULL THEN c.size ELSE (
               SELECT COALESCE(SUM(o.size), 0) FROM objects o WHERE o.key IN (
               SELECT p.object_key FROM file_parts p WHERE p.content_id = c.id AND c.parts > 1
               UNION SELECT c.id WHERE c.parts = 1)) END"""

_TREE = (
    Rule(
        "no root",
        """SELECT 1, 'the first row is no ACTIVE folder' WHERE NOT EXISTS (
           SELECT 1 FROM entries WHERE id = 1 AND parent_id IS NULL AND kind = 'folder' AND state = 'ACTIVE')""",
    ),
    Rule(
        "dangling parent",
        """SELECT e.id, e.name FROM entries e LEFT JOIN entries p ON p.id = e.parent_id
           WHERE e.id <> 1 AND (p.id IS NULL OR p.kind <> 'folder')""",
    ),
    Rule(
        "not reachable from the root",
        """WITH RECURSIVE hung(id) AS (
               SELECT id FROM entries WHERE id = 1
               UNION SELECT e.id FROM entries e JOIN hung ON e.parent_id = hung.id)
           SELECT id, name FROM entries WHERE id NOT IN (SELECT id FROM hung)""",
    ),
    Rule(
        "file without content",
        "SELECT id, name FROM entries WHERE kind = 'file' AND state <> 'DELETED' AND content_id IS NULL",
    ),
    Rule(
        "size differs from content",
        f"SELECT e.id, e.name FROM entries e JOIN contents c ON c.id = e.content_id WHERE e.size <> {_SHOWN}",
        f"UPDATE entries SET size = {_SHOWS} WHERE size <> {_SHOWS}",
    ),
    Rule(
        "trash item without record",
        f"SELECT id, name FROM entries WHERE id IN ({_TRASHED}) AND id NOT IN (SELECT entry_id FROM trash_metadata)",
    ),
    Rule(
        "trash record without item",
        f"SELECT entry_id, original_path FROM trash_metadata WHERE entry_id NOT IN ({_TRASHED})",
        f"DELETE FROM trash_metadata WHERE entry_id NOT IN ({_TRASHED})",
    ),
    Rule(
        "lock on what is gone",
        f"SELECT token, entry_id FROM dav_locks WHERE entry_id IN ({_NOT_ACTIVE})",
        f"DELETE FROM dav_locks WHERE entry_id IN ({_NOT_ACTIVE})",
    ),
    Rule(
        "version of another size than its content",
        f"SELECT v.uuid, v.size FROM versions v JOIN contents c ON c.id = v.content_id WHERE v.size <> {_SHOWN}",
        f"UPDATE versions SET size = {_SHOWS} WHERE size <> {_SHOWS}",
    ),
)

_CONTENTS = (
    Rule(
        "content whose parts are not whole",
        """SELECT c.id, c.parts FROM contents c LEFT JOIN objects o ON o.key = c.id
           WHERE c.parts < 2 AND COALESCE(CASE c.parts WHEN 1 THEN o.size ELSE 0 END, -1) <> c.size
           UNION ALL
           SELECT c.id, c.parts FROM contents c
           LEFT JOIN file_parts p ON p.content_id = c.id LEFT JOIN objects o ON o.key = p.object_key
           WHERE c.parts > 1 GROUP BY c.id, c.parts, c.size
           HAVING COUNT(o.key) <> c.parts OR SUM(o.size) <> c.size
                  OR MAX(p.sequence) - MIN(p.sequence) + 1 <> c.parts""",
    ),
    Rule(
        "content that is lost: neither whole in the cache nor recorded on the NAS",
        f"""SELECT c.id, c.size FROM contents c
           WHERE c.parts > 0
           AND c.parts <> CASE c.parts
               WHEN 1 THEN (SELECT COUNT(*) FROM objects o WHERE o.key = c.id AND o.status = 'AVAILABLE')
               ELSE (SELECT COUNT(*) FROM file_parts p JOIN objects o ON o.key = p.object_key
                     WHERE p.content_id = c.id AND o.status = 'AVAILABLE') END
           AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.nas_content_id = c.id AND e.nas_name IS NOT NULL)
           AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.content_id = c.id AND v.nas_path IS NOT NULL)
           AND (EXISTS (SELECT 1 FROM entries e WHERE e.content_id = c.id AND NOT {_GONE})
                OR EXISTS (SELECT 1 FROM versions v JOIN entries e ON e.id = v.entry_id
                           WHERE v.content_id = c.id AND v.state = 'kept' AND NOT {_GONE}))""",
    ),
    Rule(
        "object that no content has",
        f"SELECT key, status FROM objects WHERE {_UNUSED}",
        f"UPDATE objects SET status = 'PENDING', status_ns = :now WHERE {_UNUSED}",
    ),
    Rule("object without checksum", "SELECT key, size FROM objects WHERE checksum = '' AND status = 'AVAILABLE'"),
    Rule(
        "object without checksum in a content that has one",
        """SELECT o.key, o.size FROM objects o LEFT JOIN file_parts p ON p.object_key = o.key
           JOIN contents c ON c.id = COALESCE(p.content_id, o.key)
           WHERE o.checksum = '' AND c.checksum <> ''""",
    ),
    Rule(
        "sums of blocks that do not fit their object",
        "SELECT key, size FROM objects WHERE blocks IS NOT NULL AND LENGTH(blocks) <> 8 * ((size + 65535) / 65536)",
        "UPDATE objects SET blocks = NULL WHERE LENGTH(blocks) <> 8 * ((size + 65535) / 65536)",
    ),
    Rule(
        "object that stands still",
        """SELECT key, status FROM objects WHERE (status = 'PENDING' AND status_ns < :old)
           OR (status IN ('EVICTING', 'SYNCING') AND COALESCE(status_ns, 0) < :old)""",
        # What is not there after all is found by the look at the cache, which comes later.
        """UPDATE objects SET status = CASE status WHEN 'EVICTING' THEN 'AVAILABLE' ELSE 'MISSING' END,
                  status_ns = :now
           WHERE status IN ('EVICTING', 'SYNCING') AND COALESCE(status_ns, 0) < :old""",
    ),
)

_MIRROR = (
    Rule(
        "lost change: SYNCING without an event",
        f"SELECT e.id, e.name FROM entries e WHERE e.nas_status = 'SYNCING' AND NOT {_HAS_EVENT}",
        again=True,
    ),
    Rule(
        "lost job: PROCESSING without a lease",
        f"SELECT uuid, aggregate_id FROM sync_events WHERE status = 'PROCESSING' AND {_NO_LEASE}",
        f"UPDATE sync_events SET status = 'PENDING' WHERE status = 'PROCESSING' AND {_NO_LEASE}",
    ),
    Rule(
        "event that an entry waits for and does not have",
        f"SELECT id, active_sync_event_id FROM entries WHERE {_WRONG_EVENT}",
        f"""UPDATE entries SET active_sync_event_id = (SELECT MAX(n.id) FROM sync_events n
            WHERE n.aggregate_id = entries.id AND n.status IN ('PENDING', 'PROCESSING', 'FAILED'))
            WHERE {_WRONG_EVENT}""",
    ),
    Rule(
        "two at one NAS place",
        # In the order of the indexes: a million rows are not sorted in memory.
        """SELECT CAST(MIN(id) AS TEXT), MIN(nas_key) FROM entries
           WHERE nas_parent_id IS NOT NULL AND nas_key IS NOT NULL AND id <> 1
           GROUP BY nas_parent_id, nas_key HAVING COUNT(*) > 1
           UNION ALL
           SELECT MIN(uuid), MIN(nas_key) FROM versions WHERE nas_parent_id IS NOT NULL AND nas_key IS NOT NULL
           GROUP BY nas_parent_id, nas_key HAVING COUNT(*) > 1
           UNION ALL
           SELECT v.uuid, v.nas_path FROM versions v
           JOIN entries e ON e.nas_parent_id = v.nas_parent_id AND e.nas_key = v.nas_key
           WHERE v.nas_path IS NOT NULL""",
    ),
    Rule("half recorded on the NAS", f"SELECT id, name FROM entries WHERE {_HALF}"),
    Rule(
        "recorded below what the NAS does not have",
        """SELECT e.id, e.name FROM entries e LEFT JOIN entries p ON p.id = e.nas_parent_id
           WHERE e.nas_name IS NOT NULL AND e.id <> 1 AND p.nas_name IS NULL""",
    ),
    Rule(
        "version recorded below what the NAS does not have",
        """SELECT v.uuid, v.nas_path FROM versions v LEFT JOIN entries p ON p.id = COALESCE(v.nas_parent_id, 1)
           WHERE v.nas_path IS NOT NULL AND p.nas_name IS NULL""",
    ),
    Rule(
        "recorded in a circle on the NAS",
        """WITH RECURSIVE hung(id) AS (
               SELECT id FROM entries WHERE nas_name IS NULL OR id = 1
               UNION SELECT e.id FROM entries e JOIN hung ON e.nas_parent_id = hung.id WHERE e.nas_name IS NOT NULL)
           SELECT id, name FROM entries WHERE id NOT IN (SELECT id FROM hung)""",
    ),
    Rule(
        "recorded with another size than its content",
        f"""SELECT e.id, e.nas_name FROM entries e JOIN contents c ON c.id = e.nas_content_id
           WHERE e.nas_size <> {_ON_NAS}
           UNION ALL
           SELECT v.entry_id, v.nas_path FROM versions v JOIN contents c ON c.id = v.content_id
           WHERE v.nas_path IS NOT NULL AND v.nas_size <> {_ON_NAS}""",
    ),
    Rule("purged version on the NAS", "SELECT uuid, nas_path FROM versions WHERE state = 'purged' AND nas_path <> ''"),
    Rule(
        "AVAILABLE on the NAS, but not as it shall be",
        """WITH RECURSIVE shown(id) AS (
               SELECT id FROM entries WHERE parent_id IS NULL
               UNION SELECT e.id FROM entries e JOIN shown ON e.parent_id = shown.id WHERE e.state = 'ACTIVE')
           SELECT e.id, e.name FROM entries e JOIN shown ON shown.id = e.id
           WHERE e.id <> 1 AND e.nas_status = 'AVAILABLE'
           AND (e.nas_name IS DISTINCT FROM e.nas_desired_name OR e.nas_parent_id IS DISTINCT FROM e.parent_id
                OR e.vault_id IS NOT NULL AND e.nas_manifest IS DISTINCT FROM
                   (SELECT digest FROM manifests WHERE subject = CAST(e.id AS TEXT))
                OR e.nas_content_id IS DISTINCT FROM e.content_id)""",
        again=True,
    ),
)

_OUTLIVED = (
    Rule(
        "lease of a reader that is gone",
        "SELECT content_id, owner FROM reader_leases WHERE expires_ns < :old",
        "DELETE FROM reader_leases WHERE expires_ns < :old",
    ),
    Rule(
        "alert about a content that is gone",
        f"SELECT uuid, subject FROM alerts WHERE {_LOST_SUBJECT}",
        f"UPDATE alerts SET closed_ns = :now, message = 'the content is not needed any more' WHERE {_LOST_SUBJECT}",
    ),
    Rule(
        "path lease of nobody",
        "SELECT entry_id, lease_id FROM path_leases WHERE entry_id NOT IN (SELECT id FROM entries)",
        "DELETE FROM path_leases WHERE entry_id NOT IN (SELECT id FROM entries)",
    ),
)

_VAULTS = (
    Rule(
        "vault that nobody can open",
        f"""SELECT v.id, v.uuid FROM vaults v WHERE {STANDS} AND NOT EXISTS (
           SELECT 1 FROM vault_recipients w WHERE w.vault_id = v.id AND w.generation = v.generation)""",
    ),
    Rule(
        "sealed in a vault that is not there",
        """SELECT CAST(id AS TEXT), CAST(vault_id AS TEXT) FROM entries
           WHERE vault_id IS NOT NULL AND vault_id NOT IN (SELECT id FROM vaults)
           UNION ALL
           SELECT id, CAST(vault_id AS TEXT) FROM contents
           WHERE vault_id IS NOT NULL AND vault_id NOT IN (SELECT id FROM vaults)""",
    ),
    Rule(
        "not sealed for the folder that it is in",
        """SELECT CAST(e.id AS TEXT), e.name FROM entries e JOIN entries p ON p.id = e.parent_id
           WHERE CASE WHEN p.vault_id IS NULL THEN e.name LIKE '/%' OR e.name_key LIKE '/%'
                 ELSE e.vault_id IS DISTINCT FROM p.vault_id
                   OR e.name NOT LIKE '/' || CAST(p.vault_id AS TEXT) || '.' || p.seal_id || '.%'
                   OR e.name_key NOT LIKE '/' || CAST(p.vault_id AS TEXT) || '.' || p.seal_id || '.%'
                   OR e.mime_type LIKE '%/%' END""",
    ),
    Rule(
        "in a vault, and its path is not sealed",
        """WITH inside(id) AS (SELECT id FROM entries WHERE vault_id IS NOT NULL AND name LIKE '/%')
           SELECT CAST(entry_id AS TEXT), '' FROM trash_metadata
           WHERE original_path LIKE '/%' AND entry_id IN (SELECT id FROM inside)
           UNION ALL
           SELECT CAST(entry_id AS TEXT), '' FROM file_events
           WHERE detail LIKE '/%' AND entry_id IN (SELECT id FROM inside)
           UNION ALL
           SELECT CAST(aggregate_id AS TEXT), '' FROM sync_events
           WHERE (source_path LIKE '/%' OR target_path LIKE '/%') AND aggregate_id IN (SELECT id FROM inside)""",
    ),
    Rule(
        "in a vault, and nothing says what the NAS shall say of it",
        """SELECT e.id, e.uuid FROM entries e LEFT JOIN manifests m ON m.subject = CAST(e.id AS TEXT)
           WHERE e.vault_id IS NOT NULL AND e.state <> 'DELETED'
           AND (m.subject IS NULL OR m.content_id IS DISTINCT FROM e.content_id)
           UNION ALL
           SELECT v.entry_id, v.uuid FROM versions v JOIN entries e ON e.id = v.entry_id
           LEFT JOIN manifests m ON m.subject = v.uuid
           WHERE e.vault_id IS NOT NULL AND e.state <> 'DELETED' AND v.state = 'kept'
           AND m.content_id IS DISTINCT FROM v.content_id""",
    ),
    Rule(
        "half sealed",
        """SELECT CAST(id AS TEXT), name FROM entries WHERE (vault_id IS NULL) <> (seal_id IS NULL)
           UNION ALL
           SELECT id, wrapped_key FROM contents
           WHERE (vault_id IS NULL) <> (wrapped_key IS NULL) OR (vault_id IS NULL) <> (part_list IS NULL)""",
    ),
)

# Rows that say nothing without the one that is not there, so they may go.
_MAY_GO = frozenset(
    {
        *("group_members", "grants", "dav_locks", "dav_properties", "trash_metadata", "folder_versions", "cache_pins"),
        *("upload_parts", "sync_events", "mirror_leases", "path_leases", "tokens", "ip_access_rules"),
    }
)


def _dangling() -> Iterator[Rule]:
    """Whatever refers to a row that is not there."""
    from vfs.metadata.schema import metadata  # not at each start: revision.py

    for table in metadata.sorted_tables:
        key = " || '/' || ".join(f"CAST(t.{column.name} AS TEXT)" for column in table.primary_key)
        for reference in sorted(table.foreign_keys, key=lambda each: each.parent.name):
            column, target = reference.parent.name, reference.column
            if (table.name, column) == ("entries", "parent_id"):
                continue  # said above
            wrong = f"""t.{column} IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM {target.table.name} other WHERE other.{target.name} = t.{column})"""
            yield Rule(
                f"dangling row: {column} of {table.name}",
                f"SELECT {key}, CAST(t.{column} AS TEXT) FROM {table.name} t WHERE {wrong}",
                f"DELETE FROM {table.name} AS t WHERE {wrong}" if table.name in _MAY_GO else None,
            )


def _unknown_words() -> Iterator[Rule]:
    for table, key, column, words in _WORDS:
        find = f"SELECT {key}, {column} FROM {table} WHERE {column} NOT IN ({words})"
        yield Rule(f"{column} of {table} that does not exist", find)


@cache
def all_rules() -> tuple[Rule, ...]:
    return (*_TREE, *_CONTENTS, *_MIRROR, *_OUTLIVED, *_VAULTS, *_unknown_words(), *_dangling())
