"""What is done again and again beside the mirror: one table, and how its rounds run.

A round is safe to run twice, in two processes at once, and to be killed in. It commits nothing when there is nothing to
do: on SQLite every commit makes all processes forget what they have in memory. The batches of one group run one after
another in a thread of their own, in the one process that has the group's duty (`operations/duties.py`), so a group
that hangs holds up no other. They need no queue: what they look at is the database.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from jobs import mirror, outage
from vfs import trace
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown
from vfs.model import Done
from vfs.operations import expiring, housekeeping, nas_health, nas_state, purging
from vfs.settings import Settings

log = logging.getLogger(__name__)

_MINUTE, _HOUR = 60.0, 3600.0
_FIRST = 60.0  # seconds after its start in which a process that has just started leaves people its time
_AFTER_FAILURE = 5.0  # seconds, at least


class Group(StrEnum):
    QUICK = "quick"  # people wait for what these do: nothing among them takes long
    NAS = "nas"  # may hang as long as the NAS does
    TELLING = "telling"  # … or as whoever is told
    SLOW = "slow"
    SCRUB = "scrub"

    @property
    def look(self) -> float:
        """Seconds between two looks whose duty it is; a duty ends by itself after 2.5 of them."""
        return 10.0 if self is Group.QUICK else 60.0


@dataclass(frozen=True, slots=True)
class Batch:
    """`name` says what was counted: "objects freed: 3, 4096 bytes"."""

    name: str
    group: Group
    seconds: float | Callable[[Settings], float]  # between the end of one round and the beginning of the next
    round: Callable[[Kelp], Done]
    frees: bool = False  # `kelp gc` runs it at once
    first: float = _FIRST  # seconds from the start to the first round, when that is less

    def pause(self, settings: Settings) -> float:
        return self.seconds(settings) if callable(self.seconds) else self.seconds


def _nas_health(kelp: Kelp) -> Done:
    """A drive that nobody changes finds an outage too."""
    try:
        return nas_health.check(kelp)
    except NasDown as error:
        outage.declare(kelp, error)
        raise


BATCHES: tuple[Batch, ...] = (
    Batch("NAS health", Group.NAS, lambda settings: settings.nas.health, _nas_health, first=1),
    Batch("bytes that wait for the NAS", Group.QUICK, 5, nas_state.count_waiting),
    Batch("temporary files removed from the NAS", Group.NAS, 6 * _HOUR, mirror.tidy, frees=True, first=0),
    Batch("trash items expired", Group.SLOW, _MINUTE, expiring.expire_trash, frees=True),
    Batch("versions expired", Group.SLOW, _MINUTE, expiring.expire_versions, frees=True),
    Batch("rows below purged folders", Group.SLOW, _MINUTE, purging.spread_deletion, frees=True),
    Batch("objects freed", Group.SLOW, _MINUTE, lambda kelp: Done(housekeeping.free_contents(kelp)), frees=True),
    Batch("orphans removed", Group.SLOW, _MINUTE, lambda kelp: Done(housekeeping.remove_orphans(kelp)), frees=True),
    Batch("names forgotten", Group.SLOW, _MINUTE, expiring.forget_names),
)


def run(kelp: Kelp, batch: Batch) -> Done:
    """One round, timed; one line in the log when it did something. Raises what the round does."""
    begun = time.monotonic()
    done = batch.round(kelp)
    if done.count:
        size = f", {done.bytes} bytes" if done.bytes else ""
        log.info("%s: %d%s, in %.1f s", batch.name, done.count, size, time.monotonic() - begun)
    return done


def run_all(kelp: Kelp, batches: Iterable[Batch] = BATCHES) -> None:
    """One round of each, now, whosever duty it is; what fails is logged, and the others go on."""
    for batch in batches:
        try:
            run(kelp, batch)
        except KelpError as error:
            log.warning("%s: %s", batch.name, error)


class Rounds:
    """When each batch of one group is due in this process, and what it last complained of."""

    def __init__(self, kelp: Kelp, group: Group, batches: Iterable[Batch] = BATCHES) -> None:
        self._kelp = kelp
        self._batches = [batch for batch in batches if batch.group is group]
        now = time.monotonic()
        self._due = {batch.name: now + min(batch.first, batch.pause(kelp.settings)) for batch in self._batches}
        self._complaint: dict[str, str] = {}

    def run_due(self, may_go_on: Callable[[], bool]) -> None:
        """A round of each that is due; `may_go_on` is asked before each."""
        for batch in self._batches:
            if time.monotonic() >= self._due[batch.name] and may_go_on():
                worked = self._guarded(batch)
                pause = batch.pause(self._kelp.settings)
                self._due[batch.name] = time.monotonic() + (pause if worked else max(pause, _AFTER_FAILURE))

    def seconds_to_wait(self) -> float:
        """Until one is due; infinite when the group is empty."""
        return max(0.0, min(self._due.values(), default=math.inf) - time.monotonic())

    def _guarded(self, batch: Batch) -> bool:
        """A loop never ends by an error. The same complaint is logged once, not every few seconds of an outage."""
        complaint = ""
        with trace.under(trace.new_id("batch")):
            try:
                run(self._kelp, batch)
            except KelpError as error:
                complaint = str(error)
                if complaint != self._complaint.get(batch.name):
                    log.warning("%s: %s", batch.name, complaint)
            except Exception as error:
                complaint = repr(error)
                if complaint != self._complaint.get(batch.name):
                    log.exception("%s failed", batch.name)
            if self._complaint.get(batch.name) and not complaint:
                log.warning("%s: works again", batch.name)
        self._complaint[batch.name] = complaint
        return not complaint
