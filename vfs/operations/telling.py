"""Alerts are told to the sinks that settings name: each one's beginning and its end, once.

`alerts.untold` holds what is still to be told ("mail:begin webhook:begin webhook:end"). A round takes some of them for
itself by moving their `next_ns` on, tells them outside any transaction, and crosses out what was told. So two processes
never tell the same, and of one that dies in between they are told a second time rather than never.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vfs import trace
from vfs.core import Kelp
from vfs.errors import ConfigurationError
from vfs.metadata.alerts import Untold as Row
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.settings import Alerts
from vfs.sinks.mail import MailSink
from vfs.sinks.notice import Notice, Sink, Untold
from vfs.sinks.webhook import WebhookSink

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_GATHER_NS = 10 * _SECOND  # what comes together is told together, and what is over by then in one message
_TAKEN_NS = 300 * _SECOND  # longer than all sinks may take for one round
_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS = 30 * _SECOND, 86_400 * _SECOND
_LIMIT = 200  # alerts of one round


def sinks(settings: Alerts) -> list[Sink]:
    """Those that settings name; the log is told at once, by who opens or closes an alert."""
    found: list[Sink] = []
    if settings.mail_to:
        found.append(MailSink(settings))
    if settings.webhook:
        found.append(WebhookSink(settings))
    return found


def check(settings: Alerts) -> None:
    """At the start, not at the first alert. Raises ConfigurationError where nobody could ever be told."""
    for sink in sinks(settings):
        try:
            sink.check()
        except Untold as error:  # it names the setting, and quotes no secret
            raise ConfigurationError(f"wrong value: {error}") from None


def tell(kelp: Kelp) -> Done:
    """Tell what is due; what failed is tried again after 30 s, 1, 2, 4 … minutes, up to a day."""
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        due = [row for row in tx.alerts.untold(now, _LIMIT) if _is_ripe(row, now)]
    if not due:
        return Done()
    taken = _take(kelp, due, now)
    known = sinks(kelp.settings.alerts)
    told: dict[int, set[str]] = {row.id: _of_nobody(row, known) for row in taken}
    failed: set[int] = set()
    for sink in known:
        rows = [row for row in taken if _words_for(sink, row)]
        reached = _tell(sink, rows)
        for row in rows[:reached]:
            told[row.id].update(_words_for(sink, row))
        failed.update(row.id for row in rows[reached:])
    _record(kelp, taken, told, failed)
    return Done(len(taken) - len(failed), more=len(due) == _LIMIT and not failed)


def _is_ripe(row: Row, now_ns: int) -> bool:
    newest = row.opened_ns if row.closed_ns is None else row.closed_ns
    return not 0 <= now_ns - newest < _GATHER_NS  # one that is dated later was by a clock that was wrong


def _words_for(sink: Sink, row: Row) -> set[str]:
    return {word for word in row.untold.split() if word.partition(":")[0] == sink.name}


def _of_nobody(row: Row, known: Sequence[Sink]) -> set[str]:
    """Words for sinks that settings no longer name."""
    names = {sink.name for sink in known}
    return {word for word in row.untold.split() if word.partition(":")[0] not in names}


def _tell(sink: Sink, rows: Sequence[Row]) -> int:
    """How many of these were told; the rest would fail in the same way, and waits."""
    for first in range(0, len(rows), sink.at_once):
        some = rows[first : first + sink.at_once]
        try:
            with trace.under(some[0].trace_id), trace.span("alert.send", sink=sink.name, alerts=len(some)):
                sink.send([_notice(sink, row) for row in some])
        except Untold as error:
            level = logging.WARNING if any(row.tries == 0 for row in some) else logging.DEBUG
            log.log(level, "alerts cannot be told by %s: %s", sink.name, error)
            return first
    return len(rows)


def _notice(sink: Sink, row: Row) -> Notice:
    whats = {word.partition(":")[2] for word in _words_for(sink, row)}
    return Notice(
        "both" if len(whats) > 1 else whats.pop(),
        row.uuid, row.kind, row.subject, row.severity, row.message, row.count, row.opened_ns, row.closed_ns,
        row.trace_id,
    )  # fmt: skip


@retried
def _take(kelp: Kelp, rows: list[Row], now_ns: int) -> list[Row]:
    """Those that no other process took meanwhile, and that are still as they were seen."""
    with kelp.database.write(quiet=True) as tx:
        return [row for row in rows if tx.alerts.take(row, now_ns + _TAKEN_NS)]


@retried
def _record(kelp: Kelp, rows: list[Row], told: dict[int, set[str]], failed: set[int]) -> None:
    """Cross out what was told. When something was, a sink works (again), and what waits long for one is due."""
    now = kelp.clock.now_ns()
    with kelp.database.write(quiet=True) as tx:
        if any(told.values()):
            tx.alerts.tell_soon(now + _TAKEN_NS, now)  # but for what another process has taken
        for row in rows:
            pause = min(_FIRST_PAUSE_NS << min(row.tries, 20), _LONGEST_PAUSE_NS)
            tx.alerts.told(row.id, told[row.id], now + pause if row.id in failed else 0, failed=row.id in failed)


def test(kelp: Kelp) -> list[tuple[str, str, str]]:
    """Send each sink a message; (name, who is told, what went wrong or "") of each."""
    outcomes = []
    now = kelp.clock.now_ns()
    notice = Notice("test", "-", "TEST", "", "info", "this is a test, nothing is wrong", 1, now, now)
    for sink in sinks(kelp.settings.alerts):
        try:
            sink.send([notice])
            outcomes.append((sink.name, sink.target, ""))
        except Untold as error:
            outcomes.append((sink.name, sink.target, str(error)))
    return outcomes
