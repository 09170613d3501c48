"""Vaults, and for whom their keys are wrapped. Each column explained. No secret is here: docs/vault-format.md."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.metadata.schema.base import Id, id_column, metadata, numbered

recipients = numbered(
    "recipients",
    id_column(),
    # Public keys for which vaults' keys are wrapped.
    sa.Column("key_id", sa.Text, nullable=False, unique=True),  # hex of 16 bytes: SHA-256 of the DER, the beginning
    sa.Column("role", sa.Text, nullable=False),  # server, admin, recovery
    sa.Column("label", sa.Text, nullable=False),  # for people; "" is one too
    sa.Column("public_pem", sa.Text, nullable=False),  # SubjectPublicKeyInfo, RSA
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    # Since when nothing new is wrapped for it; what is wrapped stays until it is removed. NULL: it is active, and a
    # batch wraps for it what is not.
    sa.Column("retired_ns", sa.BigInteger),
)

vaults = numbered(
    "vaults",
    id_column(),  # what the columns vault_id of entries and contents mean; never used again
    sa.Column("uuid", sa.Text, nullable=False, unique=True),  # the vault's id, 16 bytes, in all that is sealed
    sa.Column("entry_id", Id, unique=True),  # its root folder; NULL: not there yet. No reference: that row may go first
    sa.Column("generation", sa.Integer, nullable=False),  # of its key: from 1, one more for each new secret
    # Bumped by every change of who may open it: what processes remember, and vault.json, are out of date by that.
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    # Which version vault.json on the NAS says; 0: there is none. Not `version`: it must be written (again).
    sa.Column("mirrored_version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("user_id", Id),  # who made it
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

manifests = sa.Table(
    "manifests",
    metadata,
    # What the NAS shall say of each entry of a vault, sealed in the transaction that changed it: whoever carries it
    # there needs no key. It is for the root `vault.json`, for all else its manifest.
    sa.Column("subject", sa.Text, primary_key=True),  # entries.id as text, or versions.uuid
    sa.Column("entry_id", Id, nullable=False, index=True),  # the entry that it is of, or that the version is of
    sa.Column("content_id", sa.Text),  # what it describes; NULL: a folder
    # Of what it was made. While that is the same, so is it: who changes something else needs no key. Of vault.json:
    # the version of the vault.
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("list_digest", sa.Text),  # SHA-256 (hex) of the sealed part list, which may be long
    sa.Column("generation", sa.Integer, nullable=False),  # of the vault's key that it is sealed with
    sa.Column("digest", sa.Text, nullable=False),  # its SHA-256, hex
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

vault_recipients = sa.Table(
    "vault_recipients",
    metadata,
    # The key of a vault, one generation of it, wrapped for one recipient.
    sa.Column("vault_id", Id, sa.ForeignKey("vaults.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("recipient_id", Id, sa.ForeignKey("recipients.id"), primary_key=True, index=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("wrapped_key", sa.Text, nullable=False),  # RSA-OAEP, base64url without padding
)
