"""What the drive shows: entries, their trash, versions, locks, properties and history. Each column explained."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.metadata.schema.base import Id, counted, id_column, metadata, numbered

entries = numbered(
    "entries",
    id_column(),  # never reused; also the FUSE inode; 1 is the root
    sa.Column("uuid", sa.Text, nullable=False, unique=True),  # public id; moves with a name that is saved anew
    sa.Column("parent_id", Id, sa.ForeignKey("entries.id")),  # NULL only for the root
    sa.Column("name", sa.Text, nullable=False),  # as its creator sent it
    sa.Column("name_key", sa.Text, nullable=False),  # names.key(name)
    sa.Column("kind", sa.Text, nullable=False),  # folder, file, symlink
    # Its own state; it is reachable only when every ancestor is ACTIVE too.
    sa.Column("state", sa.Text, nullable=False),
    # Of a DELETED one: when what was below it and its versions had followed; NULL: they are still to follow.
    sa.Column("deleted_ns", sa.BigInteger),
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), index=True),
    sa.Column("content_user_id", Id),  # who wrote the content, and when: decides whether a version is kept
    sa.Column("content_ns", sa.BigInteger),
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("mime_type", sa.Text, nullable=False, server_default=""),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),  # true time; FUSE and NAS get this one
    sa.Column("shown_mtime", sa.BigInteger, nullable=False),  # seconds, what HTTP shows (clients.md R8)
    sa.Column("created_ns", sa.BigInteger, nullable=False),  # shown creation date; clients may set it
    sa.Column("registered_ns", sa.BigInteger, nullable=False),  # when the row was made
    sa.Column("born_litter", sa.Boolean, nullable=False, server_default=sa.false()),
    # The entry that took over this row's document (an editor's safe save): its old content is a version there.
    sa.Column("succeeded_by", Id),
    sa.Column("owner_id", Id),
    sa.Column("mode", sa.Integer),  # POSIX; NULL: the default
    sa.Column("uid", Id),
    sa.Column("gid", Id),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),  # bumped by every change
    # What the NAS shall have. The place is (parent_id, nas_desired_name); in the trash see trash_metadata.
    sa.Column("nas_stamp", sa.Text),  # YYYYMMDDHHMMSS, files only; fixed in the user's transaction
    sa.Column("nas_desired_name", sa.Text, nullable=False),
    sa.Column("nas_desired_key", sa.Text, nullable=False),
    # What the NAS is recorded to have. nas_name NULL: nothing. It is relative to the place recorded for
    # nas_parent_id, so a folder that moves on the NAS carries all below it without touching their rows.
    sa.Column("nas_parent_id", Id, index=False),
    sa.Column("nas_name", sa.Text),
    sa.Column("nas_key", sa.Text),
    sa.Column("nas_content_id", sa.Text),
    sa.Column("nas_size", sa.BigInteger),
    sa.Column("nas_mtime_ns", sa.BigInteger),
    sa.Column("nas_inode", sa.BigInteger),
    sa.Column("nas_noted", sa.Text),  # what `.kelp/names/{id}` says, where the NAS name cannot tell the full name
    sa.Column("nas_manifest", sa.Text),  # in a vault: SHA-256 (hex) of the manifest that it has there
    sa.Column("nas_verified_ns", sa.BigInteger),  # when the scrub last read its file there and found it right
    sa.Column("nas_status", sa.Text, nullable=False),  # SYNCING, AVAILABLE, ERROR
    sa.Column("active_sync_event_id", Id),  # the newest event that is not DONE
    # Where it is sealed: the row of `vaults`, whose root folder has it too. NULL: it is plain. Name, key and texts are
    # then sealed (docs/vault-format.md), bound to `seal_id`: 16 random bytes in 26 characters of base32, never changed.
    sa.Column("vault_id", Id),
    sa.Column("seal_id", sa.Text),
    sa.Index(
        "entries_name",
        "parent_id",
        "name_key",
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    ),
    sa.Index(  # folders come first in pages; else the files between two of them were gone through
        "entries_folders",
        "parent_id",
        "name_key",
        sqlite_where=sa.text("state = 'ACTIVE' AND kind = 'folder'"),
        postgresql_where=sa.text("state = 'ACTIVE' AND kind = 'folder'"),
    ),
    sa.Index(
        "entries_nas_desired",
        "parent_id",
        "nas_desired_key",
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    ),
    sa.Index(
        "entries_deleted",
        "deleted_ns",
        "id",
        sqlite_where=sa.text("state = 'DELETED'"),
        postgresql_where=sa.text("state = 'DELETED'"),
    ),
    sa.Index("entries_parent", "parent_id", "state", "id"),
    # What is not on the NAS is in neither of these: a new file touches two pages less.
    sa.Index(
        "entries_nas_place",
        "nas_parent_id",
        "nas_key",
        sqlite_where=sa.text("nas_parent_id IS NOT NULL"),
        postgresql_where=sa.text("nas_parent_id IS NOT NULL"),
    ),
    sa.Index(
        "entries_nas_content",
        "nas_content_id",
        sqlite_where=sa.text("nas_content_id IS NOT NULL"),
        postgresql_where=sa.text("nas_content_id IS NOT NULL"),
    ),
)

folder_versions = sa.Table(
    "folder_versions",
    metadata,
    # Changes with every change of what a folder lists. A table of its own, locked last (design §7).
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    # When a name in it came, went or changed last: the folder's time for a file system. NULL: never since its own time,
    # entries.mtime_ns, was set.
    sa.Column("changed_ns", sa.BigInteger),
)

trash_metadata = sa.Table(
    "trash_metadata",
    metadata,
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("original_path", sa.Text, nullable=False),
    sa.Column("trashed_ns", sa.BigInteger, nullable=False),  # its stamp names the folder in .trash on the NAS
    sa.Column("expires_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("user_id", Id),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # kept, expired (to leave the NAS), purged
    sa.Column("created_ns", sa.BigInteger, nullable=False),  # when this content was written
    sa.Column("replaced_ns", sa.BigInteger, nullable=False),
    sa.Column("user_id", Id),
    # Where every registration stays a file in the tree (keep-dated): the stamp and the name of this one's file, which
    # is wherever the entry's is. NULL: it is kept below .kelp.
    sa.Column("stamp", sa.Text),
    sa.Column("nas_desired_name", sa.Text),
    sa.Column("nas_desired_key", sa.Text),
    # Where the NAS is recorded to have it, as for entries: `nas_path` is relative to the place of `nas_parent_id`.
    sa.Column("nas_parent_id", Id),
    sa.Column("nas_path", sa.Text),
    sa.Column("nas_key", sa.Text),
    sa.Column("nas_size", sa.BigInteger),  # as seen when written or moved there, as for entries
    sa.Column("nas_mtime_ns", sa.BigInteger),
    sa.Column("nas_inode", sa.BigInteger),
    sa.Column("nas_manifest", sa.Text),
    sa.Column("nas_verified_ns", sa.BigInteger),
    sa.Index("versions_entry", "entry_id", "created_ns"),
    sa.Index(
        "versions_nas_place",
        "nas_parent_id",
        "nas_key",
        sqlite_where=sa.text("nas_parent_id IS NOT NULL"),
        postgresql_where=sa.text("nas_parent_id IS NOT NULL"),
    ),
    sa.Index(
        "versions_unsettled",
        "state",
        "stamp",
        "replaced_ns",
        sqlite_where=sa.text("state IN ('kept', 'expired')"),
        postgresql_where=sa.text("state IN ('kept', 'expired')"),
    ),
    sa.Index(
        "versions_nas_desired",
        "nas_desired_key",
        sqlite_where=sa.text("nas_desired_key IS NOT NULL"),
        postgresql_where=sa.text("nas_desired_key IS NOT NULL"),
    ),
    sa.Index(
        "versions_unmirrored",
        "content_id",
        sqlite_where=sa.text("nas_path IS NULL AND state = 'kept'"),
        postgresql_where=sa.text("nas_path IS NULL AND state = 'kept'"),
    ),
)

name_memory = sa.Table(
    "name_memory",
    metadata,
    # Who had a name last, and which time it showed: for R8 and for an editor's safe save (spec §6, versions).
    sa.Column("parent_id", Id, primary_key=True),
    sa.Column("name_key", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, nullable=False),  # 0: nobody who could claim it
    sa.Column("shown_mtime", sa.BigInteger, nullable=False),
    sa.Column("left_ns", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,  # one page less in each commit
)

dav_locks = sa.Table(
    "dav_locks",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False, index=True),
    sa.Column("infinite", sa.Boolean, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # as the client sent it
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("timeout", sa.Integer, nullable=False),  # seconds granted
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

dav_properties = sa.Table(
    "dav_properties",
    metadata,
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),  # Clark notation: {namespace}local
    sa.Column("value", sa.Text, nullable=False),  # the whole element as XML
)

file_events = counted(
    "file_events",
    id_column(),
    # History: who did what when.
    sa.Column("entry_id", Id, nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),  # create, write, rename, move, copy, trash, restore, purge, …
    sa.Column("user_id", Id),
    sa.Column("face", sa.Text, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    # SQLite: mounted file systems hear by this line that the entry changed, so `changes` has none of it (`change_log`).
    sa.Column("tells", sa.Boolean, nullable=False, server_default=sa.false()),
)

changes = counted(
    "changes",
    id_column(),
    # What changed lately, for mounted file systems; the oldest rows go, never the last (`change_log`).
    sa.Column("tx", sa.BigInteger),  # PostgreSQL: the number of the transaction, full width
    sa.Column("entry_id", Id, nullable=False),  # 0: everything, as after a change of rights
    sa.Index(
        "changes_tx",
        "tx",
        sqlite_where=sa.text("tx IS NOT NULL"),
        postgresql_where=sa.text("tx IS NOT NULL"),
    ),
)
