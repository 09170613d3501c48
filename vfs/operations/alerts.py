"""What an admin must know: raised and cleared here, once for all sinks (log, e-mail, webhook).

An alert is open from its beginning to its end, so an outage is one alert and its end another message. What happens
again meanwhile is counted. It is written in the transaction of the caller where that tells of it, else in its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from vfs import metrics, trace
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller

log = logging.getLogger(__name__)

_LONGEST = 500  # characters of a message


class AlertKind(StrEnum):
    """Each open at most once for a subject. The subject is "" unless it says so."""

    NAS_DOWN = "NAS_DOWN"
    NAS_SLOW = "NAS_SLOW"
    NAS_NEARLY_FULL = "NAS_NEARLY_FULL"
    MIRROR_FAILED = "MIRROR_FAILED"  # entries whose last retry failed: one alert for all
    TARGET_FOLDER_DELETED = "TARGET_FOLDER_DELETED"  # subject: the entry's uuid
    CACHE_NEARLY_FULL = "CACHE_NEARLY_FULL"  # 80 % of cache.hard_limit wait for the NAS
    CACHE_AWAY = "CACHE_AWAY"
    CACHE_EMPTIED = "CACHE_EMPTIED"  # objects that it had are gone: one alert however many
    QUEUE_AWAY = "QUEUE_AWAY"
    CONTENT_LOST = "CONTENT_LOST"  # subject: the content's id, "" beyond twenty; bad or absent in cache and NAS
    CONTENT_REPAIRED = "CONTENT_REPAIRED"  # bad on one side, made good from the other
    NAS_FILE_CHANGED = "NAS_FILE_CHANGED"  # by somebody else
    CLEANUP_FAILED = "CLEANUP_FAILED"  # subject: the batch
    UPLOAD_EXPIRES = "UPLOAD_EXPIRES"  # subject: the session's uuid; a reminder


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_LEVEL = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


@dataclass(frozen=True, slots=True)
class Alert:
    """`closed_ns` None: it is still so."""

    uuid: str
    kind: str
    subject: str
    severity: str
    message: str
    count: int
    opened_ns: int
    last_ns: int
    closed_ns: int | None


def open_in(
    kelp: Kelp, tx: Tx, kind: AlertKind, message: str, subject: str = "", severity: Severity = Severity.ERROR
) -> bool:
    """Raise an alert with the caller's transaction; True when it was not open before. Logged once it is committed."""
    now = kelp.clock.now_ns()
    message = _one_line(message)
    is_new = tx.alerts.open(kind, subject, severity, message, trace.current(), now, _untold(kelp, "begin"))
    if is_new:
        tx.after_commit(lambda: metrics.ALERTS.labels(kind).inc())
        tx.after_commit(lambda: log.log(_LEVEL[severity], "alert %s%s: %s", kind, _about(subject), message))
    return is_new


def close_in(kelp: Kelp, tx: Tx, kind: AlertKind, message: str, subject: str | None = "") -> bool:
    """Tell its end with the caller's transaction (subject None: of all of this kind); True when it was open."""
    message = _one_line(message)
    ended = tx.alerts.close(kind, subject, message, kelp.clock.now_ns(), _untold(kelp, "end"))
    if ended:
        tx.after_commit(lambda: log.warning("alert %s%s is over: %s", kind, _about(subject), message))
    return ended > 0


@retried
def open_(kelp: Kelp, kind: AlertKind, message: str, subject: str = "", severity: Severity = Severity.ERROR) -> bool:
    """`open_in` in a transaction of its own."""
    with kelp.database.write() as tx:
        return open_in(kelp, tx, kind, message, subject, severity)


def close(kelp: Kelp, kind: AlertKind, message: str, subject: str | None = "") -> bool:
    """`close_in` in a transaction of its own; where none is open, nothing is written."""
    with kelp.database.read() as tx:
        if not tx.alerts.is_open(kind, subject):
            return False
    return _close(kelp, kind, message, subject)


@retried
def _close(kelp: Kelp, kind: AlertKind, message: str, subject: str | None) -> bool:
    with kelp.database.write() as tx:
        return close_in(kelp, tx, kind, message, subject)


@retried
def close_one(kelp: Kelp, uuid: str, message: str) -> None:
    """End one alert by its id; when it is still so, it will be raised anew. Raises NotFound."""
    with kelp.database.write() as tx:
        found = tx.alerts.close_one(uuid, _one_line(message), kelp.clock.now_ns(), _untold(kelp, "end"))
        if found is None:
            raise NotFound(f"there is no open alert {uuid}")
        kind, subject = found
        tx.after_commit(lambda: log.warning("alert %s%s is closed: %s", kind, _about(subject), message))


def listing(kelp: Kelp, limit: int = 50, *, only_open: bool = True) -> list[Alert]:
    """Newest first."""
    with kelp.database.scan() as tx:
        return [Alert(*row) for row in tx.alerts.listing(limit, only_open=only_open)]


def page(
    kelp: Kelp, caller: Caller, limit: int, before: int | None = None, *, only_open: bool = True
) -> tuple[list[Alert], int | None]:
    """Newest first, and what to ask with for the next page (None: this was the last). An admin sees all, others what
    is about their uploads and files."""
    user_id = None if caller.administers else caller.user_id
    with kelp.database.scan() as tx:
        rows = tx.event_log.alerts(limit + 1, before, only_open=only_open, user_id=user_id)
    shown = rows[:limit]
    return [Alert(*row[1:]) for row in shown], shown[-1][0] if len(rows) > limit else None


def _one_line(message: str) -> str:
    """Faults quote strangers: names of files, words of servers."""
    return " ".join(message.split())[:_LONGEST]


def _about(subject: str | None) -> str:
    return f" ({subject})" if subject else ""


def _untold(kelp: Kelp, what: str) -> str:
    """Words for the sinks that settings name: "mail:begin webhook:begin"; the log is told at once."""
    settings = kelp.settings.alerts
    sinks = [name for name, there in (("mail", settings.mail_to), ("webhook", settings.webhook)) if there]
    return " ".join(f"{sink}:{what}" for sink in sinks)
