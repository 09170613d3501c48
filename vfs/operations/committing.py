"""Commit what a draft has become: store what is new, then the one transaction that shows it, with the rules of every
other write.

What the draft did not touch is not stored again: the new content has the same objects (design §3). They were whole in
the cache when the commit held them, and whoever evicts or frees looks at who has them after that.

**Two writers** (docs/fuse.md). A draft is made of the content that its file had when it was first written to. When the
file shows another by then, a draft that kept nothing of the old bytes replaces it, as any save does; one that did is
refused (PreconditionFailed), since it would take back what somebody else has written. Either way every byte that is
shown was committed by one of them, in a content that was whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from vfs import names, turns
from vfs.core import Kelp
from vfs.crypto.opened_lists import OpenedList
from vfs.crypto.part_lists import PartList, Slice
from vfs.errors import AlreadyExists, Conflict, Forbidden, NoSpace, NotFound, PreconditionFailed, WrongKind
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Condition, Content, Entry, Level, OnConflict, Part, Place
from vfs.operations import (
    contents,
    draft_parts,
    guard,
    layouts,
    reserving,
    sealed_contents,
    unsealing,
    vaults_of,
    writing,
)
from vfs.operations.drafting import Committed, Draft
from vfs.operations.layouts import Layout, Shared
from vfs.operations.reserving import Reservation
from vfs.operations.sealed_contents import SealedParts, Vault
from vfs.operations.storing_ahead import Claimed
from vfs.operations.unfinished import Unfinished
from vfs.storage.object_store import Begun

log = logging.getLogger(__name__)

_TRIES = 20  # looks at a file that is moved all the time
_SHARING = 2  # … and at objects that are just being evicted; then all is stored anew


def commit(kelp: Kelp, caller: Caller, draft: Draft) -> Committed:
    """The file shows the draft, durably, wherever it lies by now.

    Raises NotFound (it is gone), Locked, Forbidden, PreconditionFailed (it shows what another has written, and the
    draft is made of what was there before), NoSpace, StoreUnavailable, ContentLost; then nothing has changed.
    """
    if draft.birth is not None:
        return _first(kelp, caller, draft)
    place = draft.place
    for _ in range(_TRIES):
        same = _SameFile(draft)
        put = _put(caller, draft, place, OnConflict.OVERWRITE, same, kelp.clock.now_ns())
        try:
            return _brought(kelp, put, draft)
        except (NotFound, PreconditionFailed, Forbidden):
            before, place = place, _place_of(kelp, caller, draft.entry_id)
            if not same.moved and place == before:
                raise
    raise Conflict("it is moved all the time")


def _first(kelp: Kelp, caller: Caller, draft: Draft) -> Committed:
    """The row of a file comes with what was written to it. When somebody has made one of that name since it was opened,
    it is as if he had before: all is replaced, as any save does; but not what was made here and nowhere else."""
    put = _put(caller, draft, draft.place, OnConflict.OVERWRITE, None, kelp.clock.now_ns())
    put.birth = draft.birth
    if draft.birth is not None and draft.birth.alone:
        put.on_conflict = OnConflict.ERROR
    try:
        try:
            return _brought(kelp, put, draft)
        except AlreadyExists as error:
            if error.existing is None or error.existing.id != draft.entry_id:
                raise
            put.on_conflict = OnConflict.OVERWRITE  # by this one, of whose row nobody was told
            return _brought(kelp, put, draft)
    except (WrongKind, AlreadyExists) as error:
        raise PreconditionFailed("something else has the name by now") from error


def _put(
    caller: Caller, draft: Draft, place: Place, how: OnConflict, condition: Condition | None, now_ns: int
) -> writing.Put:
    return writing.Put(
        *(caller, place, None, draft.mtime_ns, how, condition, now_ns),
        told=draft.told,
        posix=draft.posix,
        shows=draft.source.size,
        joins=True,  # a file that is made, written and closed is one thing to carry
    )


def keep_beside(kelp: Kelp, caller: Caller, draft: Draft, beside: Place, why: str = "conflict") -> Committed:
    """What cannot be committed to its file becomes a file beside it: "name (conflict USER TIME).ext".

    `beside`: the place of the file, or where it was. Raises what `writing.put_file` raises.
    """
    name = copy_name(beside.name, why, caller.name, kelp.clock.now_ns())
    place = Place(beside.folder_id, name)
    put = _put(caller, draft, place, OnConflict.RENAME, None, kelp.clock.now_ns())
    return _brought(kelp, put, draft)


def copy_name(name: str, why: str, user: str, now_ns: int) -> str:
    """ "name (conflict anna 2026-01-31 17.05.09).ext", at most 255 bytes. The time is UTC."""
    moment = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H.%M.%S")
    return names.labelled(name, f"({why} {user} {moment})")


def _place_of(kelp: Kelp, caller: Caller, entry_id: int) -> Place:
    with kelp.database.read() as tx:
        entry, _ = guard.reach(tx, caller, entry_id, Level.READ)
    return entry.place


class _SameFile:
    """The condition of a commit: the name still leads to the file, and that shows what the draft is made of."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.moved = False

    def __call__(self, now: Entry | None, _tokens: frozenset[str]) -> None:
        self.moved = now is None or now.id != self._draft.entry_id
        if self.moved or now is None:
            raise PreconditionFailed("the file has another place by now")
        keeps_nothing = self._draft.source.limit == 0
        if not keeps_nothing and now.content_id != self._draft.base.id and now.content_id not in self._draft.own:
            raise PreconditionFailed("somebody else has changed the file since it was opened")


class _Unshared(Exception):
    """An object that was to be shared is leaving the cache."""


def _brought(kelp: Kelp, put: writing.Put, draft: Draft) -> Committed:
    """Store what is new, and show it in one transaction. Nothing is left when it fails."""
    vault = vaults_of.vault_of(kelp, put.place.folder_id)
    begun = draft_parts.begun(kelp, draft) if vault is None else None
    if begun is not None:
        return _finished(kelp, put, draft, *begun)
    base = _base(kelp, draft.base, vault)
    for attempt in range(_SHARING + 1):
        layout = _laid_out(kelp, draft, base, share=attempt < _SHARING)
        try:
            return _stored(kelp, put, draft, layout, base, vault)
        except _Unshared:
            log.debug("entry %s: an object that was to be shared is leaving the cache", draft.entry_id)
    raise AssertionError("the last layout shares nothing")


@dataclass(frozen=True, slots=True)
class _Base:
    """What may be shared of the content before. `parts`: with the sizes that they show; `slices`: what opens them."""

    parts: tuple[Part, ...]
    slices: dict[str, Slice]


def _base(kelp: Kelp, content: Content, vault: Vault | None) -> _Base:
    """Nothing of it, when it is sealed otherwise than what is stored now. Raises KeyMissing, ContentCorrupt."""
    seal = content.seal
    if seal is None:
        return _Base(content.parts if vault is None else (), {})
    if vault is None or vault.id != seal.vault_id:
        return _Base((), {})
    slices = unsealing.opened_list(kelp, content, seal).slices
    shown = tuple(replace(part, size=piece.length) for part, piece in zip(content.parts, slices, strict=True))
    return _Base(shown, {part.key: piece for part, piece in zip(content.parts, slices, strict=True)})


def _laid_out(kelp: Kelp, draft: Draft, base: _Base, *, share: bool) -> Layout:
    source = draft.source
    layout = layouts.lay_out(base.parts if share else (), source.limit, source.size, source.is_written)
    keys = sorted({piece.part.key for piece in layout if isinstance(piece, Shared)})
    if not keys:
        return layout
    with kelp.database.read() as tx:
        there = tx.drafts.available(keys)
    return layouts.lay_out(base.parts, source.limit, source.size, source.is_written, there.__contains__)


def _stored(kelp: Kelp, put: writing.Put, draft: Draft, layout: Layout, base: _Base, vault: Vault | None) -> Committed:
    with draft_parts.claimed(draft, layout if vault is None else []) as early:
        return _stored_and_shown(kelp, put, draft, layout, base, vault, early)


def _stored_and_shown(
    kelp: Kelp, put: writing.Put, draft: Draft, layout: Layout, base: _Base, vault: Vault | None, early: Claimed
) -> Committed:
    size = sum(sealed_contents.stored_size(size, vault) for size in layouts.new_bytes(layout)) - early.size
    guard.require_space(kelp, size)
    with reserving.reserve(kelp, size, sealed=vault is not None) as room:
        if vault is None:
            content, fresh = draft_parts.store(kelp, draft, layout, room, early)
        else:
            content, fresh = _store_sealed(kelp, draft, layout, room, base, vault)
        new = replace(content, parts=fresh)
        shared = [piece.part.key for piece in layout if isinstance(piece, Shared)]

        def insert(tx: Tx, now_ns: int) -> None:
            if shared and not tx.drafts.hold(draft.base.id, shared):
                raise _Unshared
            tx.contents.insert(content, now_ns, fresh)

        entry = _shown(kelp, put, draft, new, room, insert)
    return Committed(entry, content)


def _finished(kelp: Kelp, put: writing.Put, draft: Draft, content: Content, begun: Begun) -> Committed:
    """The same for a small draft, whose bytes are on their way to the disk meanwhile."""
    with begun:
        usage = kelp.cache.usage()
        guard.require_space(kelp, content.size, usage)
        with reserving.reserve(kelp, content.size, usage=usage) as room:
            room.count(content.size)
            with turns.waiting():
                begun.finish()
            entry = _shown(kelp, put, draft, content, room)
    return Committed(entry, content)


_Insert = Callable[[Tx, int], None]


def _shown(
    kelp: Kelp, put: writing.Put, draft: Draft, new: Content, room: Reservation, insert: _Insert | None = None
) -> Entry:
    """The transaction; what was stored is removed again when it fails. `new`: the content, with the parts that have no
    rows yet."""
    try:
        room.confirm()
        entry = _show(kelp, put, new, insert)
    except BaseException as error:
        room.stays = put.committing
        if put.committing:
            draft.own.add(new.id)
        contents.discard(kelp, new, in_doubt=put.committing and not isinstance(error, NoSpace))
        raise
    room.stays = True
    return entry


@retried
def _show(kelp: Kelp, put: writing.Put, new: Content, insert: _Insert | None) -> Entry:
    put.committing = False
    with kelp.database.write() as tx:
        tx.leaves_folders = True
        guard.lock(kelp, tx, put.place)
        tx.foresee_ids("sync_events")
        own = None if insert is None else partial(insert, tx)
        row, _ = writing.commit(kelp, tx, put, new, insert=own)
        shown = tx.last(lambda: row.now(tx))
        put.committing = True
    return shown.value


def _store_sealed(
    kelp: Kelp, draft: Draft, layout: Layout, room: Reservation, base: _Base, vault: Vault
) -> tuple[Content, tuple[Part, ...]]:
    """The same for a vault: what is shared is opened by what opened it before, and no key is used for anything else."""
    parts: list[Part] = []
    slices: list[Slice] = []
    fresh: list[Part] = []
    unfinished = Unfinished(kelp)
    as_stored = {part.key: part for part in draft.base.parts}
    with draft_parts.undone(kelp, fresh):
        for piece in layout:
            if isinstance(piece, Shared):
                parts.append(as_stored[piece.part.key])
                slices.append(base.slices[piece.part.key])
                continue
            chunks, expected = draft_parts.new(draft, piece)
            stored = contents.store_parts(kelp, room.counted(chunks), expected, unfinished)
            fresh += stored.parts
            parts += layouts.repeated(stored.parts, piece)
            slices += layouts.repeated(stored.slices, piece)
        sealed = SealedParts(tuple(parts), tuple(slices), draft.source.size)
        content = sealed_contents.content_of(vault, sealed)
        kelp.opened_lists.keep(content.id, OpenedList(PartList(sealed.slices)))  # somebody may read it at once
        return content, tuple(fresh)
