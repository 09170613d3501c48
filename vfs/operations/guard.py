"""The first lines of every change: the rows it concerns, rights, locks, conditions, space.

Called inside the transaction, after the locks, so that what is checked here is still true at commit
(design §7: checks in a second statement). The same checks run once before a body is read, to refuse early.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from vfs import names
from vfs.core import Kelp
from vfs.errors import (
    AlreadyExists,
    Forbidden,
    InvalidRequest,
    NoSpace,
    NotFound,
    ParentNotFound,
    PreconditionFailed,
)
from vfs.escrow import Ample
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.model import Caller, Condition, Entry, Kind, Level, OnConflict, Place, Role, State
from vfs.operations import nas_state, sealing
from vfs.operations.sealing import Seal
from vfs.storage.object_store import Usage

_REFUSED = {
    Level.READ: "your account may not read here",
    Level.WRITE: "your account may read here, but not change anything",
    Level.MANAGE: "your account may not say who may do what here",
}
_MOST_OF_ROLE = {Role.ADMIN: Level.MANAGE, Role.EDITOR: Level.MANAGE, Role.VIEWER: Level.READ}
_DEFAULT_LEVEL = {Role.ADMIN: Level.MANAGE, Role.EDITOR: Level.WRITE, Role.VIEWER: Level.READ}


@dataclass(frozen=True, slots=True)
class Standing:
    """A place as the transaction sees it. `chain`: ids of the folder and its ancestors, nearest first."""

    chain: tuple[int, ...]
    path: tuple[str, ...]  # of the folder
    name: str
    key: str
    entry: Entry | None
    seal: Seal | None = None  # of the folder, when it is in a vault: then `key` is sealed

    @property
    def folder_id(self) -> int:
        return self.chain[0]

    def path_of(self, name: str | None = None) -> str:
        return "/" + "/".join((*self.path, name or self.name))

    @property
    def taken(self) -> Entry:
        """The entry that has the name; only where that was checked."""
        if self.entry is None:
            raise AssertionError("the name is free")
        return self.entry

    @property
    def is_litter(self) -> bool:
        """Litter itself, or below a folder that is (spec §5)."""
        return is_litter_path((*self.path, self.name))

    @property
    def makes_litter(self) -> bool:
        """What is created here may be thrown away without the trash; `._name` holds real data."""
        return self.is_litter and not names.is_apple_double(self.name)


def is_litter_path(path: Sequence[str]) -> bool:
    return any(names.is_litter(name) for name in path)


def lock(kelp: Kelp, tx: Tx, *places: Place, strong: bool = False, seen: Entry | None = None) -> None:
    """First in every change (design §7): the tree, the folders, and what has the names now.

    `strong` (LOCK): also against those who are about to make something in the entries. `seen`: what the caller has just
    found there; for a folder the whole tree is held from the start.
    """
    if tx.holds_all:
        return
    tx.lock_tree(exclusive=seen is not None and seen.is_folder)
    wanted = [(place.folder_id, sealing.key_in(kelp, tx, place.folder_id, place.name)) for place in places]
    tx.lock_names(wanted, strong)
    tx.foresee(*looks_at(tx, wanted))


def looks_at(tx: Tx, wanted: Sequence[tuple[int, str]]) -> list[Callable[[], object]]:
    """What `stand` and the checks will ask about (folder id, name key), to be foreseen."""
    looks: list[Callable[[], object]] = [tx.any_locks_or_grants]
    for folder_id, key in wanted:
        looks += [
            partial(tx.entries.ancestors, folder_id),
            partial(tx.entries.child, folder_id, key),
            partial(tx.name_memory.recall, folder_id, key),
        ]
    return looks


def stand(kelp: Kelp, tx: Tx, caller: Caller, place: Place, level: Level = Level.WRITE) -> Standing:
    """Look at a place for a change. Raises ParentNotFound, Forbidden (also for a name that something has which the
    caller may not see: it can neither be told of nor give way), InvalidName."""
    here = _stand(kelp, tx, caller, place, level)
    if here.entry is not None and here.entry.is_folder and _is_hidden(tx, caller, here.entry, here.chain):
        raise Forbidden(f"the name {place.name!r} is not free for your account", level)
    return here


def _stand(kelp: Kelp, tx: Tx, caller: Caller, place: Place, level: Level) -> Standing:
    way = tx.entries.way_to_folder(place.folder_id)
    if way is None:
        raise ParentNotFound("the folder does not exist")
    chain, path = way
    _require_in(kelp, tx, caller, chain, place, level)
    key = sealing.key_in(kelp, tx, place.folder_id, place.name)
    entry = tx.entries.child(place.folder_id, key)
    if entry is not None:
        tx.require_locked(entry.id)
    return Standing(chain, path, place.name, key, entry, tx.seals.of(place.folder_id))


def _require_in(kelp: Kelp, tx: Tx, caller: Caller, chain: tuple[int, ...], place: Place, level: Level) -> None:
    """The folder `chain[0]` is there for the caller as far as `level`. When only a folder in it is, by a grant of its
    own, that one can be looked at, and not changed from outside."""
    try:
        require(tx, caller, chain, level, ParentNotFound)
    except ParentNotFound:
        entry = tx.entries.child(place.folder_id, sealing.key_in(kelp, tx, place.folder_id, place.name))
        if entry is None or not entry.is_folder or _is_hidden(tx, caller, entry, chain):
            raise
        if level > Level.READ:
            raise Forbidden("it lies in a folder that your account may not see", level) from None


def _is_hidden(tx: Tx, caller: Caller, folder: Entry, chain: tuple[int, ...]) -> bool:
    """`chain`: of what it is in."""
    return tx.grants.any() and level_of(tx, caller, (folder.id, *chain)) < Level.READ


def stand_on(kelp: Kelp, tx: Tx, caller: Caller, place: Place, level: Level = Level.WRITE) -> tuple[Standing, Entry]:
    """Like `stand`, and the name must exist; to change a folder, what is in it must be the caller's to change too.
    Raises NotFound too."""
    try:
        here = _stand(kelp, tx, caller, place, level)
    except Forbidden:  # what he may not see is absent all the same, for faces that find it before they ask
        here = _stand(kelp, tx, caller, place, Level.READ)
        if here.entry is None or not here.entry.is_folder or not _is_hidden(tx, caller, here.entry, here.chain):
            raise
    if here.entry is None:
        raise NotFound(f"there is no {place.name!r}")
    if here.entry.is_folder:
        require(tx, caller, (here.entry.id, *here.chain), level, NotFound)
        if level >= Level.WRITE:
            require_below(tx, caller, here.entry.id)
    return here, here.entry


def foresee_reach(tx: Tx, entry_id: int) -> None:
    tx.foresee(
        partial(tx.entries.ancestors, entry_id),
        partial(tx.entries.get, entry_id),
        tx.any_locks_or_grants,
    )


def again(tx: Tx, entry_id: int) -> Entry:
    """A row that this transaction wrote, as it is now."""
    entry = tx.entries.get(entry_id)
    if entry is None:
        raise AssertionError("a row written in this transaction is there")
    return entry


class WrittenRow(NamedTuple):
    """A row that the transaction has written. `entry`: as it is now, where that is known without a look."""

    id: int
    entry: Entry | None = None

    def now(self, tx: Tx) -> Entry:
        return again(tx, self.id) if self.entry is None else self.entry


def reach(tx: Tx, caller: Caller, entry_id: int, level: Level) -> tuple[Entry, tuple[int, ...]]:
    """An entry by id with the chain of ids up to the root, itself first. Raises NotFound, Forbidden."""
    ancestors = tx.entries.ancestors(entry_id)
    entry = tx.entries.get(entry_id)
    if entry is None or any(state != State.ACTIVE for _, state, _ in ancestors):
        raise NotFound("it does not exist")
    chain = tuple(id for id, _, _ in ancestors)
    require(tx, caller, chain if entry.is_folder else chain[1:], level, NotFound)
    return entry, chain


def level_of(tx: Tx, caller: Caller, chain: Sequence[int]) -> Level:
    """The caller's right on the folder `chain[0]` (spec §10): the nearest folder with a grant decides."""
    if caller.role == Role.ADMIN or not tx.grants.any():
        return level_from(caller, None)
    granted = tx.grants.levels(chain, caller.user_id)
    return level_from(caller, next((granted[id] for id in chain if id in granted), None))


def level_from(caller: Caller, granted: Level | None) -> Level:
    """The caller's right where the nearest grant that concerns him gives `granted`; None: there is none on the way."""
    if granted is None or caller.role == Role.ADMIN:
        return min(_DEFAULT_LEVEL[caller.role], caller.most)
    return min(granted, _MOST_OF_ROLE[caller.role], caller.most)


def levels_in(tx: Tx, caller: Caller, folder_id: int) -> dict[int, Level]:
    """The caller's right on those folders in a folder that have grants of their own for him."""
    if caller.role == Role.ADMIN or not tx.grants.any():
        return {}
    granted = tx.grants.levels_in(folder_id, caller.user_id)
    return {id: level_from(caller, level) for id, level in granted.items()}


def hidden_in(tx: Tx, caller: Caller, folder_id: int) -> set[int]:
    """Ids of the folders in a folder that the caller may not read, of one that he may."""
    return {id for id, level in levels_in(tx, caller, folder_id).items() if level < Level.READ}


def require(tx: Tx, caller: Caller, chain: Sequence[int], level: Level, absent: type[NotFound] = NotFound) -> None:
    """Raises `absent` where the caller may not even read, Forbidden where he may not do this."""
    actual = level_of(tx, caller, chain)
    if actual < Level.READ:
        raise absent("it does not exist")
    if actual < level:
        raise Forbidden(_REFUSED[level], level)


def require_below(tx: Tx, caller: Caller, folder_id: int) -> None:
    """Everything below a folder that the caller may write may be written by him too: else it can neither be deleted,
    moved, nor replaced, since that would take along what is not his. Raises Forbidden."""
    if caller.role == Role.ADMIN or not tx.grants.any():
        return
    if tx.grants.any_lower_below(folder_id, caller.user_id, Level.WRITE):
        raise Forbidden("something in the folder is not for your account to change", Level.WRITE)


def check_time(*times_ns: int | None) -> None:
    """Raises InvalidRequest for a time of the client that no row can hold (64 bits reach to the year 2262)."""
    if any(time_ns is not None and not -(1 << 63) <= time_ns < 1 << 63 for time_ns in times_ns):
        raise InvalidRequest("a time must lie between the years 1678 and 2262")


def check_condition(tx: Tx, here: Standing, condition: Condition | None, now_ns: int) -> None:
    """Evaluate the request's condition on the locked row. Raises PreconditionFailed."""
    if condition is not None:
        held = table.on_name(tx, here.chain, here.entry.id if here.entry else None, now_ns)
        condition(here.entry, frozenset(lock.token for lock in held))


def claims(
    kelp: Kelp,
    tx: Tx,
    here: Standing,
    on_conflict: OnConflict = OnConflict.ERROR,
    condition: Condition | None = None,
) -> bool:
    """Who promises to make something only where nothing is asks for the name when he has found it free: on a mount
    somebody may have promised the same of a file whose row comes later. Who replaces what is there comes after that.

    False: somebody has, and another name will do (RENAME). Raises AlreadyExists, PreconditionFailed.
    """
    promises = condition is not None or on_conflict in (OnConflict.ERROR, OnConflict.SKIP, OnConflict.RENAME)
    if here.entry is not None or not promises or claims_name(kelp, tx, here.folder_id, here.name):
        return True
    if on_conflict == OnConflict.RENAME:
        return False
    if condition is not None:
        raise PreconditionFailed(f"a {here.name!r} is just being made")
    raise AlreadyExists(f"a {here.name!r} is just being made")


def claims_name(kelp: Kelp, tx: Tx, folder_id: int, name: str) -> bool:
    """As `Tx.claim_name`."""
    return tx.claim_name(folder_id, names.key(name, kelp.settings.drive.case_sensitive))


def confirm_write(tx: Tx, caller: Caller, here: Standing, now_ns: int) -> None:
    """The caller may write to the name: an existing entry, or a new member of the folder. Raises Locked."""
    if here.entry is not None:
        table.confirm(tx, caller, (here.entry.id, *here.chain), now_ns)
    else:
        table.confirm(tx, caller, here.chain, now_ns)


def confirm_removal(tx: Tx, caller: Caller, here: Standing, entry: Entry, now_ns: int) -> None:
    """The caller may take the entry, and all below it, out of its folder. Raises Locked."""
    table.confirm(tx, caller, here.chain, now_ns)
    table.confirm(tx, caller, (entry.id, *here.chain), now_ns)
    if entry.kind == Kind.FOLDER:
        table.confirm_below(tx, caller, entry.id, now_ns)


def require_space(kelp: Kelp, size: int | None, usage: Usage | None = None) -> None:
    """Room for `size` more bytes (None: for any) on the disk of the cache, and on the NAS. Raises NoSpace before a body
    is read. What waits for the NAS in the cache has a limit of its own: `reserving`. `usage` of the cache, when it was
    just asked for.
    """
    size = 1 if size is None else size
    if not size:
        return
    free = (usage or kelp.cache.usage()).free - kelp.settings.cache.reserve
    if size > free:
        raise NoSpace(f"{size} bytes do not fit: {max(free, 0)} are free")
    if kelp.nas_ample.has(size):
        return
    try:
        nas_state.require_room(kelp, size + Ample.BYTES)
    except NoSpace:
        nas_state.require_room(kelp, size)
    else:
        kelp.nas_ample.found()
