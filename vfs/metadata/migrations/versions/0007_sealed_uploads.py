"""Uploads into vaults: what opens a part that has come, and whose objects are that say nothing of each other."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("upload_parts", sa.Column("plain_size", sa.BigInteger(), nullable=True))
    op.add_column("upload_parts", sa.Column("sealed_key", _TEXT, nullable=True))
    op.create_index("ix_upload_parts_object_key", "upload_parts", ["object_key"], unique=False)
    op.create_table(
        "unfinished_objects",
        sa.Column("object_key", _TEXT, nullable=False),
        sa.Column("upload", _TEXT, nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object_key"),
    )
    op.create_index("ix_unfinished_objects_upload", "unfinished_objects", ["upload"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
