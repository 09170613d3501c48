"""Multipart uploads that nobody ended: a reminder, then they expire, and their parts go (spec §6).

A session is EXPIRED first: from then on nobody completes it or sends a part, so its objects are nobody's. What a part
under way puts there afterwards, the orphan batch finds.
"""

from __future__ import annotations

import logging
from functools import partial

from vfs import metrics, trace
from vfs.core import Kelp
from vfs.errors import KelpError, StoreUnavailable
from vfs.metadata.retrying import retried
from vfs.metadata.upload_sessions import Session
from vfs.model import Done
from vfs.operations import alerts
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.limited import Call
from vfs.sinks.notice import time_in_words

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_REMINDER_NS = 6 * 3600 * _SECOND
_LIMIT = 100  # sessions of one round
_CALL = 5.0  # seconds that one call of the cache may take
_TOLERATED = 10  # clean-ups of one round that may fail before an admin hears of it
_SUBJECT = "uploads"
_TOGETHER = 500  # objects whose rows are looked for with one statement
_DAY = 86_400 * _SECOND


def expire(kelp: Kelp) -> Done:
    """One round: sessions whose parts went, and the bytes of these. What fails is tried again in the next."""
    _remind(kelp)
    _expire_due(kelp)
    with kelp.database.read() as tx:
        due = tx.uploads.uncleaned(_LIMIT)
    if not due:
        return Done()
    reclaimed, failures = 0, list[str]()
    for done, session in enumerate(due):
        try:
            reclaimed += clean(kelp, session)
        except StoreUnavailable as error:  # so it would be for the others, each after its own time-out
            failures += [str(error)] * (len(due) - done)
            break
        except KelpError as error:
            failures.append(str(error))
    if failures:
        log.warning("the parts of %d of %d expired uploads stay for now: %s", len(failures), len(due), failures[0])
    if len(failures) > _TOLERATED:
        message = f"the parts of {len(failures)} expired uploads could not be removed: {failures[0]}"
        alerts.open_(kelp, AlertKind.CLEANUP_FAILED, message, subject=_SUBJECT, severity=Severity.WARNING)
    elif not failures:
        alerts.close(kelp, AlertKind.CLEANUP_FAILED, "all parts of expired uploads are gone", subject=_SUBJECT)
    return Done(len(due) - len(failures), reclaimed)


def forget(kelp: Kelp) -> Done:
    """Rows of uploads that ended `history.events_days` ago."""
    before = kelp.clock.now_ns() - kelp.settings.history.events_days * _DAY
    with kelp.database.read() as tx:
        due = tx.uploads.ended_before(before, _TOGETHER)
    if due:
        with kelp.database.write() as tx:
            tx.uploads.forget(due)
    return Done(len(due), more=len(due) == _TOGETHER)


def _expire_due(kelp: Kelp) -> None:
    now = kelp.clock.now_ns()
    with trace.span("db.expired_uploading_sessions_select"), kelp.database.read() as tx:
        due = tx.uploads.expired(now, _LIMIT)
    for session in due:
        _expire_one(kelp, session, now)


@trace.step("db.session_status_update")
@retried
def _expire_one(kelp: Kelp, session: Session, now_ns: int) -> None:
    with kelp.database.write() as tx:
        if tx.uploads.expire(session, now_ns):
            alerts.close_in(kelp, tx, AlertKind.UPLOAD_EXPIRES, f"the upload of {session.name!r} ended", session.uuid)


@trace.step("seaweed.abort_multipart")
def clean(kelp: Kelp, session: Session) -> int:
    """Remove the objects of an upload that ended; bytes that went. Raises StoreUnavailable."""
    parts = _objects(kelp, session)
    reclaimed = 0
    for first in range(0, len(parts), _TOGETHER):
        some = dict(parts[first : first + _TOGETHER])
        with kelp.database.read() as tx:
            nobodys = tx.uploads.without_row(list(some))
        for key in nobodys:
            Call(partial(kelp.cache.delete, key)).result(_CALL)
            reclaimed += some[key]
            metrics.FREED.inc()
            metrics.FREED_BYTES.inc(some[key])
    _note_cleaned(kelp, session)
    return reclaimed


def _objects(kelp: Kelp, session: Session) -> list[tuple[str, int]]:
    """(key, bytes) of what it has in the cache: all that is named after it, and what its rows name (of vaults)."""
    found = {info.key: info.size for info in Call(lambda: list(kelp.cache.list(session.content_id))).result(_CALL)}
    with kelp.database.read() as tx:
        pieces = tx.uploads.pieces(session.id)
    found.update({piece.key: piece.size for piece in pieces if piece.sealed_key is not None})
    return list(found.items())


@trace.step("db.upload_parts_cleanup")
@retried
def _note_cleaned(kelp: Kelp, session: Session) -> None:
    with kelp.database.write() as tx:
        tx.uploads.cleaned(session, kelp.clock.now_ns())


# --- reminders: to the sinks, since no user's address is known ---


def _remind(kelp: Kelp) -> None:
    if not (kelp.settings.alerts.mail_to or kelp.settings.alerts.webhook):
        return
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        open_ = tx.alerts.open_subjects(AlertKind.UPLOAD_EXPIRES)
        over = tx.uploads.no_longer_reminded(open_, now + _REMINDER_NS)
        due = tx.uploads.unreminded(now, now + _REMINDER_NS, _LIMIT)
    for uuid in over:
        _take_back(kelp, uuid)
    for session in due:
        _remind_of(kelp, session, now)


@retried
def _take_back(kelp: Kelp, uuid: str) -> None:
    with kelp.database.write() as tx:
        tx.uploads.forget_reminder(uuid)
        alerts.close_in(kelp, tx, AlertKind.UPLOAD_EXPIRES, "the upload went on, or ended", uuid)


@retried
def _remind_of(kelp: Kelp, session: Session, now_ns: int) -> None:
    size = "" if session.size is None else f" of {session.size}"
    message = (
        f"the upload of {session.name!r} by {session.user_name or 'somebody'} ({session.sent}{size} bytes so far)"
        f" ends at {time_in_words(session.expires_ns)} unless it goes on"
    )
    with kelp.database.write() as tx:
        if tx.uploads.remind(session, now_ns):
            alerts.open_in(kelp, tx, AlertKind.UPLOAD_EXPIRES, message, session.uuid, Severity.INFO)
