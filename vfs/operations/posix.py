"""What a mounted file system asks for: one entry by name or by inode, a folder piece by piece, attributes, free space.

What the caller may not read is not there. But a folder that he may not read, with one below it that he may, is found by
its name, with level NONE and nothing else told of it: other faces know paths, which lead through it. Looks take no lock
and are one statement each, such a folder's two.
"""

from __future__ import annotations

from collections.abc import Callable

from vfs import names
from vfs.core import Kelp
from vfs.errors import InvalidRequest, NotFound
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.metadata.node_memory import Seen
from vfs.metadata.posix import Node, Posix
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Caller, Level, Role
from vfs.operations import guard, properties

__all__ = ["Node", "child", "node", "pages", "set_attributes"]

_MODES = 0o7777
_USERS = 0xFFFF_FFFE  # the last number stands for nobody in chown(2)


def child(
    kelp: Kelp, caller: Caller, folder_id: int, name: str, *, ahead: Callable[[int], int] = lambda folder_id: 0
) -> Node | None:
    """What has that name in a folder; None when nothing has, or the caller may not see it.

    `ahead`: asked, with the folder, where a look is cheap and has to be taken; so many files that were made after it
    are remembered for the next calls: who looks at all of a folder asks for each, most likely in this order. Raises
    InvalidName (NameTooLong) for a name that no entry can have, StoreUnavailable.
    """
    names.check_segment(name)
    minds_case, rights = kelp.settings.drive.case_sensitive, caller.rights
    key = names.key(name, minds_case)  # as it is remembered; in a vault it is looked for by another

    def look(tx: Tx) -> Seen:
        seal, posix = tx.seals.of(folder_id), Posix(tx)
        there = posix.child(folder_id, tx.seals.key(seal, key), _whose(caller))
        if not kelp.database.is_near:
            return Seen(_seen(tx, caller, there))
        if there is None:  # in a vault nobody knows the order of its keys
            return Seen(None, free_until=posix.next_key(folder_id, key) if seal is None else None)
        found = _seen(tx, caller, there)
        if found is None or found.is_folder or not (count := ahead(folder_id)):
            return Seen(found)
        beside = posix.page(folder_id, found.id, count, found.level)
        # A folder may have grants of its own; files of one folder have the same.
        return Seen(found, [(names.key(node.name, minds_case), node) for node in beside if not node.is_folder])

    return kelp.database.nodes.by_name(rights, folder_id, key, lambda: kelp.database.look(look))


def node(kelp: Kelp, caller: Caller, entry_id: int) -> Node:
    """An entry by its inode. Raises NotFound (also for what is in the trash, or below something that is),
    StoreUnavailable."""

    def look(tx: Tx) -> Node | None:
        return _seen(tx, caller, Posix(tx).by_id(entry_id, _whose(caller)))

    rights = caller.rights
    key = "posix node", rights, entry_id  # which whoever opens files one after the other has looked at ahead
    found = kelp.database.nodes.by_id(rights, entry_id, lambda: kelp.database.fresh(key, look))
    if found is None:
        raise NotFound("it does not exist")
    return found


def pages(kelp: Kelp, caller: Caller, folder_id: int, after: int, limit: int) -> list[Node]:
    """At most `limit` entries of a folder, by id, from the one after the id `after` (0: from the beginning); what the
    caller may not read left out. An empty list is the end.

    The id of the last one is where the next page begins, whatever came, went or was renamed meanwhile: what is there
    all the time comes once. Raises NotFound, StoreUnavailable.
    """
    with kelp.database.read() as tx:
        guard.foresee_reach(tx, folder_id)
        chain = (ROOT_ID,) if folder_id == ROOT_ID else guard.reach(tx, caller, folder_id, Level.READ)[1]
        level = guard.level_of(tx, caller, chain)
        granted = guard.levels_in(tx, caller, folder_id)
        while True:
            found = Posix(tx).page(folder_id, after, limit)
            shown = [each._replace(level=granted.get(each.id, level)) for each in found]
            shown = [each for each in shown if each.level >= Level.READ]
            if shown or len(found) < limit:
                return shown
            after = found[-1].id  # a whole page that the caller may not see


@retried
def set_attributes(
    kelp: Kelp,
    caller: Caller,
    entry_id: int,
    *,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
    mtime_ns: int | None = None,
) -> Node:
    """Change what is not None, all or nothing; what it is then. `mode`: permission bits with set-uid, set-gid, sticky.

    The bytes, and so the ETag, stay; a file on the NAS gets the time too. Raises NotFound, Forbidden, Locked,
    InvalidRequest (a value that no attribute has), StoreUnavailable.
    """
    guard.check_time(mtime_ns)
    wanted: dict[str, object] = {}
    for name, value, most in (("mode", mode, _MODES), ("uid", uid, _USERS), ("gid", gid, _USERS)):
        if value is not None:
            if not 0 <= value <= most:
                raise InvalidRequest(f"no entry can have the {name} {value}")
            wanted[name] = value
    with kelp.database.write() as tx:
        tx.lock_tree()
        tx.lock_rows([entry_id])
        guard.foresee_reach(tx, entry_id)
        now = kelp.clock.now_ns()
        entry, chain = guard.reach(tx, caller, entry_id, Level.WRITE)
        table.confirm(tx, caller, chain, now)
        tx.leaves_folders = True
        properties.put_columns(kelp, tx, caller, entry, wanted, mtime_ns, now)
        shown = tx.last(lambda: _seen(tx, caller, Posix(tx).by_id(entry_id, _whose(caller))))
    if shown.value is None:
        raise NotFound("it does not exist")
    return shown.value


def _whose(caller: Caller) -> int | None:
    """Whose grants count; None: nobody's, since an admin may do everything."""
    return None if caller.role == Role.ADMIN else caller.user_id


def _seen(tx: Tx, caller: Caller, found: tuple[Node, int | None] | None) -> Node | None:
    if found is None:
        return None
    node, granted = found
    level = guard.level_from(caller, None if granted is None else Level(granted))
    if level >= Level.READ or node.is_root:
        return node._replace(level=level)
    if node.is_folder and tx.grants.any_as_high_below(node.id, caller.user_id, Level.READ):
        return node._replace(level=level, mtime_ns=0, created_ns=0, mode=None, uid=None, gid=None)
    return None
