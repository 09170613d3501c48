"""Files that are changed in places, over a while: open one, make one; what a draft is, until it is committed
(`committing`). The bytes that were written are kept by the face, on a disk of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, StoreUnavailable, WrongKind
from vfs.holds import Hold
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.metadata.name_claims import Claim
from vfs.metadata.posix import Node, Posix
from vfs.metadata.retrying import retried
from vfs.model import Caller, Content, Entry, Kind, Level, Place, State, StoreStatus
from vfs.operations import changes, guard, writing
from vfs.operations.storing_ahead import Ahead
from vfs.operations.writing import Birth

NOTHING = Content("", 0, "", None, ())  # what a draft is made of that has all its bytes


class Source(Protocol):
    """The bytes of a draft. `limit`: from there on nothing of the content that it began with shows."""

    @property
    def size(self) -> int: ...

    @property
    def limit(self) -> int: ...

    def is_written(self, start: int, stop: int) -> bool:
        """Any of these bytes was written."""

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """These bytes, in pieces of at most PIECE_SIZE; those that nobody wrote are as in the content, or zero."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file as it was when it was opened. Its content is neither freed nor evicted while `hold` is held."""

    entry: Entry
    content: Content
    hold: Hold


@dataclass(frozen=True, slots=True)
class Expected:
    """A file that is not there yet: what its row will be, as far as nobody comes before. `claim` on its name, of one
    that nobody else may make: to be given back when the row is there, or will never be."""

    opened: Opened
    birth: Birth
    claim: Claim


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be committed. `place`: where the file was seen last, a hint. `base`: the content that it is made of;
    `own`: ids of contents that it may have become already, at commits whose outcome was not told; added to. `told`:
    the client said what its time shall be. `birth`: the file has no row yet. `posix`: mode, uid, gid to come along.
    `ahead`: of its bytes, what is stored already."""

    entry_id: int
    place: Place
    base: Content
    source: Source
    mtime_ns: int
    told: bool = False
    own: set[str] = field(default_factory=set)
    birth: Birth | None = None
    posix: Mapping[str, object] = field(default_factory=dict)
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What the file, or the copy beside it, shows from now on."""

    entry: Entry
    content: Content


# --- open, create ---


def open_file(kelp: Kelp, caller: Caller, entry_id: int, *, write: bool) -> Opened:
    """Raises NotFound, WrongKind (a folder), StoreUnavailable; to be written to, also Forbidden, Locked."""
    seen = kelp.database.recall(_key(caller, entry_id), lambda tx: _look(tx, caller, entry_id))
    entry = seen.entry
    if write:
        with kelp.database.read() as tx:
            entry = _require_writable(kelp, tx, caller, entry, any_locks=seen.any_locks)
    return _opened(kelp, entry, seen.content)


class _Seen(NamedTuple):
    """What opening looks at. `content` where it was found along with the rest."""

    entry: Entry
    any_locks: bool
    content: Content | None = None


def _key(caller: Caller, entry_id: int) -> tuple[Hashable, ...]:
    return ("draft", caller.rights, entry_id)


def _look(tx: Tx, caller: Caller, entry_id: int) -> _Seen:
    entry, _ = guard.reach(tx, caller, entry_id, Level.READ)
    return _Seen(entry, tx.locks.any())


def foresee(kelp: Kelp, caller: Caller, folder_id: int, entry_id: int, ahead: Callable[[], int]) -> None:
    """Look at a file of a folder before it is opened, for a database that is near. `ahead`: asked when it has to be
    looked up; so many files that were made after it are looked at and remembered too, for who opens one after the
    other. Raises NotFound, StoreUnavailable.
    """

    def look(tx: Tx, more: list[tuple[Hashable, _Seen | Node]]) -> _Seen | Node:
        own = _look(tx, caller, entry_id)
        if not (count := ahead()):
            return own
        _, chain = guard.reach(tx, caller, folder_id, Level.READ)
        level, rights = guard.level_of(tx, caller, chain), caller.rights
        for node, entry, content in Posix(tx).files(folder_id, entry_id, count + 1, level):
            seen = _Seen(entry, own.any_locks, content)
            more += ((("posix node", rights, node.id), node), (_key(caller, node.id), seen))
        return own

    kelp.database.ahead(_key(caller, entry_id), look)


def _require_writable(kelp: Kelp, tx: Tx, caller: Caller, entry: Entry, *, any_locks: bool) -> Entry:
    entry, chain = guard.reach(tx, caller, entry.id, Level.WRITE)
    if any_locks:
        table.confirm(tx, caller, chain, kelp.clock.now_ns())
    return entry


def _opened(kelp: Kelp, entry: Entry, known: Content | None = None) -> Opened:
    if entry.kind != Kind.FILE or entry.content_id is None:
        raise WrongKind(f"{entry.name!r} is not a file")
    content_id = entry.content_id
    hold = kelp.holds.hold(content_id)
    content = known if known is not None and known.id == content_id else None
    content = content or kelp.database.keep(content_id, lambda tx: tx.contents.get(content_id))
    if content is None:
        hold.release()
        raise StoreUnavailable("the content has just been freed", retry_after=1)
    return Opened(entry, content, hold)


def reserve_ids(kelp: Kelp, count: int) -> range:
    """Of files to come (`expect`); nothing where a change is no dearer than looking for it. They are for this process,
    and lost with it."""
    if not kelp.database.is_near:
        return range(0)
    with kelp.database.deferring(), kelp.database.write(quiet=True) as tx:
        return tx.drafts.reserve_ids(count)


def expect(
    kelp: Kelp, caller: Caller, place: Place, id: int, posix: Mapping[str, object], *, alone: bool = False
) -> Expected | None:
    """A file that could be made now: `create` makes its row, or the commit of what is written to it by then.

    `id` is a reserved one. Nothing changes, nobody else sees it. `alone`: from now on nobody else makes a file that he
    must be the only one to make; None: somebody may be doing that just now, so `create` has to be asked. Raises as
    `create`.
    """
    names.check_segment(place.name)
    now, claim = kelp.clock.now_ns(), Claim()
    if alone:
        claimed = kelp.database.claim(place.folder_id, names.key(place.name, kelp.settings.drive.case_sensitive))
        if claimed is None:
            return None
        claim = claimed
    try:
        with kelp.database.read() as tx:  # after the claim: what came before it can be seen
            here = _require_free(tx, kelp, caller, place, now)
    except BaseException:
        claim.give_back()
        raise
    content = writing.no_bytes()
    entry = Entry(
        *(id, content.id, place.folder_id, place.name, Kind.FILE, State.ACTIVE, content.id, 0),
        *("", now, now // changes.SECOND, now, caller.user_id, 1, StoreStatus.SYNCING),
        vault_id=here.seal and here.seal.vault_id,
    )
    opened = Opened(entry, content, kelp.holds.hold(content.id))
    return Expected(opened, Birth(id, posix, content.id, now, alone), claim)


def _require_free(tx: Tx, kelp: Kelp, caller: Caller, place: Place, now_ns: int) -> guard.Standing:
    here = guard.stand(kelp, tx, caller, place)
    if here.entry is not None:
        raise AlreadyExists(f"there is a {place.name!r} already", here.entry)
    guard.confirm_write(tx, caller, here, now_ns)
    return here


@retried
def create(
    kelp: Kelp,
    caller: Caller,
    place: Place,
    posix: Mapping[str, object] | None = None,
    birth: Birth | None = None,
    *,
    alone: bool = False,
) -> Opened:
    """Make an empty file, where nothing has the name, and open it. `posix`: mode, uid, gid that were said; `birth`:
    instead, of one that was expected. `alone`: nobody else may make it, also not on another mount.

    Raises AlreadyExists, ParentNotFound, InvalidName, Locked, Forbidden.
    """
    names.check_segment(place.name)
    with kelp.database.write() as tx:
        tx.leaves_folders = True
        guard.lock(kelp, tx, place)
        tx.foresee_ids("entries")
        tx.foresee_ids("sync_events")
        here = _require_free(tx, kelp, caller, place, kelp.clock.now_ns())
        if alone:
            guard.claims(kelp, tx, here)
        new = writing.make_empty(kelp, tx, caller, here, birth or Birth(0, posix or {}))
        made = tx.last(lambda: new.row.now(tx))
    return Opened(made.value, new.content, kelp.holds.hold(new.content.id))


def content(kelp: Kelp, id: str) -> Content | None:
    """None when it is gone, or on its way out."""
    with kelp.database.read() as tx:
        return tx.contents.get(id) if tx.contents.in_use(id) else None


def place_of(kelp: Kelp, entry_id: int) -> Place | None:
    """Where a file lies, or lay before it was removed; None when nothing is known of it."""
    with kelp.database.read() as tx:
        entry = tx.entries.get(entry_id)
    return None if entry is None or entry.parent_id is None else entry.place
