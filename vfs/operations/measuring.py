"""`/metrics`: what was counted, and what the drive's state is just now, as Prometheus reads it.

Nothing of this names a file, a user or a host. What the database knows is asked when somebody wants to know: by one at
a time, in statements that walk what is open, not what there is; what takes longer is asked more seldom.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from vfs import metrics, turns
from vfs.core import Kelp
from vfs.counts import Counting
from vfs.metadata.figures import Figures
from vfs.metrics import Gauge
from vfs.operations import cache_limits, nas_health, nas_state
from vfs.operations.looks import PATIENCE, Look
from vfs.operations.nas_health import Feeling

_REST = 20.0  # times as long as it took nothing is asked again: at most 5 % of a connection
_SECOND = 1_000_000_000
_NOBODY_KNOWS = 1 << 50  # what a store says that cannot tell how large its disk is (S3)


class Page:
    """Made once for an application. Safe to use from many threads."""

    def __init__(self, kelp: Kelp, counting: Counting) -> None:
        self._kelp, self._counting = kelp, counting
        # A look of its own for each: one that hangs hides no other.
        self._looks = {
            "database": Look("database", lambda: list(_of_database(kelp)), why="metrics", rest=_REST, tells=False),
            "cache": Look("cache", lambda: list(_of_cache(kelp)), why="metrics", rest=_REST, tells=False),
        }

    def text(self) -> bytes:
        """Within seconds, whatever is away; what cannot be told is left out: missing, it is not taken for 0."""
        until = time.monotonic() + PATIENCE
        for look in self._looks.values():
            look.begin()
        with turns.waiting():
            seen = {part: look.result(until) for part, look in self._looks.items()}
        counts, gauges = self._counting.totals()
        up = {part: float(answer is not None) for part, answer in seen.items()}
        up["queue"] = float(not self._kelp.queue.state().away)
        gauges.append(Gauge.by("part", "up", "Whether a part of the drive answers", up))
        gauges.append(_about(self._kelp))
        for answer in seen.values():
            gauges.extend(answer[0] if answer else ())
        return metrics.text(counts, gauges)


def _about(kelp: Kelp) -> Gauge:
    settings = kelp.settings
    try:
        release = version("kelp")
    except PackageNotFoundError:
        release = ""
    shape = (
        release,
        settings.database.url.partition(":")[0],
        "s3" if settings.cache.url.startswith("s3:") else "folder",
        "redis" if settings.queue.url else "in-process",
    )
    return Gauge("info", "1; the labels say what this is", {shape: 1.0}, ("version", "database", "cache", "queue"))


def _of_database(kelp: Kelp) -> Iterator[Gauge]:
    """Raises StoreUnavailable."""
    yield from _of_mirror(kelp)
    yield from _of_nas(kelp)
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        figures = Figures(tx)
        alerts, locks, leases = figures.open_alerts(), figures.locks(now), tx.reading.count(now)
        uploads, unsettled = figures.uploads(), figures.unsettled()
    yield Gauge("alerts_open", "Alerts that are not over", alerts, ("kind", "severity"))
    yield Gauge.of("reader_leases", "Contents that are noted as being read", leases)
    yield Gauge.of("dav_locks", "Locks that clients hold", locks)
    yield Gauge.of("uploads_open", "Multipart uploads under way", uploads)
    statuses = {status.lower(): unsettled.get(status, 0) for status in ("PENDING", "EVICTING", "SYNCING", "ERROR")}
    yield Gauge.by("status", "cache_unsettled_objects", "Objects of the cache in a passing state, or bad", statuses)
    holds = cache_limits.known(kelp)
    if holds is not None:
        shares = {"clean": holds.clean, "dirty": holds.dirty, "pending": holds.pending, "evicting": holds.evicting}
        text = "What the cache holds: clean, the NAS has it too; dirty, only the cache has it; on their way out"
        yield Gauge.by("share", "cache_bytes", text, shares)
        yield Gauge.of("cache_objects", "Objects in the cache", holds.objects)
        yield Gauge.of("cache_limit_bytes", "What the clean share may be; none: any size", holds.limit)


def _of_mirror(kelp: Kelp) -> Iterator[Gauge]:
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        figures = Figures(tx)
        waiting, size, carriers = figures.waiting(), tx.events.backlog_bytes(), figures.carriers(now)
    age = 0.0 if waiting.oldest_ns is None else max(0.0, (now - waiting.oldest_ns) / _SECOND)
    backlog = {"pending": waiting.pending, "processing": waiting.processing, "failed": waiting.failed}
    yield Gauge.of("mirror_oldest_seconds", "Age of the oldest change that the NAS lacks; 0: there is none", age)
    yield Gauge.by("status", "mirror_backlog_entries", "Files and folders with a change that the NAS lacks", backlog)
    yield Gauge.of("mirror_backlog_bytes", "Bytes of files that only the cache has, on their way to the NAS", size)
    yield Gauge.of("mirror_retried_entries", "Entries of the backlog whose carrying failed before", waiting.retried)
    yield Gauge.of("mirror_at_work_entries", "Entries that are being carried just now", carriers)


def _of_nas(kelp: Kelp) -> Iterator[Gauge]:
    """As others noted it: nobody waits for the NAS here."""
    health, state = nas_health.read(kelp), nas_state.read(kelp)
    feelings = {each.value: float(each is health.feeling) for each in Feeling}
    yield Gauge.by("state", "nas_state", "1 for how the NAS is: healthy, slow, down, or unknown yet", feelings)
    yield Gauge.of("nas_full", "Whether it is down for want of space", float(state.full))
    last = health.last
    yield Gauge.of(
        "nas_latency_seconds", "What a small file took there, when last tried", last.seconds if last else None
    )
    room = health.capacity
    yield Gauge.of("nas_total_bytes", "Size of the NAS", room.total if room else None)
    yield Gauge.of("nas_free_bytes", "Free space of the NAS, as last measured", room.free if room else None)


def _of_cache(kelp: Kelp) -> Iterator[Gauge]:
    """Raises StoreUnavailable."""
    usage, hard = kelp.cache.usage(), cache_limits.hard_limit(kelp)
    known = usage.total < _NOBODY_KNOWS
    yield Gauge.of("cache_disk_total_bytes", "Size of the disk that holds the cache", usage.total if known else None)
    yield Gauge.of("cache_disk_free_bytes", "What may still be written there", usage.free if known else None)
    yield Gauge.of("cache_hard_limit_bytes", "What the dirty share may be; none: until the store is full", hard)
