"""The installation itself, people and what they may do. Each column explained."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.metadata.schema.base import Id, id_column, metadata, numbered

installation = sa.Table(
    "installation",
    metadata,
    # 'id': what the NAS marker must name. 'nas': JSON of nas_state.NasState: is it up, and who does not reach it;
    # 'nas_capacity', 'nas_health' (JSON), 'nas_properties': as last seen. 'loading', 'taking': JSON, a load, or the
    # adoption of a tree, that has not finished: nothing else opens the drive.
    # 'duty:…': whose turn a batch is, and until when. 'queue_away_ns', 'orphans_sought_ns': since when.
    # 'scrub': JSON, how far it is.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

users = numbered(
    "users",
    id_column(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False, unique=True),  # case-folded NFC
    sa.Column("password_hash", sa.Text, nullable=False),  # argon2id
    sa.Column("role", sa.Text, nullable=False),  # admin, editor, viewer
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

groups = numbered("groups", id_column(), sa.Column("name", sa.Text, nullable=False, unique=True))

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
)

grants = numbered(
    "grants",
    id_column(),
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), nullable=False, index=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE")),  # exactly one of the two is set
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE")),
    sa.Column("level", sa.Integer, nullable=False),  # model.Level
)
