"""The tables, each column explained; `migrations/` brings a database here, a test compares the two.

Times `…_ns` are nanoseconds since 1970 (UTC). UUIDs are text, made before the insert. The seeds' tables
(`folders`, `files`, `file_storage_objects`, `folder_storage_objects`) are read-only views, see `VIEWS`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

REVISION = "0003"  # the newest migration; a database that says so is not looked at further

metadata = sa.MetaData()
# SQLite numbers rows only by a column whose type is exactly INTEGER; elsewhere ids are 64 bits wide.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, *columns, sqlite_autoincrement=True)


def _id() -> sa.Column[int]:
    return sa.Column("id", Id, primary_key=True, autoincrement=True)


installation = sa.Table(
    "installation",
    metadata,
    # 'id': what the NAS marker must name. 'nas': JSON of nas_state.NasState: is it up, and who does not reach it;
    # 'nas_capacity', 'nas_health' (JSON), 'nas_properties': as last seen. 'loading', 'taking': JSON, a load, or the
    # adoption of a tree, that has not finished: nothing else opens the drive.
    # 'duty:…': whose turn a batch is, and until when. 'queue_away_ns', 'orphans_sought_ns': since when.
    # 'scrub': JSON, how far it is.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

users = _table(
    "users",
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False, unique=True),  # case-folded NFC
    sa.Column("password_hash", sa.Text, nullable=False),  # argon2id
    sa.Column("role", sa.Text, nullable=False),  # admin, editor, viewer
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

groups = _table("groups", _id(), sa.Column("name", sa.Text, nullable=False, unique=True))

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
)

contents = sa.Table(
    "contents",
    metadata,
    # Immutable. The id is also the key of its object when it has only one part.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),  # BLAKE3, hex
    sa.Column("digests", sa.Text),  # "SHA1:… MD5:…" (hex), where the client announced one of them
    sa.Column("parts", sa.Integer, nullable=False),  # 1: the object named as the content; else rows in file_parts
    sa.Column("freeing_ns", sa.BigInteger),  # since when it is being freed (design §3); NULL: in use
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Index(
        "contents_freeing",
        "freeing_ns",
        sqlite_where=sa.text("freeing_ns IS NOT NULL"),
        postgresql_where=sa.text("freeing_ns IS NOT NULL"),
    ),
    sa.Index(  # adopted files that nobody has read yet
        "contents_unlearned",
        "id",
        sqlite_where=sa.text("checksum = ''"),
        postgresql_where=sa.text("checksum = ''"),
    ),
    sqlite_with_rowid=False,  # one page less in each commit
)

objects = sa.Table(
    "objects",
    metadata,
    # What the cache holds, or shall hold. Status: AVAILABLE; EVICTING (readers go to the NAS); MISSING (not there:
    # evicted, or lost); SYNCING (being restored from the NAS); PENDING (to be deleted); ERROR (bad here, and there).
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),  # BLAKE3, hex; "": not known yet (an adopted file)
    # XXH3 of each block of 64 KiB, 8 bytes each, so that any range can be verified; NULL: the checksum alone tells
    # (one block), or nobody has looked yet.
    sa.Column("blocks", sa.LargeBinary),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_ns", sa.BigInteger),  # since when it is EVICTING, SYNCING, PENDING or ERROR
    sa.Column("cached_ns", sa.BigInteger, nullable=False, server_default="0"),  # when it last came into the cache
    sa.Column("last_accessed_ns", sa.BigInteger),  # written in batches, as is the count
    sa.Column("access_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("verified_ns", sa.BigInteger),  # when the scrub last read it whole and found it right
    sa.Index(
        "objects_unsettled",
        "status",
        "status_ns",
        sqlite_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
        postgresql_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
    ),
    sqlite_with_rowid=False,  # one page less in each commit
)

reader_leases = sa.Table(
    "reader_leases",
    metadata,
    # Who reads a content just now: published in batches, so a short read never shows. What is leased is neither evicted
    # nor freed. No reference to `contents`: a reader may hold what is freed meanwhile.
    sa.Column("content_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),  # host:pid:random of the process
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

byte_grants = sa.Table(
    "byte_grants",
    metadata,
    # Bytes that a process may still bring in, or has not committed yet: with what waits for the NAS they stay below
    # cache.hard_limit, however many processes there are (operations/reserving.py). Two rows are nobody's: 'granted' is
    # all that was ever granted; 'base', with it, is never less than what waits and the grants that hold.
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

file_parts = sa.Table(
    "file_parts",
    metadata,
    # The ordered parts of a content that has more than one (the seeds' fileOrderMapping).
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("object_key", sa.Text, sa.ForeignKey("objects.key"), nullable=False, index=True),
)

entries = _table(
    "entries",
    _id(),  # never reused; also the FUSE inode; 1 is the root
    sa.Column("uuid", sa.Text, nullable=False, unique=True),  # public id; moves with a name that is saved anew
    sa.Column("parent_id", Id, sa.ForeignKey("entries.id")),  # NULL only for the root
    sa.Column("name", sa.Text, nullable=False),  # as its creator sent it
    sa.Column("name_key", sa.Text, nullable=False),  # names.key(name)
    sa.Column("kind", sa.Text, nullable=False),  # folder, file, symlink
    # Its own state; it is reachable only when every ancestor is ACTIVE too.
    sa.Column("state", sa.Text, nullable=False),
    # Of a DELETED one: when what was below it and its versions had followed; NULL: they are still to follow.
    sa.Column("deleted_ns", sa.BigInteger),
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), index=True),
    sa.Column("content_user_id", Id),  # who wrote the content, and when: decides whether a version is kept
    sa.Column("content_ns", sa.BigInteger),
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("mime_type", sa.Text, nullable=False, server_default=""),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),  # true time; FUSE and NAS get this one
    sa.Column("shown_mtime", sa.BigInteger, nullable=False),  # seconds, what HTTP shows (clients.md R8)
    sa.Column("created_ns", sa.BigInteger, nullable=False),  # shown creation date; clients may set it
    sa.Column("registered_ns", sa.BigInteger, nullable=False),  # when the row was made
    sa.Column("born_litter", sa.Boolean, nullable=False, server_default=sa.false()),
    # The entry that took over this row's document (an editor's safe save): its old content is a version there.
    sa.Column("succeeded_by", Id),
    sa.Column("owner_id", Id),
    sa.Column("mode", sa.Integer),  # POSIX; NULL: the default
    sa.Column("uid", Id),
    sa.Column("gid", Id),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),  # bumped by every change
    # What the NAS shall have. The place is (parent_id, nas_desired_name); in the trash see trash_metadata.
    sa.Column("nas_stamp", sa.Text),  # YYYYMMDDHHMMSS, files only; fixed in the user's transaction
    sa.Column("nas_desired_name", sa.Text, nullable=False),
    sa.Column("nas_desired_key", sa.Text, nullable=False),
    # What the NAS is recorded to have. nas_name NULL: nothing. It is relative to the place recorded for
    # nas_parent_id, so a folder that moves on the NAS carries all below it without touching their rows.
    sa.Column("nas_parent_id", Id, index=False),
    sa.Column("nas_name", sa.Text),
    sa.Column("nas_key", sa.Text),
    sa.Column("nas_content_id", sa.Text, index=True),
    sa.Column("nas_size", sa.BigInteger),
    sa.Column("nas_mtime_ns", sa.BigInteger),
    sa.Column("nas_inode", sa.BigInteger),
    sa.Column("nas_noted", sa.Text),  # what `.kelp/names/{id}` says, where the NAS name cannot tell the full name
    sa.Column("nas_verified_ns", sa.BigInteger),  # when the scrub last read its file there and found it right
    sa.Column("nas_status", sa.Text, nullable=False),  # SYNCING, AVAILABLE, ERROR
    sa.Column("active_sync_event_id", Id),  # the newest event that is not DONE
    sa.Index(
        "entries_name",
        "parent_id",
        "name_key",
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    ),
    sa.Index(
        "entries_nas_desired",
        "parent_id",
        "nas_desired_key",
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    ),
    sa.Index(
        "entries_deleted",
        "deleted_ns",
        "id",
        sqlite_where=sa.text("state = 'DELETED'"),
        postgresql_where=sa.text("state = 'DELETED'"),
    ),
    sa.Index("entries_parent", "parent_id", "state"),
    sa.Index("entries_nas_place", "nas_parent_id", "nas_key"),
)

folder_versions = sa.Table(
    "folder_versions",
    metadata,
    # Changes with every change of what a folder lists. A table of its own, locked last (design §7).
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

trash_metadata = sa.Table(
    "trash_metadata",
    metadata,
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("original_path", sa.Text, nullable=False),
    sa.Column("trashed_ns", sa.BigInteger, nullable=False),  # its stamp names the folder in .trash on the NAS
    sa.Column("expires_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("user_id", Id),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # kept, expired (to leave the NAS), purged
    sa.Column("created_ns", sa.BigInteger, nullable=False),  # when this content was written
    sa.Column("replaced_ns", sa.BigInteger, nullable=False),
    sa.Column("user_id", Id),
    # Where every registration stays a file in the tree (keep-dated): the stamp and the name of this one's file, which
    # is wherever the entry's is. NULL: it is kept below .kelp.
    sa.Column("stamp", sa.Text),
    sa.Column("nas_desired_name", sa.Text),
    sa.Column("nas_desired_key", sa.Text),
    # Where the NAS is recorded to have it, as for entries: `nas_path` is relative to the place of `nas_parent_id`.
    sa.Column("nas_parent_id", Id),
    sa.Column("nas_path", sa.Text),
    sa.Column("nas_key", sa.Text),
    sa.Column("nas_size", sa.BigInteger),  # as seen when written or moved there, as for entries
    sa.Column("nas_mtime_ns", sa.BigInteger),
    sa.Column("nas_inode", sa.BigInteger),
    sa.Column("nas_verified_ns", sa.BigInteger),
    sa.Index("versions_entry", "entry_id", "created_ns"),
    sa.Index("versions_nas_place", "nas_parent_id", "nas_key"),
    sa.Index(
        "versions_unsettled",
        "state",
        "replaced_ns",
        sqlite_where=sa.text("state IN ('kept', 'expired')"),
        postgresql_where=sa.text("state IN ('kept', 'expired')"),
    ),
    sa.Index(
        "versions_nas_desired",
        "nas_desired_key",
        sqlite_where=sa.text("nas_desired_key IS NOT NULL"),
        postgresql_where=sa.text("nas_desired_key IS NOT NULL"),
    ),
    sa.Index(
        "versions_unmirrored",
        "content_id",
        sqlite_where=sa.text("nas_path IS NULL AND state = 'kept'"),
        postgresql_where=sa.text("nas_path IS NULL AND state = 'kept'"),
    ),
)

cache_pins = sa.Table(
    "cache_pins",
    metadata,
    # Files and folders whose contents stay in the cache.
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("user_id", Id),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

alerts = _table(
    "alerts",
    _id(),
    # What an admin must know. At most one is open for a kind and a subject: what happens again is counted there.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # NAS_DOWN, MIRROR_FAILED, …: see operations/alerts.py
    sa.Column("subject", sa.Text, nullable=False),  # what it is about; "" where the kind says all
    sa.Column("severity", sa.Text, nullable=False),  # info, warning, error
    sa.Column("message", sa.Text, nullable=False),  # the newest
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("opened_ns", sa.BigInteger, nullable=False),
    sa.Column("last_ns", sa.BigInteger, nullable=False),
    sa.Column("closed_ns", sa.BigInteger),  # over; NULL: still so
    sa.Column("untold", sa.Text, nullable=False),  # sinks that were not told yet of its beginning or end
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index(
        "alerts_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=sa.text("closed_ns IS NULL"),
        postgresql_where=sa.text("closed_ns IS NULL"),
    ),
    sa.Index(
        "alerts_untold", "next_ns", sqlite_where=sa.text("untold <> ''"), postgresql_where=sa.text("untold <> ''")
    ),
)

upload_sessions = _table(
    "upload_sessions",
    _id(),
    # Multipart uploads. Their objects are named by `content_id`, so no orphan batch takes them.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("content_id", sa.Text, nullable=False, unique=True),
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger),  # as announced
    sa.Column("mime_type", sa.Text, nullable=False),
    sa.Column("on_conflict", sa.Text, nullable=False),
    sa.Column("user_id", Id),
    sa.Column("status", sa.Text, nullable=False),  # INIT, UPLOADING, COMPLETED, ABORTED, EXPIRED
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
    sa.Column("reminded_ns", sa.BigInteger),
    sa.Column("cleaned_ns", sa.BigInteger),  # when the parts of an EXPIRED or ABORTED one went; NULL: still to go
    sa.Column("entry_id", Id),  # what it became
    sa.Index("upload_sessions_due", "status", "expires_ns"),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("upload_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("object_key", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),
    sa.Column("blocks", sa.LargeBinary),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

name_memory = sa.Table(
    "name_memory",
    metadata,
    # Who had a name last, and which time it showed: for R8 and for an editor's safe save (spec §6, versions).
    sa.Column("parent_id", Id, primary_key=True),
    sa.Column("name_key", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, nullable=False),  # 0: nobody who could claim it
    sa.Column("shown_mtime", sa.BigInteger, nullable=False),
    sa.Column("left_ns", sa.BigInteger, nullable=False),
)

grants = _table(
    "grants",
    _id(),
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), nullable=False, index=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE")),  # exactly one of the two is set
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE")),
    sa.Column("level", sa.Integer, nullable=False),  # model.Level
)

dav_locks = sa.Table(
    "dav_locks",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False, index=True),
    sa.Column("infinite", sa.Boolean, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # as the client sent it
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("timeout", sa.Integer, nullable=False),  # seconds granted
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

dav_properties = sa.Table(
    "dav_properties",
    metadata,
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),  # Clark notation: {namespace}local
    sa.Column("value", sa.Text, nullable=False),  # the whole element as XML
)

sync_events = _table(
    "sync_events",
    _id(),
    # Written in the user's transaction: the outbox of the mirror. PENDING, PROCESSING, DONE, FAILED, CANCELLED.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("aggregate_type", sa.Text, nullable=False),  # FILE or FOLDER
    sa.Column("aggregate_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("source_path", sa.Text),
    sa.Column("target_path", sa.Text),
    sa.Column("metadata", sa.Text),  # JSON
    sa.Column("retry_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_message", sa.Text),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("scheduled_ns", sa.BigInteger, nullable=False),  # not before
    sa.Column("litter", sa.Boolean, nullable=False, server_default=sa.false()),  # waits mirror.delay (spec §5)
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("processed_ns", sa.BigInteger),
    sa.Index("sync_events_entry", "aggregate_id", "status"),
    sa.Index(  # asked by every change: an entry may have many events that wait for the NAS, few of them litter's
        "sync_events_litter",
        "aggregate_id",
        "status",
        sqlite_where=sa.text("litter"),
        postgresql_where=sa.text("litter"),
    ),
    sa.Index(
        "sync_events_due",
        "status",
        "scheduled_ns",
        sqlite_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
        postgresql_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
    ),
)

mirror_leases = _table(
    "mirror_leases",
    _id(),  # the fencing number: grows with each holder, never reused
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),  # host:pid:random of the process
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),  # JSON of the steps, so that a successor can settle them
    # The NAS name that the plan gives the entry: nobody else may go there before it is recorded.
    sa.Column("nas_parent_id", Id),
    sa.Column("nas_key", sa.Text),
    sa.Index("mirror_leases_target", "nas_parent_id", "nas_key", unique=True),
)

path_leases = sa.Table(
    "path_leases",
    metadata,
    # Shared on each folder that a running job works below, exclusive on a folder that is moved or removed.
    sa.Column("entry_id", Id, primary_key=True),
    sa.Column("lease_id", Id, sa.ForeignKey("mirror_leases.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("exclusive", sa.Boolean, nullable=False),
    sa.Index("path_leases_lease", "lease_id"),
)

file_events = _table(
    "file_events",
    _id(),
    # History: who did what when.
    sa.Column("entry_id", Id, nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),  # create, write, rename, move, copy, trash, restore, purge, …
    sa.Column("user_id", Id),
    sa.Column("face", sa.Text, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

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
