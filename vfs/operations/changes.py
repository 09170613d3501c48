"""What every change of the tree ends with: NAS name, shown time, name memory, history, outbox, succession."""

from __future__ import annotations

import logging
import mimetypes
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from posixpath import splitext

from vfs import links, names, trace
from vfs.core import Kelp
from vfs.ids import new_id
from vfs.metadata.database import Tx
from vfs.metadata.retrying import Busy, may_wait
from vfs.model import ROOT_ID, Caller, Entry, EventType, Kind, State
from vfs.operations import guard, nas_settings, sealing
from vfs.operations.guard import Standing
from vfs.operations.sealing import Text

log = logging.getLogger(__name__)

SECOND = 1_000_000_000
_SAFE_SAVE_NS = 60 * SECOND  # a name filled again within this time is the same document (spec §6, versions)
_MEMORY_NS = 600 * SECOND  # how long the time a name showed is remembered (clients.md R8)
_SAME_SAVE_NS = 5 * SECOND  # replaced by the same user so soon: not worth a version


def mime_type(name: str, before: str = "") -> str:
    """Of a file, by its name; `before`: what the same bytes had under another name, where that tells more."""
    if before == links.TYPE:
        return before
    stem, last = splitext(name)
    return _type_of(splitext(stem)[1] + last)


@lru_cache(maxsize=1024)
def _type_of(endings: str) -> str:
    """Of a file whose name has these endings: two at most tell it (".tar.gz")."""
    return mimetypes.guess_type(f"file{endings}", strict=False)[0] or "application/octet-stream"


def nas_place(
    kelp: Kelp,
    tx: Tx,
    folder_id: int,
    name: str,
    kind: Kind,
    id_and_uuid: tuple[int, str],
    stamp_ns: int | str,
    *,
    adopted: str | None = None,
    version: str = "",
) -> dict[str, object]:
    """The NAS name an entry shall have in a folder, unique there, as columns of `entries` (spec §5, NAS names).

    The same for an older content of a file, which `version` names: then there is no id.

    `stamp_ns`: the registration time, or the stamp fixed earlier, which stays as long as it is free. `adopted`: the
    name of a file that Kelp found there, which stays in the same way.
    """
    if tx.seals.of(folder_id) is not None:
        return _sealed_place(kind, stamp_ns)
    id, entry_uuid = id_and_uuid
    properties = kelp.nas.properties
    refused = properties.refused.union(kelp.settings.nas.refused)

    def free(nas_name: str) -> str | None:
        key = names.nas_key(nas_name, properties.folds_case)
        return None if tx.entries.nas_name_taken(folder_id, key, id, version) else key

    if kind == Kind.FOLDER:
        plain = nas_name = names.nas_folder_name(name, entry_uuid, refused, at_root=folder_id == ROOT_ID)
        number = 0
        while (key := free(nas_name)) is None:
            number += 1
            nas_name = names.nas_folder_name_taken(plain, entry_uuid, number)
        return {"nas_stamp": None, "nas_desired_name": nas_name, "nas_desired_key": key}
    if adopted is not None and not (folder_id == ROOT_ID and names.is_reserved_at_root(adopted)):
        key = free(adopted)
        if key is not None:
            return {"nas_stamp": None, "nas_desired_name": adopted, "nas_desired_key": key}
    stamp = stamp_ns if isinstance(stamp_ns, str) else names.stamp(stamp_ns)
    while True:
        nas_name = names.nas_file_name(stamp, name, entry_uuid, refused)
        key = free(nas_name)
        if key is not None:
            return {"nas_stamp": stamp, "nas_desired_name": nas_name, "nas_desired_key": key}
        stamp = _next_second(stamp)


def _sealed_place(kind: Kind, stamp_ns: int | str) -> dict[str, object]:
    """In a vault a name on the NAS says nothing: 16 random bytes, which nothing else has."""
    nas_name, stamp = sealing.new_seal_id(), None
    if kind != Kind.FOLDER:
        stamp = stamp_ns if isinstance(stamp_ns, str) else names.stamp(stamp_ns)
        nas_name = f"{stamp}__{nas_name}"
    return {"nas_stamp": stamp, "nas_desired_name": nas_name, "nas_desired_key": nas_name}


def relocated_place(kelp: Kelp, tx: Tx, entry: Entry, folder_id: int, name: str) -> dict[str, object]:
    """As `nas_place`, for an entry that gets another folder, another name, or both. Only a rename takes from an adopted
    file the name that it had (spec §5). What is in a vault keeps the one that it has."""
    if tx.seals.of(folder_id) is not None:
        return {}
    stamp, _, registered_ns, nas_name = tx.entries.placing(entry.id)
    is_adopted = stamp is None and entry.kind == Kind.FILE and name == entry.name
    own = (entry.id, entry.uuid)
    adopted = nas_name if is_adopted else None
    return nas_place(kelp, tx, folder_id, name, entry.kind, own, stamp or registered_ns, adopted=adopted)


def _next_second(stamp: str) -> str:
    time = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return (time + timedelta(seconds=1)).strftime("%Y%m%d%H%M%S")


def shown_mtime(tx: Tx, here: Standing, mtime_ns: int, now_ns: int, *, by_client: bool) -> int:
    """The time HTTP shows for a content committed now under this name (clients.md R8)."""
    seconds = mtime_ns // SECOND
    if by_client:
        return seconds
    memory = tx.name_memory.recall(here.folder_id, here.key)
    last = [here.entry.shown_mtime] if here.entry else []
    last += [memory[1]] if memory and now_ns - memory[2] < _MEMORY_NS else []
    return max([seconds, *(shown + 1 for shown in last)])


def leave_name(tx: Tx, here: Standing, entry: Entry, now_ns: int) -> None:
    """The name is free from now on; who had it and what it showed is remembered."""
    tx.name_memory.remember(here.folder_id, here.key, entry.id, entry.shown_mtime, now_ns, now_ns - _MEMORY_NS)


def remember_shown(tx: Tx, folder_id: int, key: str, shown: int, now_ns: int) -> None:
    """A client sets a name's time back: what was shown must not be shown again for another content (R8)."""
    tx.name_memory.remember(folder_id, key, 0, shown, now_ns, now_ns - _MEMORY_NS)


def drop_locks(tx: Tx, entry: Entry, now_ns: int) -> None:
    """Locks of an entry, and of all below it, die with DELETE and MOVE (clients.md R15)."""
    if not tx.locks.any():
        return
    tx.locks.delete_on(entry.id)
    if entry.is_folder:
        for lock in tx.locks.below(entry.id, now_ns):
            tx.locks.delete(lock.token)


def stays_dated(kelp: Kelp, *, litter: bool) -> bool:
    """Every registration stays a file of its own on the NAS (`drive.duplicates`); not of what is litter as yet."""
    return kelp.settings.drive.duplicates == "keep-dated" and not litter


def keep_version(
    kelp: Kelp, tx: Tx, caller: Caller, old: Entry, owner_id: int, now_ns: int, *, litter: bool = False
) -> None:
    """The content that `old` has becomes the newest version of entry `owner_id`, unless it is not worth one.

    Where registrations stay, each is worth one that is not empty, and takes the name on the NAS that `old` had.
    """
    if old.content_id is None or old.size == 0:
        return
    dated = stays_dated(kelp, litter=litter)
    user_id, written_ns = tx.entries.written_by(old.id)
    age_ns = -1 if written_ns is None else now_ns - written_ns  # below zero also after the clock was set back
    soon = user_id == caller.user_id and 0 <= age_ns < _SAME_SAVE_NS
    # Who writes into a file registers its content, however often; a name that is filled again is told of once.
    if soon and not dated:
        return
    if not (dated and owner_id == old.id) and tx.versions.has_content(owner_id, old.content_id):
        return
    created_ns = written_ns if written_ns is not None else old.created_ns
    place = None
    if dated:
        stamp, _, registered_ns, nas_name = tx.entries.placing(old.id)
        key = names.nas_key(nas_name, kelp.nas.properties.folds_case)
        place = (stamp or names.stamp(registered_ns), nas_name, key)
    tx.versions.add(new_id(), owner_id, old.content_id, old.size, created_ns, now_ns, user_id, place)
    if not dated:
        tx.versions.expire_beyond(owner_id, kelp.settings.versions.keep_count)


def place_versions(kelp: Kelp, tx: Tx, entry_id: int) -> None:
    """Older contents that are files in the tree go with their file, which has just got its place; each keeps its stamp
    where that is free, and an adopted one its name until it is renamed."""
    kept = tx.versions.in_tree(entry_id)
    entry = tx.entries.as_stored(entry_id) if kept else None
    if entry is None or entry.parent_id is None or entry.vault_id is not None:
        return
    properties = kelp.nas.properties
    refused = properties.refused | frozenset(kelp.settings.nas.refused)
    plain = names.escape(entry.name, refused)
    wanted: dict[str, tuple[str, str, str, str]] = {}
    clashing = []
    for version, stamp, nas_name, _ in kept:
        name = nas_name if nas_name == plain else names.nas_file_name(stamp, entry.name, version, refused)
        key = names.nas_key(name, properties.folds_case)
        if key in wanted:
            clashing.append((version, stamp))
        else:
            wanted[key] = (version, stamp, name, key)
    for key in tx.entries.nas_names_taken(entry.parent_id, list(wanted), entry_id):
        clashing.append(wanted.pop(key)[:2])
    before = set(kept)
    tx.versions.place(place for place in wanted.values() if place not in before)
    for version, stamp in clashing:
        place = nas_place(kelp, tx, entry.parent_id, entry.name, entry.kind, (0, version), stamp, version=version)
        chosen = (place["nas_stamp"], place["nas_desired_name"], place["nas_desired_key"])
        tx.versions.place([(version, *map(str, chosen))])  # type: ignore[list-item]  # three of them


def choose_nas_names(kelp: Kelp, tx: Tx, entry_id: int) -> None:
    """The names that an entry and its older contents shall have on the NAS are chosen anew, as far as others have
    them."""
    entry = tx.entries.as_stored(entry_id)
    if entry is None or entry.parent_id is None or entry.state != State.ACTIVE:
        return
    tx.seals.sure(entry.parent_id)  # else a process that has seen no vault takes sealed text for a name
    place = relocated_place(kelp, tx, entry, entry.parent_id, entry.name)
    tx.entries.update(entry_id, **place)
    place_versions(kelp, tx, entry_id)


def succeed(kelp: Kelp, tx: Tx, caller: Caller, here: Standing, new_id: int, new_uuid: str, now_ns: int) -> bool:
    """A file that fills a name left a moment ago on a drive face takes over the document (spec §6, versions).

    Not under a litter name: `x.tmp`, written anew for each save, is not the document that it became before.
    """
    memory = tx.name_memory.recall(here.folder_id, here.key)
    if memory is None:
        return False
    tx.name_memory.settle(here.folder_id, here.key)
    late = now_ns - memory[2] > _SAFE_SAVE_NS
    if not caller.on_drive or memory[0] == new_id or late or here.is_litter:
        return False
    tx.lock_rows([memory[0]])  # it may be somewhere else by now, and about to become another document
    old = tx.entries.get(memory[0])
    if old is None or old.kind != Kind.FILE:
        return False
    # What gives way in this very change is where it was, and the mirror sees who needs it before it goes from the NAS.
    gives_way = here.entry is not None and here.entry.id == old.id
    inherit(kelp, tx, caller, old, new_id, new_uuid, now_ns, keep=gives_way or _is_whole(tx, old))
    return True


def _is_whole(tx: Tx, old: Entry) -> bool:
    """Its content can be handed on. What is deleted for good nobody needs: the NAS may have lost it by now, and when it
    had left the cache before, so has everybody. Eviction takes nothing that only such rows have."""
    gone = any(state == State.DELETED for _, state, _ in tx.entries.ancestors(old.id))
    return not gone or (old.content_id is not None and tx.contents.cached(old.content_id))


def inherit(
    kelp: Kelp, tx: Tx, caller: Caller, old: Entry, new_id: int, new_uuid: str, now_ns: int, *, keep: bool = True
) -> None:
    """Entry `new_id` gets the versions, history and public uuid of `old`, whose content becomes its newest version,
    unless it is not to be kept."""
    if not may_wait() and tx.entries.has_long_history(old.id):
        raise Busy
    spare = str(uuid.uuid4())
    tx.entries.update(old.id, uuid=spare, succeeded_by=new_id)
    tx.entries.update(new_id, uuid=old.uuid)
    tx.versions.hand_over(old.id, new_id)
    tx.run("UPDATE file_events SET entry_id = :new WHERE entry_id = :old", new=new_id, old=old.id)
    if keep:
        keep_version(kelp, tx, caller, old, new_id, now_ns)
    place_versions(kelp, tx, new_id)
    if old.state == State.TRASHED:  # its place in the NAS's trash is named after the uuid
        announce(kelp, tx, caller, old.id, old.kind, EventType.TRASH, now_ns, what="replaced")


def announce(
    kelp: Kelp,
    tx: Tx,
    caller: Caller,
    entry_id: int,
    kind: Kind,
    event: EventType,
    now_ns: int,
    *,
    source: str | None = None,
    target: str | None = None,
    litter: bool = False,
    what: str = "",
    rushes: bool = True,
    number: int | None = None,
    joined: bool = False,
) -> None:
    """Write history and outbox row of a change, and nudge the queue once it is committed.

    `number`: of the event, where the entry's row has it (`events.awaited`). `joined`: it is there already, and waits.

    `rushes`: unless it is litter's, earlier ones of the entry that waited as such are due now; False: none can.
    """
    delay = nas_settings.read_in(kelp.settings, tx).delay if litter else 0.0
    scheduled = now_ns + int(delay * SECOND)
    trace_id = caller.trace_id or trace.current()
    if not joined:
        paths = {
            name: sealing.path_text(tx, entry_id, Text.EVENT_PATH, path)
            for name, path in (("source", source), ("target", target))
        }
        tx.events.add(
            entry_id, kind, event, **paths,
            trace_id=trace_id, now_ns=now_ns, scheduled_ns=scheduled, litter=litter, number=number,
        )  # fmt: skip
    if rushes and not litter and not joined:
        tx.events.expedite(entry_id, now_ns)
    detail = sealing.path_text(tx, entry_id, Text.HISTORY, target or source) or ""
    tx.entries.log(entry_id, what or event.value.lower(), caller.user_id, caller.face, detail, trace_id, now_ns)
    tx.after_commit(lambda: nudge(kelp, entry_id, trace_id, scheduled))


def nudge(kelp: Kelp, entry_id: int, trace_id: str, not_before_ns: int = 0) -> None:
    """Queue the mirror job. The change is committed: a queue that fails costs time, never the answer."""
    try:
        kelp.queue.enqueue("mirror", entry_id, trace_id, not_before_ns)
    except Exception:
        # Any fault of any queue: the outbox row is there and the sweep finds it.
        log.exception("the queue did not take entry %s, the sweep will", entry_id)


def free_name(kelp: Kelp, tx: Tx, folder_id: int, name: str, is_folder: bool) -> str:
    """ "name (1).ext": the first numbered name that is free in a folder (conflict strategy RENAME)."""
    for candidate in names.numbered(name, is_folder):
        key = sealing.key_in(kelp, tx, folder_id, candidate)
        if tx.entries.child(folder_id, key) is None and guard.claims_name(kelp, tx, folder_id, candidate):
            return candidate
    raise AssertionError("numbers do not end")


def renamed(here: Standing, kelp: Kelp, tx: Tx, is_folder: bool) -> Standing:
    """The same folder with the first free numbered name."""
    name = free_name(kelp, tx, here.folder_id, here.name, is_folder)
    key = sealing.key_in(kelp, tx, here.folder_id, name)
    return replace(here, name=name, key=key, entry=None)
