"""What looks after cache and mirror: leases of readers, sums of blocks, pins, alerts, places of versions, uploads."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_OBJECTS = """
SELECT e.uuid AS file_id, 'CACHE' AS storage_type, o.key AS object_key, o.status AS availability_status,
       NULL AS active_sync_event_id, o.last_accessed_ns AS last_accessed, o.access_count,
       (SELECT COUNT(*) FROM reader_leases l WHERE l.content_id = c.id) AS lease_count
FROM entries e JOIN contents c ON c.id = e.content_id
LEFT JOIN file_parts p ON p.content_id = c.id
JOIN objects o ON o.key = COALESCE(p.object_key, c.id) WHERE e.kind = 'file'
UNION ALL
SELECT e.uuid, 'NAS', e.nas_name, e.nas_status, e.active_sync_event_id, NULL, NULL, NULL
FROM entries e WHERE e.kind = 'file'"""


def upgrade() -> None:
    op.execute("DROP VIEW file_storage_objects")
    _readers()
    op.execute(f"CREATE VIEW file_storage_objects AS {_OBJECTS}")
    _versions()
    op.add_column("entries", sa.Column("nas_verified_ns", sa.BigInteger(), nullable=True))
    _deleted()
    _alerts()
    _uploads()


def _readers() -> None:
    op.drop_column("objects", "lease_count")
    op.add_column("objects", sa.Column("blocks", sa.LargeBinary(), nullable=True))
    op.add_column("objects", sa.Column("cached_ns", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("objects", sa.Column("status_ns", sa.BigInteger(), nullable=True))
    op.add_column("objects", sa.Column("verified_ns", sa.BigInteger(), nullable=True))
    op.create_index(
        "objects_unsettled",
        "objects",
        ["status", "status_ns"],
        unique=False,
        sqlite_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
        postgresql_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
    )
    op.create_index(
        "contents_unlearned",
        "contents",
        ["id"],
        unique=False,
        sqlite_where=sa.text("checksum = ''"),
        postgresql_where=sa.text("checksum = ''"),
    )
    op.create_table(
        "reader_leases",
        sa.Column("content_id", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("content_id", "owner"),
    )
    op.create_table(
        "byte_grants",
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "cache_pins",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"]),
        sa.PrimaryKeyConstraint("entry_id"),
    )


def _versions() -> None:
    """A version's place becomes relative to a folder's, as an entry's is; so far all were told from the NAS root."""
    for name, kind in (
        ("stamp", _TEXT),
        ("nas_desired_name", _TEXT),
        ("nas_desired_key", _TEXT),
        ("nas_parent_id", _ID),
        ("nas_key", _TEXT),
        ("nas_size", sa.BigInteger()),
        ("nas_mtime_ns", sa.BigInteger()),
        ("nas_inode", sa.BigInteger()),
        ("nas_verified_ns", sa.BigInteger()),
    ):
        op.add_column("versions", sa.Column(name, kind, nullable=True))
    op.execute("UPDATE versions SET nas_parent_id = 1, nas_key = nas_path WHERE nas_path IS NOT NULL")
    op.create_index("versions_nas_place", "versions", ["nas_parent_id", "nas_key"], unique=False)
    op.create_index(
        "versions_unsettled",
        "versions",
        ["state", "stamp", "replaced_ns"],
        unique=False,
        sqlite_where=sa.text("state IN ('kept', 'expired')"),
        postgresql_where=sa.text("state IN ('kept', 'expired')"),
    )
    op.create_index(
        "versions_nas_desired",
        "versions",
        ["nas_desired_key"],
        unique=False,
        sqlite_where=sa.text("nas_desired_key IS NOT NULL"),
        postgresql_where=sa.text("nas_desired_key IS NOT NULL"),
    )
    op.create_index(
        "versions_unmirrored",
        "versions",
        ["content_id"],
        unique=False,
        sqlite_where=sa.text("nas_path IS NULL AND state = 'kept'"),
        postgresql_where=sa.text("nas_path IS NULL AND state = 'kept'"),
    )
    op.create_index(
        "contents_freeing",
        "contents",
        ["freeing_ns"],
        unique=False,
        sqlite_where=sa.text("freeing_ns IS NOT NULL"),
        postgresql_where=sa.text("freeing_ns IS NOT NULL"),
    )


def _deleted() -> None:
    """NULL for all that are DELETED already: their days are counted from the first round of the batch."""
    op.add_column("entries", sa.Column("deleted_ns", sa.BigInteger(), nullable=True))
    op.create_index(
        "entries_deleted",
        "entries",
        ["deleted_ns", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'DELETED'"),
        postgresql_where=sa.text("state = 'DELETED'"),
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("severity", _TEXT, nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("trace_id", _TEXT, nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=True),
        sa.Column("untold", _TEXT, nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_ns", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "alerts_open",
        "alerts",
        ["kind", "subject"],
        unique=True,
        sqlite_where=sa.text("closed_ns IS NULL"),
        postgresql_where=sa.text("closed_ns IS NULL"),
    )
    op.create_index(
        "alerts_untold",
        "alerts",
        ["next_ns"],
        unique=False,
        sqlite_where=sa.text("untold <> ''"),
        postgresql_where=sa.text("untold <> ''"),
    )


def _uploads() -> None:
    op.create_table(
        "upload_sessions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("content_id", _TEXT, nullable=False),
        sa.Column("folder_id", _ID, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mime_type", _TEXT, nullable=False),
        sa.Column("on_conflict", _TEXT, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("trace_id", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("reminded_ns", sa.BigInteger(), nullable=True),
        sa.Column("cleaned_ns", sa.BigInteger(), nullable=True),
        sa.Column("entry_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(["folder_id"], ["entries.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        sa.UniqueConstraint("content_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("upload_sessions_due", "upload_sessions", ["status", "expires_ns"], unique=False)
    op.create_table(
        "upload_parts",
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("object_key", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", _TEXT, nullable=False),
        sa.Column("blocks", sa.LargeBinary(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["upload_sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "number"),
    )


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
