"""The checks of `kelp doctor` that concern the core: database, cache, NAS, clocks, what waits, and keys.

Each opens its own part and nothing else, so a part that is down costs its own lines only; and none makes or changes
what `bootstrap.build` would (tables, buckets, folders, markers).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from vfs.operations.diagnosis import cache, database, keys, nas, words
from vfs.operations.diagnosis.findings import Area, Check, ClockReading, Finding, Mark, Readings
from vfs.operations.diagnosis.running import run
from vfs.settings import Settings

__all__ = ["Area", "Check", "ClockReading", "Finding", "Mark", "Readings", "last_checks", "run", "store_checks"]

_CLOCK = Area("clock")
_BACKLOG = Area("backlog")
_OFF, _WRONG = 5.0, 60.0  # seconds that clocks may differ: before it is told, before it must be put right
_LONG = 3600.0  # seconds that the oldest change may wait
_NTP = "locks, leases and expiry go by it: set all clocks by NTP"


def store_checks(settings: Settings, readings: Readings) -> list[Check]:
    """What is behind every face. They fill in `readings`, in this order."""
    return [
        Check("database", partial(database.check, settings, readings), database.WHEN_SILENT),
        Check("cache", partial(cache.check, settings, readings), cache.WHEN_SILENT),
        Check("NAS", partial(nas.check, settings, readings), nas.WHEN_SILENT),
    ]


def last_checks(settings: Settings, readings: Readings) -> list[Check]:
    """What is known only when the others have run."""
    return [
        Check("clock", partial(_clocks, readings)),
        Check("backlog", partial(_backlog, readings)),
        Check("keys", partial(keys.check, settings, readings)),
    ]


def _clocks(readings: Readings) -> Iterator[Finding]:
    if not readings.clocks:
        yield _CLOCK.note("clocks", "no other clock to compare with this machine's")
    for reading in readings.clocks:
        yield _clock(reading)


def _clock(reading: ClockReading) -> Finding:
    """A difference counts only beyond what the reading may be wrong by."""
    off = max(0.0, abs(reading.ahead) - reading.within)
    check = reading.whose.removeprefix("the ")
    if off < _OFF:
        return _CLOCK.ok(check, f"the same as here, to {words.seconds(abs(reading.ahead) + reading.within)}")
    side = "ahead of" if reading.ahead > 0 else "behind"
    fact = f"{reading.whose} is {off:.0f} s {side} this machine"
    return _CLOCK.error(check, fact, _NTP) if off >= _WRONG else _CLOCK.warning(check, fact, _NTP)


def _backlog(readings: Readings) -> Iterator[Finding]:
    waiting = readings.waiting
    if waiting is None:
        yield _BACKLOG.note("changes", "cannot be told without the database")
        return
    if waiting.failed:
        advice = "`kelp status` tells why; put it right, then `kelp sync retry --all`"
        yield _BACKLOG.error("failed", f"{waiting.failed} changes cannot be carried to the NAS", advice)
    if not waiting.nas_up:
        advice = "what is wrong with the NAS is told above; changes wait and nothing is lost"
        yield _BACKLOG.error("NAS", f"down as the worker sees it ({waiting.nas_reason})", advice)
    if waiting.queue_away_ns:
        yield _BACKLOG.warning("queue", "away as a worker last saw it", "start Redis; changes are carried nevertheless")
    oldest = 0.0 if waiting.oldest_ns is None else max(0.0, (time.time_ns() - waiting.oldest_ns) / 1e9)
    if not waiting.open:
        yield _BACKLOG.ok("changes", "all is on the NAS")
        return
    fact = f"{waiting.open} on their way to the NAS, {words.size(waiting.bytes)}, the oldest for {oldest / 60:.0f} min"
    if oldest > _LONG:
        yield _BACKLOG.warning("changes", fact, "see that `kelp serve` or `kelp worker` runs, and `kelp status`")
    else:
        yield _BACKLOG.ok("changes", fact)
