"""Fewer pages for each change on SQLite: a uuid that tells its event's number is in no index, and tables that every
change makes rows in go on after the last one that is there."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.Integer()
_OPEN = sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')")
_UNTOLD = sa.text("substr(uuid, 1, 8) || substr(uuid, 10, 4) <> printf('%012x', id)")


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("sync_events_uuid_key", "sync_events")
        op.create_index("sync_events_uuid", "sync_events", ["uuid"], unique=True)
        op.add_column("file_events", _tells())
        return
    last = op.get_bind().exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'sync_events'").scalar()
    _again("sync_events", _events())
    op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('sync_events', {int(last or 0)})")
    op.create_index("sync_events_uuid", "sync_events", ["uuid"], unique=True, sqlite_where=_UNTOLD)
    op.create_index("sync_events_entry", "sync_events", ["aggregate_id", "status"])
    op.create_index("sync_events_litter", "sync_events", ["aggregate_id", "status"], sqlite_where=sa.text("litter"))
    op.create_index("sync_events_due", "sync_events", ["status", "scheduled_ns"], sqlite_where=_OPEN)
    _again("file_events", _history(), ", FALSE")
    op.create_index("ix_file_events_entry_id", "file_events", ["entry_id"])
    _again("changes", [sa.Column("tx", sa.BigInteger()), sa.Column("entry_id", _ID, nullable=False)])
    op.create_index("changes_tx", "changes", ["tx"], sqlite_where=sa.text("tx IS NOT NULL"))


def _again(table: str, columns: list[sa.schema.SchemaItem], more: str = "") -> None:
    """The same rows, with the same ids, in a table without AUTOINCREMENT. `more`: columns that are new."""
    op.create_table(f"{table}_anew", sa.Column("id", _ID, primary_key=True), *columns)
    op.execute(f"INSERT INTO {table}_anew SELECT *{more} FROM {table} ORDER BY id")
    op.drop_table(table)
    op.rename_table(f"{table}_anew", table)


def _events() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("aggregate_type", sa.Text(), nullable=False),
        sa.Column("aggregate_id", _ID, nullable=False),
        sa.Column("source_path", sa.Text()),
        sa.Column("target_path", sa.Text()),
        sa.Column("metadata", sa.Text()),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_message", sa.Text()),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("scheduled_ns", sa.BigInteger(), nullable=False),
        sa.Column("litter", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("processed_ns", sa.BigInteger()),
        sa.ForeignKeyConstraint(["aggregate_id"], ["entries.id"]),
    ]


def _history() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("face", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        _tells(),
    ]


def _tells() -> sa.Column[bool]:
    return sa.Column("tells", sa.Boolean(), server_default=sa.false(), nullable=False)


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
