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
    # 'scrub': JSON, how far it is. 'ip_policies': a new UUID with every change of the policies below.
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
    sa.Column("uuid", sa.Text, nullable=False, server_default=""),
    sa.Index("users_uuid", "uuid", unique=True),
)

groups = numbered(
    "groups",
    id_column(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("uuid", sa.Text, nullable=False, server_default=""),
    sa.Column("name_key", sa.Text, nullable=False, server_default=""),  # case-folded NFC
    sa.Column("created_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("groups_uuid", "uuid", unique=True),
    sa.Index("groups_by_key", "name_key", unique=True),
)

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
)

grants = numbered(
    "grants",
    id_column(),
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE")),  # exactly one of the two is set
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE")),
    sa.Column("level", sa.Integer, nullable=False),  # model.Level
    sa.Column("uuid", sa.Text, nullable=False, server_default=""),
    sa.Column("created_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("grants_uuid", "uuid", unique=True),
    sa.Index("grants_of_user", "folder_id", "user_id", unique=True),
    sa.Index("grants_of_group", "folder_id", "group_id", unique=True),
)

tokens = numbered(
    "tokens",
    id_column(),
    # What programs and devices log in with instead of the account's password.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # bearer (REST), app (a password for Basic)
    sa.Column("name", sa.Text, nullable=False),  # what the user calls the program or device
    sa.Column("secret_hash", sa.Text, nullable=False, unique=True),  # SHA-256, hex: the secret is random
    sa.Column("scopes", sa.Text, nullable=False),  # "read", "read write", "read write admin"
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger),  # NULL: never
    sa.Column("last_used_ns", sa.BigInteger),  # to some minutes
    sa.Column("revoked_ns", sa.BigInteger),
    sa.Index("tokens_of_user", "user_id"),
)

ip_access_policies = numbered(
    "ip_access_policies",
    id_column(),
    # Who may come, by network address, before anybody logs in (spec §10).
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # white: who is in none of them stays out; black: always wins
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

ip_access_rules = numbered(
    "ip_access_rules",
    id_column(),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("policy_id", Id, sa.ForeignKey("ip_access_policies.id", ondelete="CASCADE"), nullable=False),
    sa.Column("cidr", sa.Text, nullable=False),  # 192.0.2.0/24, 2001:db8::/32; an address is a network of one
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Index("ip_access_rules_network", "policy_id", "cidr", unique=True),
)

nas_settings = sa.Table(
    "nas_settings",
    metadata,
    # What an admin set by REST; it wins over the configuration from the next start on, or at once (operations say).
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
)
