"""How the NAS feels: a small file written and deleted every minute, timed (spec §11)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.operations import alerts, nas_settings, nas_state
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.nas_state import Capacity

_KEPT = 120  # measurements


class Feeling(StrEnum):
    HEALTHY = "healthy"
    SLOW = "slow"
    DOWN = "down"
    UNKNOWN = "unknown"  # nobody has looked yet


@dataclass(frozen=True, slots=True)
class Measurement:
    """`seconds` that the small file took; None: the NAS was down."""

    at_ns: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """`reason` is "" but when down. `since_ns`: since when it feels so. `history`: oldest first, the last one last."""

    feeling: Feeling
    reason: str
    since_ns: int
    history: tuple[Measurement, ...]
    capacity: Capacity | None

    @property
    def last(self) -> Measurement | None:
        return self.history[-1] if self.history else None


def check(kelp: Kelp) -> Done:
    """Measure, note, and tell when it changed. Of a NAS that is known to be down only that is noted.

    Raises NasDown when it is found down: whoever runs this declares it (`jobs/outage.py`).
    """
    down: NasDown | None = None
    seconds: float | None = None
    if nas_state.read(kelp).up:
        try:
            seconds = _measure(kelp)
        except NasDown as error:
            down = error
    _note(kelp, seconds)
    if down is not None:
        raise down
    return Done()


def _measure(kelp: Kelp) -> float:
    begun = time.perf_counter()
    kelp.nas.probe()
    seconds = time.perf_counter() - begun
    metrics.NAS_PROBE_SECONDS.observe(seconds)
    return seconds


def _note(kelp: Kelp, seconds: float | None) -> None:
    now = kelp.clock.now_ns()
    longest = nas_settings.read(kelp).slow
    slow = seconds is not None and seconds >= longest
    feeling = Feeling.DOWN if seconds is None else Feeling.SLOW if slow else Feeling.HEALTHY
    before = read(kelp)
    if feeling is Feeling.DOWN and before.last is not None and before.last.seconds is None:
        return  # an outage is noted once, not every minute of it
    since = before.since_ns if before.feeling is feeling else now
    history = (*before.history, Measurement(now, seconds))[-_KEPT:]
    _write(kelp, feeling, since, history)
    if slow:
        message = f"the NAS took {seconds:.1f} s for a small file, {longest:g} s is too long"
        alerts.open_(kelp, AlertKind.NAS_SLOW, message, severity=Severity.WARNING)
    elif seconds is not None:
        alerts.close(kelp, AlertKind.NAS_SLOW, f"the NAS took {seconds:.3f} s for a small file")


@retried
def _write(kelp: Kelp, feeling: Feeling, since_ns: int, history: tuple[Measurement, ...]) -> None:
    rounded = [[each.at_ns, None if each.seconds is None else round(each.seconds, 6)] for each in history]
    with kelp.database.write(quiet=True) as tx:
        tx.accounts.set_value("nas_health", json.dumps({"state": feeling, "since_ns": since_ns, "history": rounded}))


def read(kelp: Kelp) -> Health:
    """As last noted; down as soon as any process found it so."""
    with kelp.database.read() as tx:
        value = tx.accounts.value("nas_health")
    noted: dict[str, Any] = json.loads(value) if value else {"state": Feeling.UNKNOWN, "since_ns": 0, "history": []}
    history = tuple(Measurement(*each) for each in noted["history"])
    state = nas_state.read(kelp)
    if not state.up:
        return Health(Feeling.DOWN, state.reason, state.since_ns, history, nas_state.capacity(kelp))
    return Health(Feeling(noted["state"]), "", noted["since_ns"], history, nas_state.capacity(kelp))


def measure_now(kelp: Kelp) -> Health:
    """As a batch would, for who asks on the command line; what fails is in the answer."""
    try:
        check(kelp)
        nas_state.measure(kelp)
    except KelpError as error:
        found = read(kelp)
        return Health(Feeling.DOWN, str(error), found.since_ns, found.history, found.capacity)
    return read(kelp)
