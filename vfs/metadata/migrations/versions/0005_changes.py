"""The change log, pages of a folder by id, and when a name in a folder changed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "changes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("tx", sa.BigInteger(), nullable=True),
        sa.Column("entry_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    is_numbered = sa.text("tx IS NOT NULL")
    op.create_index(
        "changes_tx", "changes", ["tx"], unique=False, sqlite_where=is_numbered, postgresql_where=is_numbered
    )
    op.add_column("folder_versions", sa.Column("changed_ns", sa.BigInteger(), nullable=True))
    op.drop_index("entries_parent", "entries")
    op.create_index("entries_parent", "entries", ["parent_id", "state", "id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
