"""Can the drive take and give files? What balancers ask every second; a look is cheap, and hangs as its part does.

What stands in the way of no file (NAS, limits, jobs) is told beside it, by a look of its own; so is the backlog, since
to count a long one takes long.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.errors import ObjectMissing
from vfs.metadata.figures import Figures, Waiting
from vfs.operations import nas_health, nas_state
from vfs.operations.alerts import AlertKind
from vfs.operations.nas_health import Health

_NO_OBJECT = "ready"  # a key that no object has: keys are random
_SECOND = 1_000_000_000
_MISSED = 3  # looks at the NAS that did not come: then nobody runs the jobs


@dataclass(frozen=True, slots=True)
class State:
    """What a few rows tell of the drive's daily life.

    `silent_ns`: since when no process runs the jobs, 0 while one does. `alerts`: how many are open. A store is
    "nearly full" while there is an alert of it, the NAS "full" when it is down for want of room; else "ok".
    """

    health: Health
    silent_ns: int
    alerts: int
    cache_room: str
    nas_room: str


def ask_database(kelp: Kelp) -> None:
    """Raises StoreUnavailable."""
    with kelp.database.read() as tx:
        tx.one("SELECT 1 FROM installation WHERE name = 'id'")


def ask_cache(kelp: Kelp) -> None:
    """Raises StoreUnavailable."""
    kelp.cache.usage()
    with contextlib.suppress(ObjectMissing):
        kelp.cache.stat(_NO_OBJECT)


@dataclass(frozen=True, slots=True)
class Backlog:
    """`oldest_seconds`: age of the oldest change that the NAS lacks, 0: there is none."""

    waiting: Waiting
    oldest_seconds: int


def ask_state(kelp: Kelp) -> State:
    """Raises StoreUnavailable."""
    with kelp.database.scan() as tx:
        alerts = Figures(tx).open_alerts()
    health = nas_health.read(kelp)
    kinds = {kind for kind, _ in alerts}
    return State(
        health,
        silent_since(kelp, health),
        int(sum(alerts.values())),
        "nearly full" if AlertKind.CACHE_NEARLY_FULL in kinds else "ok",
        "full" if nas_state.read(kelp).full else "nearly full" if AlertKind.NAS_NEARLY_FULL in kinds else "ok",
    )


def ask_backlog(kelp: Kelp) -> Backlog:
    """Takes as long as the backlog is: a second or two for 1,000,000 changes. Raises StoreUnavailable."""
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        waiting = Figures(tx).waiting()
    return Backlog(waiting, 0 if waiting.oldest_ns is None else max(0, now - waiting.oldest_ns) // _SECOND)


def silent_since(kelp: Kelp, health: Health | None = None) -> int:
    """Since when nobody runs the jobs, 0 while somebody does: he looks at the NAS every minute, however that is."""
    last = (health or nas_health.read(kelp)).last
    longest = int((_MISSED * kelp.settings.nas.health + 60) * _SECOND)
    return last.at_ns if last is not None and kelp.clock.now_ns() - last.at_ns > longest else 0
