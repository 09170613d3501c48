"""Fewer pages for each change: indexes of the NAS have only what is there, a remembered name is in one tree."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _again("entries_nas_place", "entries", ["nas_parent_id", "nas_key"])
    _again("entries_nas_content", "entries", ["nas_content_id"], before="ix_entries_nas_content_id")
    _again("versions_nas_place", "versions", ["nas_parent_id", "nas_key"])
    if op.get_bind().dialect.name == "sqlite":
        _remember_in_one_tree()


def _again(name: str, table: str, columns: list[str], before: str = "") -> None:
    op.drop_index(before or name, table)
    there = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, table, columns, unique=False, sqlite_where=there, postgresql_where=there)


def _remember_in_one_tree() -> None:
    op.rename_table("name_memory", "name_memory_before")
    op.create_table(
        "name_memory",
        sa.Column("parent_id", _ID, nullable=False),
        sa.Column("name_key", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("shown_mtime", sa.BigInteger(), nullable=False),
        sa.Column("left_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parent_id", "name_key"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO name_memory SELECT * FROM name_memory_before ORDER BY parent_id, name_key")
    op.drop_table("name_memory_before")


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
