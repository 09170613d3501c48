"""What the server's processes take of memory, files and threads over time, and whether it grows.

Linux: /proc/PID/smaps_rollup, fd and task, proc(5).
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

MIB = 1 << 20
_BLOCK = 60.0  # seconds whose mean is one point: samples of one minute are not independent of each other
_MOST_GROWTH = 4  # open files, or threads: a connection more is no leak


@dataclass(frozen=True)
class Sample:
    at: float  # seconds since the beginning
    rss: int  # bytes in memory
    uss: int  # … that no other process shares
    files: int
    threads: int


@dataclass(frozen=True)
class Slope:
    """MiB per hour; the true one is within `confidence` of it, with 95 %. Both None: too little was seen."""

    mib_per_hour: float | None
    confidence: float | None


@dataclass
class Watch:
    """Samples of each process, by its role and id, taken by a thread every `every` seconds."""

    processes: Callable[[], dict[int, str]]  # id → role
    every: float
    samples: defaultdict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def now(self) -> float:
        return time.monotonic() - self._begun

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            for pid, role in self.processes().items():
                if (seen := look(pid, self.now)) is not None:
                    self.samples[f"{role} {pid}"].append(seen)


def look(pid: int, at: float) -> Sample | None:
    """None: the process is gone."""
    place = Path(f"/proc/{pid}")
    try:
        rollup = (place / "smaps_rollup").read_text().splitlines()[1:]
        kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup}
        uss = (kib["Private_Clean"] + kib["Private_Dirty"]) * 1024
        return Sample(at, kib["Rss"] * 1024, uss, *(len(list((place / part).iterdir())) for part in ("fd", "task")))
    except OSError:
        return None


def slope(samples: Sequence[Sample], warm: float) -> Slope:
    """Linear regression of the private memory from `warm` seconds on, over means of a minute."""
    blocks: defaultdict[int, list[int]] = defaultdict(list)
    for sample in samples:
        if sample.at >= warm:
            blocks[int(sample.at // _BLOCK)].append(sample.uss)
    points = [(number * _BLOCK / 3600, fmean(values) / MIB) for number, values in sorted(blocks.items())]
    if len(points) < 5:
        return Slope(None, None)
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    freedom = len(points) - 2
    rest = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    # Student's t for 97.5 %, to 1 % from three degrees of freedom on.
    quantile = 1.96 + 2.37 / freedom + 2.8 / freedom**2
    return Slope(rise, quantile * math.sqrt(rest / freedom / spread))


def grown(samples: Sequence[Sample], warm: float) -> list[str]:
    """What of open files and threads is more in the last quarter of the time than in the first one."""
    warmed = [sample for sample in samples if sample.at >= warm]
    quarter = len(warmed) // 4
    found = []
    if quarter:
        for name in ("files", "threads"):
            first, last = (
                median(getattr(sample, name) for sample in part) for part in (warmed[:quarter], warmed[-quarter:])
            )
            if last > first + _MOST_GROWTH:
                found.append(f"open {name} grew from {first:.0f} to {last:.0f}")
    return found
