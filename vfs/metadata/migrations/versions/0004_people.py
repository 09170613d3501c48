"""What programs need: public ids of users and groups, tokens, policies of addresses, settings by REST, tus."""

import time
import unicodedata
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _people()
    _tokens()
    _policies()
    op.create_table(
        "nas_settings",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _uploads()
    folders = sa.text("state = 'ACTIVE' AND kind = 'folder'")
    op.create_index(
        *("entries_folders", "entries", ["parent_id", "name_key"]),
        unique=False,
        sqlite_where=folders,
        postgresql_where=folders,
    )


def _people() -> None:
    """Columns are added with a default, since SQLite could only rebuild the table else: that empties those below it."""
    connection = op.get_bind()
    op.add_column("groups", sa.Column("name_key", _TEXT, server_default="", nullable=False))
    for table in ("users", "groups", "grants"):
        op.add_column(table, sa.Column("uuid", _TEXT, server_default="", nullable=False))
        for (row_id,) in connection.execute(sa.text(f"SELECT id FROM {table}")).all():
            given = {"id": row_id, "uuid": str(uuid.uuid4())}
            connection.execute(sa.text(f"UPDATE {table} SET uuid = :uuid WHERE id = :id"), given)
        op.create_index(f"{table}_uuid", table, ["uuid"], unique=True)
    for table in ("groups", "grants"):
        op.add_column(table, sa.Column("created_ns", sa.BigInteger(), server_default="0", nullable=False))
        connection.execute(sa.text(f"UPDATE {table} SET created_ns = :now"), {"now": time.time_ns()})
    for row_id, name in connection.execute(sa.text("SELECT id, name FROM groups")).all():
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        connection.execute(sa.text("UPDATE groups SET name_key = :key WHERE id = :id"), {"id": row_id, "key": key})
    op.create_index("groups_by_key", "groups", ["name_key"], unique=True)
    op.drop_index("ix_grants_folder_id", "grants")
    op.create_index("grants_of_user", "grants", ["folder_id", "user_id"], unique=True)
    op.create_index("grants_of_group", "grants", ["folder_id", "group_id"], unique=True)


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("secret_hash", _TEXT, nullable=False),
        sa.Column("scopes", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_used_ns", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_hash"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index("tokens_of_user", "tokens", ["user_id"], unique=False)


def _policies() -> None:
    op.create_table(
        "ip_access_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ip_access_rules",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("cidr", _TEXT, nullable=False),
        sa.Column("note", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["ip_access_policies.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ip_access_rules_network", "ip_access_rules", ["policy_id", "cidr"], unique=True)


def _uploads() -> None:
    for column in (
        sa.Column("protocol", _TEXT, server_default="parts", nullable=False),
        sa.Column("part_size", sa.BigInteger(), server_default="8388608", nullable=False),
        sa.Column("metadata", _TEXT, nullable=True),
    ):
        op.add_column("upload_sessions", column)
    op.drop_table("upload_parts")  # nobody could send one so far
    op.create_table(
        "upload_parts",
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("piece", sa.Integer(), server_default="0", nullable=False),
        sa.Column("object_key", _TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", _TEXT, nullable=False),
        sa.Column("blocks", sa.LargeBinary(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["upload_sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "number", "piece"),
    )


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
