"""Dead properties and the times that clients may set (clients.md R18). Not a content change: the ETag stays."""

from __future__ import annotations

from collections.abc import Sequence

from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Condition, Entry, EventType, Kind, Level
from vfs.operations import changes, guard, sealing

MAX_BYTES = 1024 * 1024  # of all dead properties of one entry


@retried
def patch(
    kelp: Kelp,
    caller: Caller,
    entry_id: int,
    changed: Sequence[tuple[str, str | None]],
    *,
    mtime_ns: int | None = None,
    created_ns: int | None = None,
    condition: Condition | None = None,
) -> Entry:
    """Set (whole XML element) or remove (None) dead properties, and set times: all or nothing.

    Raises NotFound, Forbidden, Locked, PreconditionFailed, InvalidRequest (too much, a time out of range).
    """
    guard.check_time(mtime_ns, created_ns)
    with kelp.database.write() as tx:
        tx.lock_tree()
        tx.lock_rows([entry_id])
        guard.foresee_reach(tx, entry_id)
        now = kelp.clock.now_ns()
        entry, chain = guard.reach(tx, caller, entry_id, Level.WRITE)
        if condition is not None:
            condition(entry, frozenset(lock.token for lock in table.covering(tx, chain, now)))
        table.confirm(tx, caller, chain, now)
        for name, value in changed:
            if value is None:
                tx.properties.remove(entry_id, name)
            else:
                tx.properties.put(entry_id, name, value)
        if tx.properties.total_bytes(entry_id) > MAX_BYTES:
            raise InvalidRequest("the properties of one entry may have 1 MiB together")
        times: dict[str, object] = {} if created_ns is None else {"created_ns": created_ns}
        put_columns(kelp, tx, caller, entry, times, mtime_ns, now)
        return guard.reach(tx, caller, entry_id, Level.READ)[0]


def put_columns(
    kelp: Kelp, tx: Tx, caller: Caller, entry: Entry, columns: dict[str, object], mtime_ns: int | None, now_ns: int
) -> None:
    """Change columns of an entry that the transaction has locked, and its time: that one the NAS gets too."""
    if mtime_ns is None:
        tx.entries.update(entry.id, **columns)
        return
    shown = mtime_ns // changes.SECOND
    if entry.parent_id is not None and shown < entry.shown_mtime:
        key = sealing.key_in(kelp, tx, entry.parent_id, entry.name)
        changes.remember_shown(tx, entry.parent_id, key, entry.shown_mtime, now_ns)
    tx.entries.update(entry.id, mtime_ns=mtime_ns, shown_mtime=shown, **columns)
    if entry.is_folder:
        tx.dated_folders.add(entry.id)
    in_manifest = entry.vault_id is not None and not entry.is_vault  # a folder's time too, which no plain NAS is told
    if in_manifest or (entry.kind == Kind.FILE and entry.content_id is not None):
        path = tx.entries.path(entry.id)
        changes.announce(
            kelp, tx, caller, entry.id, entry.kind, EventType.SYNC, now_ns,
            target="/" + "/".join(path), litter=guard.is_litter_path(path), what="touch",
        )  # fmt: skip
