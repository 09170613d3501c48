"""Grants: who may do what in a folder and in all below it (spec §10). They count with the next request, everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from vfs import trace
from vfs.core import Kelp
from vfs.errors import Forbidden, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Entry, Kind, Level
from vfs.operations import by_id, guard
from vfs.people import Grant


@dataclass(frozen=True, slots=True)
class To:
    """To whom: the public id of a user or of a group."""

    uuid: str
    is_group: bool


def require_manage(kelp: Kelp, caller: Caller, folder_uuid: str) -> None:
    """Raises NotFound, InTrash, Forbidden."""
    folder = by_id.find(kelp, caller, folder_uuid, Kind.FOLDER)
    with kelp.database.read() as tx:
        guard.reach(tx, caller, folder.id, Level.MANAGE)


def list_on(kelp: Kelp, caller: Caller, folder_uuid: str) -> list[Grant]:
    """What was granted on this very folder. Raises NotFound, InTrash, Forbidden (for who may not manage it)."""
    folder = by_id.find(kelp, caller, folder_uuid, Kind.FOLDER)
    with kelp.database.read() as tx:
        guard.reach(tx, caller, folder.id, Level.MANAGE)
        return tx.grants.on(folder.id)


def list_all(kelp: Kelp, caller: Caller) -> list[tuple[Grant, str]]:
    """Of the whole drive, each with the folder's path. Raises Forbidden (for who is no admin)."""
    if not caller.administers:
        raise Forbidden("only an admin may see all grants")
    with kelp.database.read() as tx:
        return [(grant, "/" + "/".join(tx.entries.shown_path(grant.folder_id))) for grant in tx.grants.every()]


@retried
def give(kelp: Kelp, caller: Caller, folder_uuid: str, to: To, level: Level) -> Grant:
    """Grant a level, or change the one that was granted. NONE takes away what is inherited.

    Raises NotFound (no such folder, user or group), InTrash, Forbidden.
    """
    folder = by_id.find(kelp, caller, folder_uuid, Kind.FOLDER)
    with kelp.database.write() as tx:
        _hold(tx, caller, folder)
        user_id, group_id, name = _subject(tx, to)
        given = tx.grants.put(folder.id, user_id, group_id, level, kelp.clock.now_ns())
        _log(kelp, tx, caller, folder, f"{level.name.lower()} to {name}")
        grant = tx.grants.by_uuid(given)
    if grant is None:
        raise AssertionError("what was written in this transaction is there")
    return grant


@retried
def take_back(kelp: Kelp, caller: Caller, folder_uuid: str, grant_uuid: str) -> None:
    """What is inherited counts again. Raises NotFound, InTrash, Forbidden."""
    folder = by_id.find(kelp, caller, folder_uuid, Kind.FOLDER)
    with kelp.database.write() as tx:
        _hold(tx, caller, folder)
        grant = tx.grants.by_uuid(grant_uuid)
        if grant is None or grant.folder_id != folder.id:
            raise NotFound("there is no such grant on this folder")
        tx.grants.delete(grant_uuid)
        _log(kelp, tx, caller, folder, f"nothing of its own to {grant.subject}")


def _hold(tx: Tx, caller: Caller, folder: Entry) -> None:
    """Not while the folder is removed, nor while somebody moves what is above it."""
    tx.lock_tree()
    tx.lock_rows([folder.id])
    guard.reach(tx, caller, folder.id, Level.MANAGE)


def _subject(tx: Tx, to: To) -> tuple[int | None, int | None, str]:
    """Ids of the user or of the group, and the name."""
    if to.is_group:
        group = tx.groups.by_uuid(to.uuid)
        if group is None:
            raise NotFound("there is no such group")
        return None, group.id, group.name
    user = tx.accounts.by_uuid(to.uuid)
    if user is None:
        raise NotFound("there is no such user")
    return user[0].id, None, user[0].name


def _log(kelp: Kelp, tx: Tx, caller: Caller, folder: Entry, detail: str) -> None:
    trace_id = caller.trace_id or trace.current()
    tx.entries.log(folder.id, "grant", caller.user_id, caller.face, detail, trace_id, kelp.clock.now_ns())
