"""What the mirror works off and holds, and what an admin must know. Each column explained."""

from __future__ import annotations

import sqlalchemy as sa

from vfs.metadata.schema.base import Id, counted, id_column, metadata, numbered

sync_events = counted(
    "sync_events",
    id_column(),  # never used again: event_numbers.py
    # Written in the user's transaction: the outbox of the mirror. PENDING, PROCESSING, DONE, FAILED, CANCELLED.
    sa.Column("uuid", sa.Text, nullable=False),  # on SQLite it tells the id: event_numbers.py
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("aggregate_type", sa.Text, nullable=False),  # FILE or FOLDER
    sa.Column("aggregate_id", Id, sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("source_path", sa.Text),
    sa.Column("target_path", sa.Text),
    sa.Column("metadata", sa.Text),  # JSON
    sa.Column("retry_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_message", sa.Text),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("scheduled_ns", sa.BigInteger, nullable=False),  # not before
    sa.Column("litter", sa.Boolean, nullable=False, server_default=sa.false()),  # waits mirror.delay (spec §5)
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("processed_ns", sa.BigInteger),
    sa.Index(  # of SQLite: only those whose id it does not tell
        "sync_events_uuid",
        "uuid",
        unique=True,
        sqlite_where=sa.text("substr(uuid, 1, 8) || substr(uuid, 10, 4) <> printf('%012x', id)"),
    ),
    sa.Index("sync_events_entry", "aggregate_id", "status"),
    sa.Index(  # asked by every change: an entry may have many events that wait for the NAS, few of them litter's
        "sync_events_litter",
        "aggregate_id",
        "status",
        sqlite_where=sa.text("litter"),
        postgresql_where=sa.text("litter"),
    ),
    sa.Index(
        "sync_events_due",
        "status",
        "scheduled_ns",
        sqlite_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
        postgresql_where=sa.text("status IN ('PENDING', 'PROCESSING', 'FAILED')"),
    ),
)

mirror_leases = numbered(
    "mirror_leases",
    id_column(),  # the fencing number: grows with each holder, never reused
    sa.Column("entry_id", Id, sa.ForeignKey("entries.id"), nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),  # host:pid:random of the process
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),  # JSON of the steps, so that a successor can settle them
    # The NAS name that the plan gives the entry: nobody else may go there before it is recorded.
    sa.Column("nas_parent_id", Id),
    sa.Column("nas_key", sa.Text),
    sa.Index("mirror_leases_target", "nas_parent_id", "nas_key", unique=True),
)

path_leases = sa.Table(
    "path_leases",
    metadata,
    # Shared on each folder that a running job works below, exclusive on a folder that is moved or removed.
    sa.Column("entry_id", Id, primary_key=True),
    sa.Column("lease_id", Id, sa.ForeignKey("mirror_leases.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("exclusive", sa.Boolean, nullable=False),
    sa.Index("path_leases_lease", "lease_id"),
)

alerts = numbered(
    "alerts",
    id_column(),
    # What an admin must know. At most one is open for a kind and a subject: what happens again is counted there.
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # NAS_DOWN, MIRROR_FAILED, …: see operations/alerts.py
    sa.Column("subject", sa.Text, nullable=False),  # what it is about; "" where the kind says all
    sa.Column("severity", sa.Text, nullable=False),  # info, warning, error
    sa.Column("message", sa.Text, nullable=False),  # the newest
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("opened_ns", sa.BigInteger, nullable=False),
    sa.Column("last_ns", sa.BigInteger, nullable=False),
    sa.Column("closed_ns", sa.BigInteger),  # over; NULL: still so
    sa.Column("untold", sa.Text, nullable=False),  # sinks that were not told yet of its beginning or end
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index(
        "alerts_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=sa.text("closed_ns IS NULL"),
        postgresql_where=sa.text("closed_ns IS NULL"),
    ),
    sa.Index(
        "alerts_untold", "next_ns", sqlite_where=sa.text("untold <> ''"), postgresql_where=sa.text("untold <> ''")
    ),
)
