"""The seeds' tables that are views here: read only, with the seeds' columns and effective states."""

from __future__ import annotations

# The state an entry has in fact: its own, or that of the nearest ancestor that is not ACTIVE. So what was trashed
# alone stays in the trash when the folder it was in is purged, and can still be restored.
_EFFECTIVE = """
WITH RECURSIVE reach(id, effective) AS (
    SELECT id, state FROM entries WHERE parent_id IS NULL
    UNION ALL
    SELECT e.id, CASE WHEN e.state = 'ACTIVE' THEN r.effective ELSE e.state END
    FROM entries e JOIN reach r ON e.parent_id = r.id
)"""

VIEWS: dict[str, str] = {
    "folders": f"""{_EFFECTIVE}
SELECT e.uuid AS id, p.uuid AS parent_id, e.name, r.effective AS state, e.mtime_ns, e.created_ns, e.owner_id
FROM entries e JOIN reach r ON r.id = e.id LEFT JOIN entries p ON p.id = e.parent_id WHERE e.kind = 'folder'""",
    "files": f"""{_EFFECTIVE}
SELECT e.uuid AS id, p.uuid AS folder_id, e.name, e.size AS size_bytes, e.mime_type, r.effective AS state,
       e.mtime_ns, e.created_ns, e.owner_id
FROM entries e JOIN reach r ON r.id = e.id LEFT JOIN entries p ON p.id = e.parent_id WHERE e.kind = 'file'""",
    "file_storage_objects": """
SELECT e.uuid AS file_id, 'CACHE' AS storage_type, o.key AS object_key, o.status AS availability_status,
       NULL AS active_sync_event_id, o.last_accessed_ns AS last_accessed, o.access_count,
       (SELECT COUNT(*) FROM reader_leases l WHERE l.content_id = c.id) AS lease_count
FROM entries e JOIN contents c ON c.id = e.content_id
LEFT JOIN file_parts p ON p.content_id = c.id
JOIN objects o ON o.key = COALESCE(p.object_key, c.id) WHERE e.kind = 'file'
UNION ALL
SELECT e.uuid, 'NAS', e.nas_name, e.nas_status, e.active_sync_event_id, NULL, NULL, NULL
FROM entries e WHERE e.kind = 'file'""",
    "folder_storage_objects": """
SELECT e.uuid AS folder_id, 'NAS' AS storage_type, e.nas_name AS object_key, e.nas_status AS availability_status,
       e.active_sync_event_id
FROM entries e WHERE e.kind = 'folder'""",
}
