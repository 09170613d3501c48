"""Contents, their objects in the cache, who reads and who brings in what. Each column explained."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.metadata.schema.base import Id, id_column, metadata, numbered

contents = sa.Table(
    "contents",
    metadata,
    # Immutable. The id is also the key of its object when it has only one part.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),  # BLAKE3, hex
    sa.Column("digests", sa.Text),  # "SHA1:… MD5:…" (hex), where the client announced one of them
    sa.Column("parts", sa.Integer, nullable=False),  # 1: the object named as the content; else rows in file_parts
    sa.Column("freeing_ns", sa.BigInteger),  # since when it is being freed (design §3); NULL: in use
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    # Of a sealed one (docs/vault-format.md); size and checksum are then those of its sealed bytes.
    sa.Column("vault_id", Id),  # the row of `vaults`; NULL: it is plain
    sa.Column("wrapped_key", sa.Text),  # its key under the vault's, base64url without padding
    sa.Column("part_list", sa.LargeBinary),  # ids, keys and plain lengths of its parts in order, sealed under its key
    sa.Index(
        "contents_freeing",
        "freeing_ns",
        sqlite_where=sa.text("freeing_ns IS NOT NULL"),
        postgresql_where=sa.text("freeing_ns IS NOT NULL"),
    ),
    sa.Index(  # adopted files that nobody has read yet, and what came in parts and is not on the NAS yet
        "contents_unlearned",
        "id",
        sqlite_where=sa.text("checksum = ''"),
        postgresql_where=sa.text("checksum = ''"),
    ),
    sqlite_with_rowid=False,  # one page less in each commit
)

objects = sa.Table(
    "objects",
    metadata,
    # What the cache holds, or shall hold. Status: AVAILABLE; EVICTING (readers go to the NAS); MISSING (not there:
    # evicted, or lost); SYNCING (being restored from the NAS); PENDING (to be deleted); ERROR (bad here, and there).
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),  # BLAKE3, hex; "": not known yet (an adopted file)
    # XXH3 of each block of 64 KiB, 8 bytes each, so that any range can be verified; NULL: the checksum alone tells
    # (one block), or nobody has looked yet.
    sa.Column("blocks", sa.LargeBinary),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_ns", sa.BigInteger),  # since when it is EVICTING, SYNCING, PENDING or ERROR
    sa.Column("cached_ns", sa.BigInteger, nullable=False, server_default="0"),  # when it last came into the cache
    sa.Column("last_accessed_ns", sa.BigInteger),  # written in batches, as is the count
    sa.Column("access_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("verified_ns", sa.BigInteger),  # when the scrub last read it whole and found it right
    sa.Index(
        "objects_unsettled",
        "status",
        "status_ns",
        sqlite_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
        postgresql_where=sa.text("status IN ('PENDING', 'EVICTING', 'SYNCING', 'ERROR')"),
    ),
    sqlite_with_rowid=False,  # one page less in each commit
)

file_parts = sa.Table(
    "file_parts",
    metadata,
    # The ordered parts of a content that has more than one (the seeds' fileOrderMapping).
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("object_key", sa.Text, sa.ForeignKey("objects.key"), nullable=False, index=True),
)

reader_leases = sa.Table(
    "reader_leases",
    metadata,
    # Who reads a content just now: published in batches, so a short read never shows. What is leased is neither evicted
    # nor freed. No reference to `contents`: a reader may hold what is freed meanwhile.
    sa.Column("content_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),  # host:pid:random of the process
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

byte_grants = sa.Table(
    "byte_grants",
    metadata,
    # Bytes that a process may still bring in, or has not committed yet: with what waits for the NAS they stay below
    # cache.hard_limit, however many processes there are (operations/reserving.py). Two rows are nobody's: 'granted' is
    # all that was ever granted; 'base', with it, is never less than what waits and the grants that hold.
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

cache_pins = sa.Table(
    "cache_pins",
    metadata,
    # Files and folders whose contents stay in the cache.
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("user_id", Id),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

upload_sessions = numbered(
    "upload_sessions",
    id_column(),
    # Multipart uploads. Their objects are named by `content_id`, so no orphan batch takes them; those of one into a
    # vault have names of their own, and rows in upload_parts.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("content_id", sa.Text, nullable=False, unique=True),
    sa.Column("folder_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger),  # as announced
    sa.Column("mime_type", sa.Text, nullable=False),
    sa.Column("on_conflict", sa.Text, nullable=False),
    sa.Column("user_id", Id),
    sa.Column("status", sa.Text, nullable=False),  # INIT, UPLOADING, COMPLETED, ABORTED, EXPIRED
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
    sa.Column("reminded_ns", sa.BigInteger),
    sa.Column("cleaned_ns", sa.BigInteger),  # when the parts of an EXPIRED or ABORTED one went; NULL: still to go
    sa.Column("entry_id", Id),  # what it became
    sa.Column("protocol", sa.Text, nullable=False, server_default="parts"),  # parts: numbered ones; tus: in order
    sa.Column("part_size", sa.BigInteger, nullable=False, server_default=str(8 * 1024 * 1024)),
    sa.Column("metadata", sa.Text),  # tus: Upload-Metadata as the client sent it
    sa.Index("upload_sessions_due", "status", "expires_ns"),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("upload_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # of the client's, from 1
    sa.Column("piece", sa.Integer, primary_key=True, server_default="0"),  # objects of one part, from 0
    sa.Column("object_key", sa.Text, nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.Text, nullable=False),
    sa.Column("blocks", sa.LargeBinary),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    # Of one for a vault, whose size and checksum are those of its sealed bytes, as of every object.
    sa.Column("plain_size", sa.BigInteger),
    sa.Column("sealed_key", sa.Text),  # what opens it, sealed under the vault's key
)

unfinished_objects = sa.Table(
    "unfinished_objects",
    metadata,
    # Of uploads into vaults that have been under way for long: the keys of sealed objects do not say what they belong
    # to, and the orphan batch shall know that somebody needs them.
    sa.Column("object_key", sa.Text, primary_key=True),
    sa.Column("upload", sa.Text, nullable=False, index=True),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)
