"""Set right what is bad on one side from the other, or tell that both are bad.

The good side is proved first, by reading it. What only one store has is never taken from it: an object that is bad
stays until its replacement is at hand, and a file on the NAS is written anew by the mirror, which replaces it by a
rename. What somebody else changed on the NAS is not touched.
"""

from __future__ import annotations

import logging

from vfs import trace
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, ContentLost, KelpError, ObjectMissing
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.metadata.verifying import Held
from vfs.model import Content, EventType, Kind
from vfs.operations import alerts, restoring
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.restoring import Outcome

log = logging.getLogger(__name__)

_DOUBTED = ContentCorrupt("to be read again")


# --- the cache, from the NAS ------------------------------------------------------------------------


def replace_object(kelp: Kelp, key: str, fault: KelpError = _DOUBTED) -> bool:
    """An object that is absent or bad, or was given up, comes anew from the NAS.

    `fault`: what was found. False when the NAS cannot give it either, which raises an alert, or while somebody else is
    at it. Raises StoreUnavailable.
    """
    with kelp.database.read() as tx:
        content = tx.verifying.content_with(key)
        on_nas = content is not None and bool(tx.verifying.copies(content.id))
    number = next((n for n, part in enumerate(content.parts) if part.key == key), None) if content else None
    if content is None or number is None:
        return False
    try:
        outcome = restoring.restore_part(kelp, content, number, fault)
    except ContentLost as error:
        log.warning("%s: %s", key, error)
        return False
    # Without room in the cache it is as if it had been evicted.
    return outcome in (Outcome.PRESENT, Outcome.RESTORED) or (outcome is Outcome.NO_ROOM and on_nas)


def is_gone(kelp: Kelp, key: str) -> bool:
    """For orphans, which `orphans` removes: by the clock of the store, since an upload may be under way."""
    try:
        kelp.cache.stat(key)
    except ObjectMissing:
        return True
    return False


# --- the NAS, from the cache ------------------------------------------------------------------------


def write_again(kelp: Kelp, held: Held, path: str) -> bool:
    """A file on the NAS that is absent, or bad though nobody changed it, is written anew by the mirror.

    False when the cache cannot give its content, not even from another file on the NAS, or the mirror has it just now.
    """
    if held.content_id is None:
        return False
    with kelp.database.read() as tx:
        content = tx.contents.get(held.content_id)
    if content is None or not content.checksum or not _bring_in(kelp, content):
        return False
    if kelp.nas.stat(path) is None:
        _make_folders(kelp, path.rpartition("/")[0])
    return _due_again(kelp, held, path)


def _bring_in(kelp: Kelp, content: Content) -> bool:
    """All of it is in the cache, proved by reading it, if need be after it was brought back from another file."""
    try:
        outcomes = {restoring.restore_part(kelp, content, number, _DOUBTED) for number in range(len(content.parts))}
    except ContentLost as error:
        log.warning("content %s: %s", content.id, error)
        return False
    return outcomes <= {Outcome.PRESENT, Outcome.RESTORED}


@retried
def _due_again(kelp: Kelp, held: Held, path: str) -> bool:
    """The NAS is not recorded to have it any more, and the mirror looks at the entry anew: in one commit, and only
    while all of it is in the cache."""
    now = kelp.clock.now_ns()
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        tx.lock_rows([held.entry_id])
        place = tx.verifying.place(held.entry_id, held.version)
        same = tx.verifying.held(held.entry_id, held.version) == held and place == (path, False)
        if not same or held.content_id is None or not tx.contents.cached(held.content_id):
            return False
        tx.verifying.unrecord(held)
        tx.events.add(
            held.entry_id, Kind.FILE, EventType.SYNC, source=None, target=None,
            trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
        )  # fmt: skip
        _tell_repaired(kelp, tx, path)
    return True


@retried
def describe_again(kelp: Kelp, held: Held) -> bool:
    """The manifest of a folder of a vault, which the database has, is written anew by the mirror."""
    now = kelp.clock.now_ns()
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        tx.lock_rows([held.entry_id])
        if tx.verifying.held(held.entry_id, held.version) != held:
            return False
        tx.verifying.undescribe(held)
        tx.events.add(
            held.entry_id, Kind.FOLDER, EventType.SYNC, source=None, target=None,
            trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
        )  # fmt: skip
    return True


def _tell_repaired(kelp: Kelp, tx: Tx, path: str) -> None:
    """One alert for all of them: when disks begin to fail, somebody should know."""
    message = f"files were bad on the NAS, and are written again from the cache; the last one was {path}"
    alerts.open_in(kelp, tx, AlertKind.CONTENT_REPAIRED, message, severity=Severity.WARNING)


def make_folder(kelp: Kelp, path: str) -> bool:
    """A recorded folder that somebody removed on the NAS is there again, empty; what was in it is found missing."""
    _make_folders(kelp, path)
    return True


def _make_folders(kelp: Kelp, path: str) -> None:
    """Every folder on the way; durably. Raises NasFault for anything else in its place."""
    made = ""
    for name in path.split("/") if path else ():
        above, made = made, f"{made}/{name}" if made else name
        if kelp.nas.stat(made) is None:
            kelp.nas.make_folder(made)
            kelp.nas.sync([above])


def has_other_source(kelp: Kelp, held: Held) -> bool:
    """By what is recorded, the cache or another file on the NAS has the content of this one."""
    if held.content_id is None:
        return True
    with kelp.database.read() as tx:
        others = [copy for copy in tx.verifying.copies(held.content_id) if copy[:2] != (held.entry_id, held.version)]
        return bool(others) or tx.contents.cached(held.content_id)
