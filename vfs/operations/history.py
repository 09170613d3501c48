"""History is kept for a time: who did what, which changes were carried to the NAS, what admins were told.

These tables grow at their end, so what is old is at their head. One look there says whether anything is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vfs.core import Kelp
from vfs.metadata.pruning import Pruning
from vfs.metadata.retrying import retried
from vfs.model import Done

_LIMIT = 500  # rows of one transaction
_ROUND = 2.0  # seconds of one round
_DAY = 86_400 * 1_000_000_000

_Look = Callable[[Pruning, int, int], list[tuple[int, int, bool]]]  # after which id, how many → id, time, may go
_Forget = Callable[[Pruning, Sequence[int]], None]


def forget_history(kelp: Kelp) -> Done:
    """Who did what when, after `history.keep_days`."""
    return _prune(kelp, kelp.settings.history.keep_days, Pruning.history, Pruning.forget_history)


def forget_events(kelp: Kelp) -> Done:
    """Changes that were carried to the NAS, after `history.events_days`. What failed stays."""
    return _prune(kelp, kelp.settings.history.events_days, Pruning.events, Pruning.forget_events)


def forget_alerts(kelp: Kelp) -> Done:
    """Alerts that are over, after `history.keep_days`."""
    return _prune(kelp, kelp.settings.history.keep_days, Pruning.alerts, Pruning.forget_alerts)


def _prune(kelp: Kelp, days: int, look: _Look, forget: _Forget) -> Done:
    """Go from the head as long as anything is old: rows that a wrong clock dated, or that stay, are passed over."""
    before = kelp.clock.now_ns() - days * _DAY
    until = time.monotonic() + _ROUND
    count, after = 0, 0
    while True:
        with kelp.database.scan() as tx:
            rows = look(tx.pruning, after, _LIMIT)
        old = [(id, may_go) for id, time_ns, may_go in rows if time_ns < before]
        due = [id for id, may_go in old if may_go]
        if due:
            _forget(kelp, forget, due)
            count += len(due)
        if not old or len(rows) < _LIMIT:
            return Done(count)
        after = rows[-1][0]
        if time.monotonic() >= until:
            return Done(count, more=count > 0)


@retried
def _forget(kelp: Kelp, forget: _Forget, ids: list[int]) -> None:
    with kelp.database.write() as tx:
        forget(tx.pruning, ids)
