"""What the NAS shall say of the entries of vaults, and what it is recorded to say."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "manifests",
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("content_id", _TEXT, nullable=True),
        sa.Column("basis", _TEXT, nullable=False),
        sa.Column("list_digest", _TEXT, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_index("ix_manifests_entry_id", "manifests", ["entry_id"], unique=False)
    op.add_column("entries", sa.Column("nas_manifest", _TEXT, nullable=True))
    op.add_column("versions", sa.Column("nas_manifest", _TEXT, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
