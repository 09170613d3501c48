"""Older contents of a file: list, read, restore (spec §6, versions)."""

from __future__ import annotations

from dataclasses import replace

from vfs import links
from vfs.core import Kelp
from vfs.errors import Conflict, NotFound, StoreUnavailable
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Entry, Level, Place, Version
from vfs.operations import busy, changes, contents, guard, linking, unsealing, writing


def list_versions(kelp: Kelp, caller: Caller, entry_id: int) -> list[Version]:
    """Kept versions of a file, newest first. Raises NotFound."""
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry_id, Level.READ)
        return tx.versions.of(entry_id)


def as_it_was(kelp: Kelp, caller: Caller, version_uuid: str, file_uuid: str) -> Entry:
    """The file with the content, size and times of that version of it, to be read. Raises NotFound."""
    with kelp.database.read() as tx:
        version = _of(tx, version_uuid)
        entry, _ = guard.reach(tx, caller, version.entry_id, Level.READ)
    if entry.uuid != file_uuid:
        raise NotFound("the file has no such version")
    return replace(
        entry,
        content_id=version.content_id,
        size=version.size,
        mtime_ns=version.created_ns,
        shown_mtime=version.created_ns // changes.SECOND,
    )


def open_version(kelp: Kelp, caller: Caller, version_uuid: str) -> unsealing.Readable:
    """Raises NotFound, StoreUnavailable, KeyMissing."""
    with kelp.database.read() as tx:
        version = _of(tx, version_uuid)
        guard.reach(tx, caller, version.entry_id, Level.READ)
        content = contents.get(tx, version.content_id)
    return unsealing.reader(kelp, content)


def restore_version(kelp: Kelp, caller: Caller, version_uuid: str, file_uuid: str | None = None) -> Entry:
    """The file shows the older content again; what it showed becomes a version. `file_uuid`: it must be that file's.

    Raises NotFound, Locked, Forbidden, StoreUnavailable, and what `busy.refuse_change` does.
    """
    with kelp.database.read() as tx:
        version = _of(tx, version_uuid)
    return _restore(kelp, caller, version_uuid, file_uuid, _link_type(kelp, version))


def _link_type(kelp: Kelp, version: Version) -> str | None:
    """The media type of an older content that is a symbolic link; None: it is that of its name."""
    is_link = version.size == links.SIZE and linking.target_of(kelp, version.content_id) is not None
    return links.TYPE if is_link else None


@retried
def _restore(kelp: Kelp, caller: Caller, version_uuid: str, file_uuid: str | None, mime_type: str | None) -> Entry:
    with kelp.database.write() as tx:
        tx.lock_tree()
        version = _of(tx, version_uuid)
        tx.lock_rows([version.entry_id])
        if _of(tx, version_uuid).entry_id != version.entry_id:
            raise Conflict("another file has just taken over the document")
        entry, chain = guard.reach(tx, caller, version.entry_id, Level.WRITE)
        if file_uuid not in (None, entry.uuid):
            raise NotFound("the file has no such version")
        busy.refuse_change(tx, caller, entry)
        table.confirm(tx, caller, chain, kelp.clock.now_ns())
        if not tx.contents.in_use(version.content_id):
            raise StoreUnavailable("the content is just being freed", retry_after=1)
        here = guard.stand(kelp, tx, caller, Place(entry.place.folder_id, entry.name))
        content = contents.get(tx, version.content_id)
        return writing.show(kelp, tx, caller, here, entry, content, mime_type=mime_type)


def _of(tx: Tx, version_uuid: str) -> Version:
    version = tx.versions.get(version_uuid) if version_uuid.isprintable() else None
    if version is None:
        raise NotFound("there is no such version")
    return version
