"""The first shape of the database: tree, contents, outbox, locks, people; the root folder; the seeds' views."""

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_EFFECTIVE = """
WITH RECURSIVE reach(id, effective) AS (
    SELECT id, state FROM entries WHERE parent_id IS NULL
    UNION ALL
    SELECT e.id, CASE WHEN e.state = 'ACTIVE' THEN r.effective ELSE e.state END
    FROM entries e JOIN reach r ON e.parent_id = r.id
)"""

_VIEWS = {
    "folders": _EFFECTIVE
    + """
SELECT e.uuid AS id, p.uuid AS parent_id, e.name, r.effective AS state, e.mtime_ns, e.created_ns, e.owner_id
FROM entries e JOIN reach r ON r.id = e.id LEFT JOIN entries p ON p.id = e.parent_id WHERE e.kind = 'folder'""",
    "files": _EFFECTIVE
    + """
SELECT e.uuid AS id, p.uuid AS folder_id, e.name, e.size AS size_bytes, e.mime_type, r.effective AS state,
       e.mtime_ns, e.created_ns, e.owner_id
FROM entries e JOIN reach r ON r.id = e.id LEFT JOIN entries p ON p.id = e.parent_id WHERE e.kind = 'file'""",
    "file_storage_objects": """
SELECT e.uuid AS file_id, 'CACHE' AS storage_type, o.key AS object_key, o.status AS availability_status,
       NULL AS active_sync_event_id, o.last_accessed_ns AS last_accessed, o.access_count, o.lease_count
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

# Compared byte by byte: what a language says of the order changes with the system's release, and breaks indexes then.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _tables()
    _first_rows()
    for name, select in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {select}")


def _first_rows() -> None:
    """The root, which is always on the NAS as the empty path, and the id that the NAS marker will name."""
    now = time.time_ns()
    op.execute(
        sa.text(
            "INSERT INTO entries (id, uuid, name, name_key, kind, state, mtime_ns, shown_mtime, created_ns,"
            " registered_ns, nas_desired_name, nas_desired_key, nas_name, nas_key, nas_status)"
            " VALUES (1, :uuid, '', '', 'folder', 'ACTIVE', :now, :seconds, :now, :now, '', '', '', '', 'AVAILABLE')"
        ).bindparams(uuid=str(uuid.uuid4()), now=now, seconds=now // 1_000_000_000)
    )
    if op.get_context().dialect.name == "postgresql":  # which does not count rows that bring their own number
        op.execute("SELECT setval(pg_get_serial_sequence('entries', 'id'), 1)")
    op.execute(sa.text("INSERT INTO installation (name, value) VALUES ('id', :id)").bindparams(id=str(uuid.uuid4())))


def _tables() -> None:
    op.create_table(
        "contents",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", _TEXT, nullable=False),
        sa.Column("sha1", _TEXT, nullable=True),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("freeing_ns", sa.BigInteger(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "file_events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("face", _TEXT, nullable=False),
        sa.Column("detail", _TEXT, nullable=True),
        sa.Column("trace_id", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_file_events_entry_id"), "file_events", ["entry_id"], unique=False)
    op.create_table(
        "groups",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "installation",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "name_memory",
        sa.Column("parent_id", _ID, nullable=False),
        sa.Column("name_key", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("shown_mtime", sa.BigInteger(), nullable=False),
        sa.Column("left_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parent_id", "name_key"),
    )
    op.create_table(
        "objects",
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("last_accessed_ns", sa.BigInteger(), nullable=True),
        sa.Column("access_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_count", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "users",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("name_key", _TEXT, nullable=False),
        sa.Column("password_hash", _TEXT, nullable=False),
        sa.Column("role", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "entries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("parent_id", _ID, nullable=True),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("name_key", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("content_id", _TEXT, nullable=True),
        sa.Column("content_user_id", _ID, nullable=True),
        sa.Column("content_ns", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("mime_type", _TEXT, server_default="", nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("shown_mtime", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("registered_ns", sa.BigInteger(), nullable=False),
        sa.Column("born_litter", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("succeeded_by", _ID, nullable=True),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("mode", sa.Integer(), nullable=True),
        sa.Column("uid", _ID, nullable=True),
        sa.Column("gid", _ID, nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("nas_stamp", _TEXT, nullable=True),
        sa.Column("nas_desired_name", _TEXT, nullable=False),
        sa.Column("nas_desired_key", _TEXT, nullable=False),
        sa.Column("nas_parent_id", _ID, nullable=True),
        sa.Column("nas_name", _TEXT, nullable=True),
        sa.Column("nas_key", _TEXT, nullable=True),
        sa.Column("nas_content_id", _TEXT, nullable=True),
        sa.Column("nas_size", sa.BigInteger(), nullable=True),
        sa.Column("nas_mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("nas_inode", sa.BigInteger(), nullable=True),
        sa.Column("nas_noted", _TEXT, nullable=True),
        sa.Column("nas_status", _TEXT, nullable=False),
        sa.Column("active_sync_event_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "entries_name",
        "entries",
        ["parent_id", "name_key"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
    op.create_index(
        "entries_nas_desired",
        "entries",
        ["parent_id", "nas_desired_key"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
    op.create_index("entries_nas_place", "entries", ["nas_parent_id", "nas_key"], unique=False)
    op.create_index("entries_parent", "entries", ["parent_id", "state"], unique=False)
    op.create_index(op.f("ix_entries_content_id"), "entries", ["content_id"], unique=False)
    op.create_index(op.f("ix_entries_nas_content_id"), "entries", ["nas_content_id"], unique=False)
    op.create_table(
        "file_parts",
        sa.Column("content_id", _TEXT, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("object_key", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
        ),
        sa.ForeignKeyConstraint(
            ["object_key"],
            ["objects.key"],
        ),
        sa.PrimaryKeyConstraint("content_id", "sequence"),
    )
    op.create_index(op.f("ix_file_parts_object_key"), "file_parts", ["object_key"], unique=False)
    op.create_table(
        "group_members",
        sa.Column("group_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "user_id"),
    )
    op.create_table(
        "dav_locks",
        sa.Column("token", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("infinite", sa.Boolean(), nullable=False),
        sa.Column("scope", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["entries.id"],
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index(op.f("ix_dav_locks_entry_id"), "dav_locks", ["entry_id"], unique=False)
    op.create_table(
        "dav_properties",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("entry_id", "name"),
    )
    op.create_table(
        "grants",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("folder_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("group_id", _ID, nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["folder_id"],
            ["entries.id"],
        ),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_grants_folder_id"), "grants", ["folder_id"], unique=False)
    op.create_table(
        "mirror_leases",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("plan", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("entry_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sync_events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("event_type", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("aggregate_type", _TEXT, nullable=False),
        sa.Column("aggregate_id", _ID, nullable=False),
        sa.Column("source_path", _TEXT, nullable=True),
        sa.Column("target_path", _TEXT, nullable=True),
        sa.Column("metadata", _TEXT, nullable=True),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("trace_id", _TEXT, nullable=False),
        sa.Column("scheduled_ns", sa.BigInteger(), nullable=False),
        sa.Column("litter", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("processed_ns", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["aggregate_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "sync_events_due",
        "sync_events",
        ["status", "scheduled_ns"],
        unique=False,
        sqlite_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
        postgresql_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
    )
    op.create_index("sync_events_entry", "sync_events", ["aggregate_id", "status"], unique=False)
    op.create_table(
        "trash_metadata",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("original_path", _TEXT, nullable=False),
        sa.Column("trashed_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index(op.f("ix_trash_metadata_expires_ns"), "trash_metadata", ["expires_ns"], unique=False)
    op.create_table(
        "versions",
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("content_id", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("replaced_ns", sa.BigInteger(), nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("nas_path", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["entries.id"],
        ),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index(op.f("ix_versions_content_id"), "versions", ["content_id"], unique=False)
    op.create_index("versions_entry", "versions", ["entry_id", "created_ns"], unique=False)
    op.create_table(
        "path_leases",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("lease_id", _ID, nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["lease_id"], ["mirror_leases.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id", "lease_id"),
    )
    op.create_index("path_leases_lease", "path_leases", ["lease_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("this is the first revision: restore a backup instead")
