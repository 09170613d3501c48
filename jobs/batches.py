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
from dataclasses import dataclass, replace
from enum import StrEnum

from jobs import mirror, outage
from vfs import metrics, trace
from vfs.core import Kelp
from vfs.errors import KelpError, NasDown
from vfs.model import Done
from vfs.operations import (
    away,
    cache_limits,
    evicting,
    expiring,
    freeing,
    history,
    manifesting,
    nas_health,
    nas_state,
    orphans,
    pinning,
    purging,
    restoring,
    rewrapping,
    scrubbing,
    session_expiry,
    stuck,
    telling,
    tokens,
    watching,
)
from vfs.settings import Settings

log = logging.getLogger(__name__)

_MINUTE, _HOUR = 60.0, 3600.0
_FIRST = 60.0  # seconds after its start in which a process that has just started leaves people its time
_AFTER_FAILURE = 5.0  # seconds, at least
_SOON = 1.0  # seconds, where there is more to do: people have their turn between


class Group(StrEnum):
    QUICK = "quick"  # people wait for what these do: nothing among them takes long
    NAS = "nas"  # may hang as long as the NAS does
    EVICTING = "evicting"  # … as may this, and nobody's upload waits until it is over
    TELLING = "telling"  # … or as whoever is told
    SLOW = "slow"
    SCRUB = "scrub"

    @property
    def needs_nas(self) -> bool:
        return self in (Group.NAS, Group.EVICTING, Group.SCRUB)

    @property
    def look(self) -> float:
        """Seconds between two looks whose duty it is; a duty ends by itself after 2.5 of them."""
        return 10.0 if self in (Group.QUICK, Group.EVICTING) else 60.0


@dataclass(frozen=True, slots=True)
class Batch:
    """`did` says what was counted: "objects freed: 3, 4096 bytes, in 0.1 s"; `name` is its label among the metrics."""

    name: str
    did: str
    group: Group
    seconds: float | Callable[[Settings], float]  # between the end of one round and the beginning of the next
    round: Callable[[Kelp], Done]
    frees: bool = False  # `kelp gc` runs it at once …
    at_once: Callable[[Kelp], Done] | None = None  # … or this, where a round waits for its time by itself
    first: float = _FIRST  # seconds from the start to the first round, when that is less

    def pause(self, settings: Settings) -> float:
        return self.seconds(settings) if callable(self.seconds) else self.seconds


def _nas_health(kelp: Kelp) -> Done:
    """A drive that nobody changes finds an outage too, which its alert tells."""
    try:
        return nas_health.check(kelp)
    except NasDown as error:
        outage.declare(kelp, error)
        return Done()


BATCHES: tuple[Batch, ...] = (
    Batch("nas-health", "files written to the NAS", Group.NAS, lambda each: each.nas.health, _nas_health, first=1),
    Batch("waiting", "bytes that wait counted", Group.QUICK, 5, nas_state.count_waiting),
    Batch("evict", "objects evicted", Group.EVICTING, 0.5, evicting.run, first=2),
    Batch("cache", "", Group.EVICTING, 10, cache_limits.look, first=1),
    Batch("pins", "objects of pinned files restored", Group.EVICTING, _MINUTE, pinning.warm_pinned, first=10),
    Batch("restores", "restores and leases of the dead given up", Group.SLOW, _MINUTE, restoring.give_up_stale),
    Batch("found-again", "lost objects that the cache has after all", Group.SLOW, _MINUTE, restoring.find_again),
    Batch("tidy", "temporary files removed from the NAS", Group.NAS, 6 * _HOUR, mirror.tidy, frees=True, first=0),
    Batch("cache-away", "", Group.TELLING, 15, away.look_at_cache),
    Batch("queue-away", "", Group.TELLING, 15, away.look_at_queue),
    Batch("telling", "alerts told", Group.TELLING, 5, telling.tell),
    Batch("scrub", "things verified", Group.SCRUB, 5, scrubbing.run),
    Batch("vault-keys", "vaults wrapped for new recipients", Group.QUICK, 5, rewrapping.run, first=2),
    Batch("vault-files", "vault.json made anew", Group.QUICK, 5, manifesting.run, first=3),
    Batch("failed", "", Group.QUICK, 10, stuck.end_alert),
    Batch("stuck", "changes queued again that nobody would have carried", Group.SLOW, 10 * _MINUTE, stuck.queue_again),
    Batch("trash", "trash items expired", Group.SLOW, _MINUTE, expiring.expire_trash, frees=True),
    Batch("versions", "versions expired", Group.SLOW, _MINUTE, expiring.expire_versions, frees=True),
    Batch("below", "rows below purged folders", Group.SLOW, _MINUTE, purging.spread_deletion, frees=True),
    Batch("free", "objects freed", Group.SLOW, _MINUTE, freeing.free_contents, frees=True),
    Batch("orphans", "orphans removed", Group.SLOW, _MINUTE, orphans.remove_orphans, True, orphans.seek_orphans),
    Batch("uploads", "expired uploads cleaned up", Group.SLOW, _HOUR, session_expiry.expire, frees=True),
    Batch("names", "names forgotten", Group.SLOW, 10 * _MINUTE, expiring.forget_names, frees=True),
    Batch("changes", "rows of the change log dropped", Group.SLOW, 10 * _MINUTE, watching.prune, frees=True),
    Batch("deleted", "rows of deleted entries dropped", Group.SLOW, _HOUR, purging.forget_deleted, frees=True),
    Batch("history", "rows of history dropped", Group.SLOW, _HOUR, history.forget_history, frees=True),
    Batch("events", "rows of finished changes dropped", Group.SLOW, _HOUR, history.forget_events, frees=True),
    Batch("upload-rows", "rows of ended uploads dropped", Group.SLOW, _HOUR, session_expiry.forget, frees=True),
    Batch("tokens", "rows of ended tokens dropped", Group.SLOW, _HOUR, tokens.forget, frees=True),
    Batch("alerts", "rows of alerts dropped", Group.SLOW, _HOUR, history.forget_alerts, frees=True),
    Batch("database-log", "logs of the database emptied", Group.SLOW, 10 * _MINUTE, purging.empty_log, frees=True),
)


def run(kelp: Kelp, batch: Batch) -> Done:
    """One round, timed; one line in the log when it did something. Raises what the round does."""
    begun = time.monotonic()
    try:
        done = batch.round(kelp)
    except Exception:
        metrics.BATCH_FAILURES.labels(batch.name).inc()
        raise
    seconds = time.monotonic() - begun
    metrics.BATCH_SECONDS.labels(batch.name).observe(seconds)
    if done.count:
        size = f", {done.bytes} bytes" if done.bytes else ""
        log.info("%s: %d%s, in %.1f s", batch.did, done.count, size, seconds)
    return done


def _complain(batch: Batch, outcome: Done | KelpError) -> None:
    if isinstance(outcome, KelpError):
        log.warning("%s: %s", batch.name, outcome)


def run_all(
    kelp: Kelp, batches: Iterable[Batch] = BATCHES, tell: Callable[[Batch, Done | KelpError], object] = _complain
) -> None:
    """Rounds of each until there is no more, now, whosever duty it is. What fails does not keep the others."""
    for batch in batches:
        total = Done(more=True)
        try:
            while total.more:
                done = run(kelp, batch)
                total = Done(total.count + done.count, total.bytes + done.bytes, done.more)
            tell(batch, total)
        except KelpError as error:
            tell(batch, error)


def free_all(kelp: Kelp, tell: Callable[[str, str, Done | KelpError], object]) -> None:
    """For `kelp gc`: all that frees something, in the order of the table."""
    freeing = [replace(batch, round=batch.at_once or batch.round) for batch in BATCHES if batch.frees]
    run_all(kelp, freeing, lambda batch, outcome: tell(batch.name, batch.did, outcome))


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
                done = self._guarded(batch)
                pause = batch.pause(self._kelp.settings)
                if done is None:
                    pause = max(pause, _AFTER_FAILURE)
                elif done.more:
                    pause = min(pause, _SOON)
                self._due[batch.name] = time.monotonic() + pause

    def seconds_to_wait(self) -> float:
        """Until one is due; infinite when the group is empty."""
        return max(0.0, min(self._due.values(), default=math.inf) - time.monotonic())

    def _guarded(self, batch: Batch) -> Done | None:
        """A loop never ends by an error. The same complaint is logged once, not every few seconds of an outage."""
        done, complaint = None, ""
        with trace.round_of("cleanup", batch.name):
            try:
                done = run(self._kelp, batch)
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
        return done
