"""The NAS goes away and comes back: one row that every process sees, and one alert for each outage (design §5).

A machine may have lost its mount while others reach the NAS. Whoever meets the fault says "down", so that nobody tries
in vain; whoever reaches the NAS a few seconds later says "up" again. The row remembers the first as away: it parks its
own jobs until it reaches the NAS itself, and the others carry the changes. As long as a machine is away, those that
are not confirm now and then that they still reach the NAS; when nobody has for long, it is down after all.

Each change of the row is a compare-and-set with its alert in the same transaction: however many processes see an
outage, it has one beginning and one end.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from dataclasses import asdict, replace

from vfs.core import Kelp
from vfs.errors import Conflict, NasDown
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.operations import alerts, backlog, nas_state
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.nas_state import NasState

log = logging.getLogger(__name__)

HERE = socket.gethostname()

_SECOND = 1_000_000_000
_CONFIRM_NS = 20 * _SECOND  # between two signs that somebody reaches the NAS, while another does not
_SILENCE_NS = 300 * _SECOND  # without a sign, nobody reaches it; more than two machines' clocks differ
_GONE_NS = 600 * _SECOND  # a machine that is away and says nothing for so long does not run any more
_GRACE_NS = 60 * _SECOND  # an admin hears of a machine that is away for longer


def is_up(kelp: Kelp, host: str = HERE) -> bool:
    """Jobs of this machine may use the NAS. What the drive shows depends on `nas_state.read` alone."""
    state = nas_state.read(kelp)
    return state.up and host not in state.away


def is_away(kelp: Kelp, host: str = HERE) -> bool:
    """This machine does not reach the NAS, and another does."""
    state = nas_state.read(kelp)
    return state.up and host in state.away


def declare(kelp: Kelp, error: NasDown, host: str = HERE) -> None:
    """`host` does not reach the NAS."""
    full = is_full(error)
    _change(kelp, host, lambda state, now: lost(state, host, str(error), now, full=full))


def is_full(error: NasDown) -> bool:
    """It answers, and has no room."""
    return error.reason in ("ENOSPC", "EDQUOT")


def probe(kelp: Kelp, host: str = HERE) -> bool:
    """Ask the NAS, and note when `host` reaches it again, or no longer; True when it does."""
    before = nas_state.read(kelp)
    try:
        kelp.nas.probe()
        if before.full:
            _require_room(kelp)
    except NasDown as error:
        log.debug("the NAS does not answer: %s", error)
        declare(kelp, error, host)
        return False
    _change(kelp, host, lambda state, now: reached(state, host, now))
    return True


def _require_room(kelp: Kelp) -> None:
    """After "full", room for the smallest waiting file, else every file would be tried in vain."""
    needed = nas_state.smallest_waiting(kelp) + nas_state.RESERVE
    if kelp.nas.usage().free < needed:
        raise NasDown("the NAS is full", "ENOSPC")


def needs_sign(state: NasState, now_ns: int) -> bool:
    """Some machine is away, and it is time to say that another is not."""
    return state.up and bool(state.away) and not 0 <= now_ns - state.confirmed_ns < _CONFIRM_NS


def lost(state: NasState, host: str, reason: str, now_ns: int, *, full: bool) -> NasState:
    """`host` met a fault of the NAS."""
    marks = state.away.get(host)
    away = state.away
    if marks is None or (state.up and now_ns - marks[1] >= _CONFIRM_NS):
        away = {**away, host: (marks[0] if marks else now_ns, now_ns)}
    if state.up and (host not in state.away or now_ns - state.confirmed_ns > _SILENCE_NS):
        return NasState(False, reason, now_ns, full, away, state.confirmed_ns)
    return replace(state, away=away)


def reached(state: NasState, host: str, now_ns: int) -> NasState:
    """`host` reached the NAS."""
    others = {other: marks for other, marks in state.away.items() if other != host}
    if not state.up:  # these may reach it too, and say so with their next probe
        others = dict.fromkeys(others, (now_ns, now_ns))
        return NasState(True, "", now_ns, False, others, now_ns)
    heard = {other: marks for other, marks in others.items() if now_ns - marks[1] < _GONE_NS}
    confirmed = now_ns if needs_sign(state, now_ns) else state.confirmed_ns
    return replace(state, away=heard, confirmed_ns=confirmed)


@retried
def _change(kelp: Kelp, host: str, change: Callable[[NasState, int], NasState]) -> None:
    with kelp.database.read() as tx:
        seen = tx.accounts.value("nas")
    before, now = nas_state.parse(seen), kelp.clock.now_ns()
    after = change(before, now)
    missed = host in after.away and after.up and now - after.away[host][0] >= _GRACE_NS and not _is_told(kelp, host)
    if after == before and not missed:
        return
    waiting = backlog.waiting(kelp) if after.up and not before.up else 0
    with kelp.database.write() as tx:
        if after != before and not tx.accounts.swap("nas", seen, json.dumps(asdict(after))):
            raise Conflict("another process noted the state of the NAS")
        _tell(kelp, tx, before, after, waiting)
        if missed:
            message = (
                f"the NAS cannot be reached from {host}, other machines carry the changes: look at its mount there"
            )
            alerts.open_in(kelp, tx, AlertKind.NAS_DOWN, message, subject=host, severity=Severity.WARNING)


def _is_told(kelp: Kelp, host: str) -> bool:
    with kelp.database.read() as tx:
        return tx.alerts.is_open(AlertKind.NAS_DOWN, host)


def _tell(kelp: Kelp, tx: Tx, before: NasState, after: NasState, waiting: int) -> None:
    if before.up and not after.up:
        message = f"the NAS is down: {after.reason}; changes wait, nothing is lost"
        alerts.open_in(kelp, tx, AlertKind.NAS_DOWN, message)
    elif after.up and not before.up:
        seconds = max(0, after.since_ns - before.since_ns) // _SECOND
        wait = f"{waiting} {'entry waits' if waiting == 1 else 'entries wait'} to be carried"
        alerts.close_in(kelp, tx, AlertKind.NAS_DOWN, f"the NAS is back after {seconds} s, {wait}")
    for host in before.away.keys() - after.away.keys():
        alerts.close_in(kelp, tx, AlertKind.NAS_DOWN, f"{host} reaches the NAS again, or runs no more", subject=host)
