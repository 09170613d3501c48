"""Both digests of a content, the name that a lease heads for, versions of listings, an index of waiting litter."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.execute("ALTER TABLE contents RENAME COLUMN sha1 TO digests")
    op.execute("UPDATE contents SET digests = 'SHA1:' || digests WHERE digests IS NOT NULL")
    op.add_column("mirror_leases", sa.Column("nas_parent_id", _ID, nullable=True))
    op.add_column("mirror_leases", sa.Column("nas_key", _TEXT, nullable=True))
    op.create_index("mirror_leases_target", "mirror_leases", ["nas_parent_id", "nas_key"], unique=True)
    op.create_index(
        "sync_events_litter",
        "sync_events",
        ["aggregate_id", "status"],
        unique=False,
        sqlite_where=sa.text("litter"),
        postgresql_where=sa.text("litter"),
    )
    op.create_table(
        "folder_versions",
        sa.Column("folder_id", _ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["folder_id"], ["entries.id"]),
        sa.PrimaryKeyConstraint("folder_id"),
    )


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
