"""Put a file: the body into the cache, then one transaction that shows it (design §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, InvalidRequest, NoSpace, WrongKind
from vfs.ids import new_id
from vfs.metadata.database import Tx
from vfs.metadata.events import awaited
from vfs.metadata.retrying import retried
from vfs.model import (
    Caller,
    Condition,
    Content,
    Entry,
    EventType,
    Expected,
    Facts,
    Kind,
    OnConflict,
    Place,
    Role,
    State,
    StoreStatus,
    Written,
)
from vfs.operations import appearance, busy, changes, contents, guard, reserving, sealed_contents, sealing, vaults_of
from vfs.operations.guard import Standing, WrittenRow
from vfs.storage.small_contents import SMALL

# An upload that took longer asks whether its objects are still there: in an S3 cache that is a call of its own, and the
# orphan batch takes nothing that is younger than an hour.
_RESTED_NS = 60 * changes.SECOND


def put_file(
    kelp: Kelp,
    caller: Caller,
    place: Place,
    chunks: Iterable[bytes],
    *,
    expected: Expected = Expected(),  # noqa: B008  # frozen
    mime_type: str | None = None,
    mtime_ns: int | None = None,
    on_conflict: OnConflict = OnConflict.OVERWRITE,
    condition: Condition | None = None,
    seen: Entry | None = None,
) -> Written:
    """Store a whole file under a name; until it returns, readers see what was there before.

    `mtime_ns`: the client's own time, shown exactly as given. `seen`: what the caller has just found there, if
    anything; only a hint. Raises ParentNotFound, WrongKind (a folder has the name), InvalidName, InvalidRequest
    (strategy SKIP or MERGE, a time out of range), AlreadyExists (strategy ERROR), StillSyncing, Locked, Forbidden,
    PreconditionFailed, NoSpace, UploadIncomplete, StoreUnavailable, KeyMissing; then nothing has changed and nothing is
    left in the cache.
    """
    put = Put(caller, place, mime_type, mtime_ns, on_conflict, condition, kelp.clock.now_ns(), seen)
    return carry_out(kelp, put, chunks, expected)


class Birth(NamedTuple):
    """Of a file whose id was told before it had a row. `posix`: columns that somebody has set; `uuid` of its first
    content; `mtime_ns`: when it was made; `alone`: by him who made it, and nobody else."""

    id: int
    posix: Mapping[str, object]
    uuid: str = ""
    mtime_ns: int | None = None
    alone: bool = False


@dataclass(slots=True)
class Put:
    """What was asked for, and how far it is."""

    caller: Caller
    place: Place
    mime_type: str | None
    mtime_ns: int | None
    on_conflict: OnConflict
    condition: Condition | None
    began_ns: int
    seen: Entry | None = None  # what had the name before the body was read
    told: bool = True  # `mtime_ns` is what the client said; else when it wrote, as far as its face knows
    committing: bool = False  # a commit was begun whose outcome is not known
    folders: tuple[str, ...] = ()  # the names that lead to where it was committed
    with_facts: bool = False  # the answer tells of them
    birth: Birth | None = None  # what the row is to have if there is none yet
    posix: Mapping[str, object] = field(default_factory=dict)  # columns: mode, uid, gid
    shows: int | None = None  # bytes that the content shows, where its parts are not all that it has
    joins: bool = False  # a sync event of the file that waits may stand for this change too: see `Events.to_join`


def carry_out(kelp: Kelp, put: Put, chunks: Iterable[bytes], expected: Expected) -> Written:
    """As `put_file`, of which this is all but the names of what is asked for."""
    names.check_segment(put.place.name)
    guard.check_time(put.mtime_ns)
    if put.on_conflict not in (OnConflict.ERROR, OnConflict.RENAME, OnConflict.OVERWRITE):
        raise InvalidRequest(f"an upload knows no strategy {put.on_conflict}")
    if not is_short(put, expected):
        refuse_early(kelp, put)
    return bring(kelp, put, chunks, expected, lambda content: change(kelp, put, content))


def is_short(put: Put, expected: Expected) -> bool:
    """The body is here sooner than a look whether it will be refused, which the change makes anyway."""
    bound = expected.bound
    return bound is not None and bound <= SMALL and put.condition is None and put.caller.role != Role.VIEWER


def refuse_early(kelp: Kelp, put: Put) -> None:
    """Before the body is read. Raises as `check`."""
    with kelp.database.read() as tx:
        key = sealing.key_in(kelp, tx, put.place.folder_id, put.place.name)
        tx.foresee(*guard.looks_at(tx, [(put.place.folder_id, key)]))
        put.seen = check(kelp, tx, put).entry


def bring(
    kelp: Kelp,
    put: Put,
    chunks: Iterable[bytes],
    expected: Expected,
    show: Callable[[Content], Written],
    *,
    counted: bool = False,
) -> Written:
    """Store a body, then `show` it in a transaction that tells `put` when it commits; nothing is left when it fails.

    `counted` as in `reserving.reserve`.
    """
    vault = vaults_of.vault_of(kelp, put.place.folder_id)
    size = None if expected.length is None else sealed_contents.stored_size(expected.length, vault)
    guard.require_space(kelp, size)
    with reserving.reserve(kelp, size or 0, counted=counted, sealed=vault is not None) as room:
        content = contents.store(kelp, room.counted(chunks), expected, vault=vault)
        try:
            room.confirm()
            written = show(content)
        except BaseException as error:
            room.stays = put.committing
            contents.discard(kelp, content, in_doubt=put.committing and not isinstance(error, NoSpace))
            raise
        room.stays = True
    return written


@retried
def change(kelp: Kelp, put: Put, content: Content) -> Written:
    """The transaction that shows a stored content under its name."""
    put.committing = False
    with kelp.database.write() as tx:
        guard.lock(kelp, tx, put.place)
        _foresee(kelp, tx, put, content)
        row, created = commit(kelp, tx, put, content)
        shown = tx.last(lambda: _last_look(tx, put, row))
        put.committing = True
    entry, facts = shown.value
    return Written(entry, created, facts)


def _last_look(tx: Tx, put: Put, row: WrittenRow) -> tuple[Entry, Facts | None]:
    return appearance.as_written(tx, row.id, put.folders) if put.with_facts else (row.now(tx), None)


def _foresee(kelp: Kelp, tx: Tx, put: Put, content: Content) -> None:
    """What is asked once the name is known to be free, or whose it is: most of the time that is as it was."""
    tx.foresee_ids("sync_events")
    if put.seen is not None:
        tx.foresee(partial(tx.entries.written_by, put.seen.id))
        return
    new, place = (0, content.id), put.place
    tx.foresee_ids("entries")
    tx.foresee(lambda: changes.nas_place(kelp, tx, place.folder_id, place.name, Kind.FILE, new, kelp.clock.now_ns()))


def check(kelp: Kelp, tx: Tx, put: Put) -> Standing:
    """What can be refused: asked once before the body is read, and again inside the transaction."""
    now = kelp.clock.now_ns()
    here = guard.stand(kelp, tx, put.caller, put.place)
    guard.check_condition(tx, here, put.condition, now)
    taken = here.entry
    if taken is not None:
        if put.on_conflict == OnConflict.ERROR:
            raise AlreadyExists(f"there is a {put.place.name!r} already", taken)
        if put.on_conflict == OnConflict.RENAME:
            here = changes.renamed(here, kelp, tx, is_folder=False)
        elif taken.is_folder:
            raise WrongKind(f"{put.place.name!r} is a folder")
        else:
            busy.refuse_change(tx, put.caller, taken)
    elif put.birth is None and not guard.claims(kelp, tx, here, put.on_conflict, put.condition):
        here = changes.renamed(here, kelp, tx, is_folder=False)
    guard.confirm_write(tx, put.caller, here, now)
    return here


def commit(
    kelp: Kelp, tx: Tx, put: Put, content: Content, insert: Callable[[int], None] | None = None
) -> tuple[WrittenRow, bool]:
    """Inside a transaction that has locked the place: the file's row, and whether it is new. Raises as `put_file`.

    `insert`: makes the rows of the content at that time, where its parts have rows already.
    """
    here = check(kelp, tx, put)
    put.folders = here.path
    now = kelp.clock.now_ns()
    if abs(now - put.began_ns) > _RESTED_NS:
        contents.require_stored(kelp, content)
    if insert is None:
        tx.contents.insert(content, now)
    else:
        insert(now)
    times = _Times(tx, here, put.mtime_ns, now, by_client=put.told and put.mtime_ns is not None)
    if here.entry is None:
        row = create(kelp, tx, put.caller, here, content, put.mime_type, times, put.birth, put.posix, put.shows)
    else:
        more = (put.posix, put.shows, put.joins)
        row = switch(kelp, tx, put.caller, here, here.entry, content, put.mime_type, times, *more)
    return row, here.entry is None


class _Times:
    """The times of a content committed now: the true one, and the one HTTP shows."""

    def __init__(self, tx: Tx, here: Standing, mtime_ns: int | None, now_ns: int, *, by_client: bool) -> None:
        self.now_ns = now_ns
        self.mtime_ns = now_ns if mtime_ns is None else mtime_ns
        self.shown = changes.shown_mtime(tx, here, self.mtime_ns, now_ns, by_client=by_client)


def create(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    here: Standing,
    content: Content,
    mime_type: str | None,
    times: _Times,
    birth: Birth | None = None,
    posix: Mapping[str, object] = MappingProxyType({}),
    shows: int | None = None,
) -> WrittenRow:
    """Insert a file's row. The first content of a file has the file's uuid as id. `shows`: see `Put`."""
    vaults_of.require_same(here.seal, content)
    own = posix if birth is None else {**({"id": birth.id} if birth.id else {}), **birth.posix, **posix}
    made_ns = times.now_ns if birth is None or birth.mtime_ns is None else birth.mtime_ns
    number = tx.events.number()
    named = sealing.born(tx, here.seal, here.name, here.key, mime_type or changes.mime_type(here.name))
    size = sealed_contents.plain_size(content) if shows is None else shows
    entry_id = tx.entries.insert(
        uuid=content.id,
        parent_id=here.folder_id,
        **named,
        kind=Kind.FILE.value,
        state=State.ACTIVE.value,
        content_id=content.id,
        content_user_id=caller.user_id,
        content_ns=times.now_ns,
        size=size,
        mtime_ns=times.mtime_ns,
        shown_mtime=times.shown,
        created_ns=made_ns,
        registered_ns=times.now_ns,
        born_litter=here.makes_litter,
        owner_id=caller.user_id,
        **awaited(number),
        **changes.nas_place(kelp, tx, here.folder_id, here.name, Kind.FILE, (0, content.id), times.now_ns),
        **own,
    )
    succeeds = changes.succeed(kelp, tx, caller, here, entry_id, content.id, times.now_ns)
    changes.announce(
        kelp, tx, caller, entry_id, Kind.FILE, EventType.SYNC, times.now_ns,
        target=here.path_of(), litter=here.is_litter, what="create", rushes=False, number=number,
    )  # fmt: skip
    if succeeds or here.seal is not None:
        return WrittenRow(entry_id)
    entry = Entry(
        *(entry_id, content.id, here.folder_id, here.name, Kind.FILE, State.ACTIVE, content.id, size),
        *(str(named["mime_type"]), times.mtime_ns, times.shown, made_ns, caller.user_id, 1, StoreStatus.SYNCING),
    )
    return WrittenRow(entry_id, entry)


def switch(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    here: Standing,
    entry: Entry,
    content: Content,
    mime_type: str | None,
    times: _Times,
    posix: Mapping[str, object] = MappingProxyType({}),
    shows: int | None = None,
    joins: bool = False,
) -> WrittenRow:
    """The row shows another content from now on; the one before becomes a version. `shows`, `joins`: see `Put`."""
    vaults_of.require_same(here.seal, content)
    changes.keep_version(kelp, tx, caller, entry, entry.id, times.now_ns, litter=here.is_litter)
    place: dict[str, object] = {}
    if changes.stays_dated(kelp, litter=here.is_litter):
        own = (entry.id, entry.uuid)
        place = changes.nas_place(kelp, tx, here.folder_id, entry.name, Kind.FILE, own, times.now_ns)
    if times.shown <= entry.shown_mtime:
        changes.remember_shown(tx, here.folder_id, here.key, entry.shown_mtime, times.now_ns)
    waiting = tx.events.to_join(entry.id, times.now_ns, litter=here.is_litter) if joins else None
    number = tx.events.number() if waiting is None else waiting
    size = sealed_contents.plain_size(content) if shows is None else shows
    stored_type = sealing.typed(tx, entry, mime_type or changes.mime_type(entry.name))
    tx.entries.update(
        entry.id,
        here.folder_id,
        content_id=content.id,
        content_user_id=caller.user_id,
        content_ns=times.now_ns,
        size=size,
        mime_type=stored_type,
        mtime_ns=times.mtime_ns,
        shown_mtime=times.shown,
        **awaited(number),
        **place,
        **posix,
    )
    changes.announce(
        kelp, tx, caller, entry.id, Kind.FILE, EventType.SYNC, times.now_ns,
        target=here.path_of(entry.name), litter=here.is_litter, what="write",
        rushes=entry.nas_status != StoreStatus.AVAILABLE, number=number, joined=waiting is not None,
    )  # fmt: skip
    if entry.vault_id is not None:
        return WrittenRow(entry.id)
    now = Entry(
        *(entry.id, entry.uuid, entry.parent_id, entry.name, entry.kind, entry.state, content.id, size, stored_type),
        *(times.mtime_ns, times.shown, entry.created_ns, entry.owner_id, entry.version + 1, StoreStatus.SYNCING),
    )
    return WrittenRow(entry.id, now)


def empty_file(kelp: Kelp, tx: Tx, caller: Caller, here: Standing) -> Entry:
    """Make a file without bytes inside a transaction (LOCK of an unmapped name, RFC 4918 §7.3)."""
    return make_empty(kelp, tx, caller, here).row.now(tx)


class Empty(NamedTuple):
    """A file that was made without bytes."""

    row: WrittenRow
    content: Content


def no_bytes(id: str = "") -> Content:
    """The content of a file that was just made; `id` [a new one]."""
    return Content(id or new_id(), 0, EMPTY_CHECKSUM, None, ())


def make_empty(kelp: Kelp, tx: Tx, caller: Caller, here: Standing, birth: Birth | None = None) -> Empty:
    """As `empty_file`, for who does not look at it at once."""
    id = birth.uuid if birth else ""
    vault = vaults_of.vault_in(kelp, tx, here.folder_id)
    content = no_bytes(id) if vault is None else sealed_contents.empty(vault, id)
    now = kelp.clock.now_ns()
    tx.contents.insert(content, now)
    times = _Times(tx, here, birth.mtime_ns if birth else None, now, by_client=False)
    return Empty(create(kelp, tx, caller, here, content, None, times, birth), content)


def show(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    here: Standing,
    entry: Entry,
    content: Content,
    mtime_ns: int | None = None,
    *,
    by_client: bool = False,
    mime_type: str | None = None,
) -> Entry:
    """Let a file show a content that exists already (COPY over it, a version restored)."""
    times = _Times(tx, here, mtime_ns, kelp.clock.now_ns(), by_client=by_client)
    return switch(kelp, tx, caller, here, entry, content, mime_type, times).now(tx)


EMPTY_CHECKSUM = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"  # BLAKE3 of no bytes
