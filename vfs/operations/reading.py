"""Look: resolve a path, stat, list, open, properties and locks for a listing. Reads take no lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

from vfs import names
from vfs.core import Kelp
from vfs.errors import StoreUnavailable, WrongKind
from vfs.locks import table
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID, Caller, DavLock, Entry, Found, Kind, Level, Row
from vfs.operations import cache_limits, guard, nas_state, sealed_contents, sealing, unsealing, vaults_of
from vfs.operations.set_aside import SetAside

# Names, and their characters, of a remembered path: a client may ask for thousands of each.
_DEEPEST_KEPT = 32
_LONGEST_KEPT = 1000
_AT_ONCE = 500  # rows of a listing that are given before the rest is read: an answer is sent from 1 MiB on


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: `used` by what the drive shows and keeps, `free` for new files."""

    used: int
    free: int


def resolve(kelp: Kelp, caller: Caller, segments: Sequence[str]) -> Found:
    """Follow a path; what is missing (or may not be read by the caller) is None in the answer, not an error.

    Raises InvalidName for a segment that no entry can have.
    """
    for name in segments:
        names.check_segment(name)
    path = tuple(segments)
    if len(path) > _DEEPEST_KEPT or sum(map(len, path)) > _LONGEST_KEPT:
        with kelp.database.read() as tx:
            return _resolve(kelp, tx, caller, path)
    key = ("resolve", caller.rights, path)
    return kelp.database.recall(key, lambda tx: _resolve(kelp, tx, caller, path))


def _resolve(kelp: Kelp, tx: Tx, caller: Caller, segments: tuple[str, ...]) -> Found:
    chain, rows, any_grants = sealing.follow(kelp, tx, segments)
    last = rows[chain[-1]]
    found = last if len(chain) == len(segments) + 1 else None
    parent = _folder(rows, chain, len(segments))
    if any_grants:
        found, parent = _readable(tx, caller, chain, found, parent)
    folders = chain if last.is_folder else chain[:-1]
    return Found(segments, tuple(folders), parent, found)


def _folder(rows: dict[int, Entry], chain: Sequence[int], depth: int) -> Entry | None:
    """The folder that holds, or would hold, the last segment."""
    if depth == 0 or len(chain) < depth:
        return None
    folder = rows[chain[depth - 1]]
    return folder if folder.is_folder else None


def _readable(
    tx: Tx, caller: Caller, chain: Sequence[int], found: Entry | None, folder: Entry | None
) -> tuple[Entry | None, Entry | None]:
    """Unreadable is absent (spec §10)."""
    upward = list(reversed(chain))
    if found is not None:
        own = upward if found.is_folder else upward[1:]
        if guard.level_of(tx, caller, own) < Level.READ:
            found = None
    if folder is not None:
        above = upward[upward.index(folder.id) :]
        if guard.level_of(tx, caller, above) < Level.READ:
            folder = None
    return found, folder


def stat(kelp: Kelp, caller: Caller, entry_id: int) -> Entry:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        return guard.reach(tx, caller, entry_id, Level.READ)[0]


# Whose it is (the next entry of a name has low versions too), of the entry itself and, for a folder, of what is in it.
ListingVersion = tuple[int, int, int]


def moment(kelp: Kelp) -> AbstractContextManager[None]:
    """What is looked at inside is as it was at one moment after the beginning, or newer."""
    return kelp.database.moment()


def version(kelp: Kelp) -> int | str | None:
    """Another with each commit of any process; None when it cannot be told just now."""
    return kelp.database.version()


def listing_version(kelp: Kelp, caller: Caller, entry_id: int) -> ListingVersion | None:
    """Changes with the entry, and with the name or properties of anything directly in it.

    None while this does not decide alone what a caller sees: there are grants, or locks.
    """
    return kelp.database.recall(("listing", entry_id), lambda tx: tx.entries.listing_version(entry_id))


def list_folder(kelp: Kelp, caller: Caller, folder_id: int) -> Iterator[Row]:
    """What is in a folder, by name, of one moment; unreadable folders are left out.

    Whoever takes the rows may be slow: a client that reads a long answer now and then.
    Raises NotFound at the first row.
    """
    with kelp.database.scan() as tx:
        guard.foresee_reach(tx, folder_id)
        guard.reach(tx, caller, folder_id, Level.READ)
        hidden = guard.hidden_in(tx, caller, folder_id)
        rows = (row for row in tx.entries.children(folder_id) if row.id not in hidden)
        if not kelp.database.readers_are_few:
            yield from rows
            return
        yield from islice(rows, _AT_ONCE)
        rest = SetAside(rows)
    yield from rest


def open_content(kelp: Kelp, caller: Caller, entry: Entry) -> unsealing.Readable:
    """Open what a file shows now. Raises WrongKind for a folder, NotFound, StoreUnavailable, KeyMissing."""
    if entry.kind != Kind.FILE or entry.content_id is None:
        raise WrongKind(f"{entry.name!r} is not a file")
    content_id = entry.content_id
    content = kelp.database.keep(content_id, lambda tx: tx.contents.get(content_id))
    if content is None:
        raise StoreUnavailable("the content has just been freed", retry_after=1)
    return unsealing.reader(kelp, content)


def path_of(kelp: Kelp, entry_id: int) -> tuple[str, ...]:
    """Names from below the root down to the entry."""
    with kelp.database.read() as tx:
        return tx.entries.path(entry_id)


def usage(kelp: Kelp) -> Usage:
    """For quota properties and statfs: the smallest of what cache, its limit and NAS (as last measured) have free."""
    with kelp.database.scan() as tx:
        used = tx.entries.used_bytes()
    free = kelp.cache.usage().free - kelp.settings.cache.reserve
    hard = cache_limits.hard_limit(kelp)
    if hard is not None:
        free = min(free, cache_limits.left(kelp, hard))
    return Usage(used, max(min(free, nas_state.free_bytes(kelp, free)), 0))


def locks_on(kelp: Kelp, entry_id: int) -> list[tuple[DavLock, tuple[str, ...]]]:
    """Locks that cover an entry, each with the path of what it was taken on."""
    with kelp.database.read() as tx:
        chain = [id for id, _, _ in tx.entries.ancestors(entry_id)]
        held = table.covering(tx, chain, kelp.clock.now_ns())
        return [(lock, tx.entries.path(lock.entry_id)) for lock in held]


def locks_below(kelp: Kelp, folder_id: int) -> dict[int, list[DavLock]]:
    """Locks taken directly on a folder's children, by child."""
    by_child: dict[int, list[DavLock]] = {}
    with kelp.database.scan() as tx:
        for lock in tx.locks.of_children(folder_id, kelp.clock.now_ns()):
            by_child.setdefault(lock.entry_id, []).append(lock)
    return by_child


def entry_tokens(kelp: Kelp, found: Found) -> frozenset[str]:
    """Tokens of the locks that cover a path, mapped or not (for the `If` header)."""
    with kelp.database.read() as tx:
        upward = tuple(reversed(found.chain))
        entry_id = found.entry.id if found.entry is not None and not found.entry.is_folder else None
        if found.entry is not None and found.entry.is_folder:
            upward, entry_id = upward[1:], found.entry.id
        return frozenset(lock.token for lock in table.on_name(tx, upward or (ROOT_ID,), entry_id, kelp.clock.now_ns()))


def properties_of(kelp: Kelp, caller: Caller, entry_id: int) -> dict[str, str]:
    """Dead properties: Clark name → whole XML element. Raises NotFound."""
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry_id, Level.READ)
        return tx.properties.shown(entry_id)


def properties_below(kelp: Kelp, caller: Caller, folder_id: int) -> dict[int, dict[str, str]]:
    """Dead properties of all children of a folder that have some."""
    with kelp.database.scan() as tx:
        guard.reach(tx, caller, folder_id, Level.READ)
        return tx.properties.of_children(folder_id)


def level_on(kelp: Kelp, caller: Caller, folder_id: int) -> Level:
    """The caller's right on a folder and on the files in it."""

    def look(tx: Tx) -> Level:
        return guard.level_of(tx, caller, [id for id, _, _ in tx.entries.ancestors(folder_id)])

    return kelp.database.recall(("level", caller.rights, folder_id), look)


def digests_below(kelp: Kelp, caller: Caller, folder_id: int) -> dict[int, str]:
    """`SHA1:… MD5:…` of those files in a folder whose content has them known."""
    with kelp.database.scan() as tx:
        guard.reach(tx, caller, folder_id, Level.READ)
        found = tx.contents.digests_of_children(folder_id)
    return {id: _shown(kelp, stored, content_id, vault_id) for id, stored, content_id, vault_id in found}


def digests_of(kelp: Kelp, entry: Entry) -> str | None:
    """`SHA1:… MD5:…` of a file's content when they are known."""
    if entry.content_id is None:
        return None
    with kelp.database.read() as tx:
        content = tx.contents.get(entry.content_id)
    if content is None or content.digests is None:
        return None
    return _shown(kelp, content.digests, content.id, content.seal.vault_id if content.seal else None)


def _shown(kelp: Kelp, digests: str, content_id: str, vault_id: int | None) -> str:
    """Raises KeyMissing, ContentCorrupt."""
    if vault_id is None:
        return digests
    return sealed_contents.opened_digests(vaults_of.open_vault(kelp, vault_id), content_id, digests)
