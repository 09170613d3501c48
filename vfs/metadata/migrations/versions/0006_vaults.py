"""Vaults: public keys of recipients, wrapped keys, and what rows of entries and contents say when they are sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _recipients()
    _vaults()
    for table, column in (
        ("entries", sa.Column("vault_id", _ID, nullable=True)),
        ("entries", sa.Column("seal_id", _TEXT, nullable=True)),
        ("contents", sa.Column("vault_id", _ID, nullable=True)),
        ("contents", sa.Column("wrapped_key", _TEXT, nullable=True)),
        ("contents", sa.Column("part_list", sa.LargeBinary(), nullable=True)),
    ):
        op.add_column(table, column)


def _recipients() -> None:
    op.create_table(
        "recipients",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("key_id", _TEXT, nullable=False),
        sa.Column("role", _TEXT, nullable=False),
        sa.Column("label", _TEXT, nullable=False),
        sa.Column("public_pem", _TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("retired_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_id"),
        sqlite_autoincrement=True,
    )


def _vaults() -> None:
    op.create_table(
        "vaults",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("entry_id", _ID, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("mirrored_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("entry_id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "vault_recipients",
        sa.Column("vault_id", _ID, nullable=False),
        sa.Column("recipient_id", _ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wrapped_key", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["recipient_id"], ["recipients.id"]),
        sa.ForeignKeyConstraint(["vault_id"], ["vaults.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vault_id", "recipient_id", "generation"),
    )
    op.create_index("ix_vault_recipients_recipient_id", "vault_recipients", ["recipient_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup instead")
