"""Older contents of a file: list, read, restore (spec §6, versions)."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.locks import table
from vfs.metadata.retrying import retried
from vfs.model import Caller, Entry, Level, Place, Version
from vfs.operations import contents, guard, writing


def list_versions(kelp: Kelp, caller: Caller, entry_id: int) -> list[Version]:
    """Kept versions of a file, newest first. Raises NotFound."""
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry_id, Level.READ)
        return tx.versions.of(entry_id)


def open_version(kelp: Kelp, caller: Caller, version_uuid: str) -> contents.Reader:
    """Raises NotFound, StoreUnavailable."""
    with kelp.database.read() as tx:
        version = tx.versions.get(version_uuid)
        if version is None:
            raise NotFound("there is no such version")
        guard.reach(tx, caller, version.entry_id, Level.READ)
        return contents.Reader(kelp, contents.get(tx, version.content_id))


@retried
def restore_version(kelp: Kelp, caller: Caller, version_uuid: str) -> Entry:
    """The file shows the older content again; what it showed becomes a version. Raises NotFound, Locked, Forbidden."""
    with kelp.database.write() as tx:
        tx.lock_tree()
        version = tx.versions.get(version_uuid)
        if version is None:
            raise NotFound("there is no such version")
        tx.lock_rows([version.entry_id])
        entry, chain = guard.reach(tx, caller, version.entry_id, Level.WRITE)
        table.confirm(tx, caller, chain, kelp.clock.now_ns())
        here = guard.stand(kelp, tx, caller, Place(entry.place.folder_id, entry.name))
        return writing.show(kelp, tx, caller, here, entry, contents.get(tx, version.content_id))
