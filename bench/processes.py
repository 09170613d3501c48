"""What a server's processes use, as proc(5) and clock_getcpuclockid(3) tell it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SCHED = 2  # CPUCLOCK_SCHED: nanoseconds on a CPU, of all threads, ended ones too
_KIB = 1024


@dataclass(frozen=True)
class Memory:
    """MiB. `pss`: of all processes, shared pages counted once. `largest`: resident now, of the process with most.

    `peaks`: resident at most, of each process, the highest first.
    """

    processes: int
    pss: float
    largest: float
    peaks: tuple[float, ...]


def tree(root: int) -> list[int]:
    """`root` and all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu(pids: Iterable[int]) -> float:
    """Seconds that these processes have been on a CPU, in user and kernel mode."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            used += time.clock_gettime(~pid << 3 | _SCHED)
    return used


def memory(pids: Iterable[int]) -> Memory:
    shares, resident, peaks = [], [], []
    for pid in pids:
        with contextlib.suppress(OSError):
            shares.append(_field(pid, "smaps_rollup", "Pss"))
            resident.append(_field(pid, "status", "VmRSS"))
            peaks.append(_field(pid, "status", "VmHWM"))
    return Memory(len(resident), sum(shares), max(resident), tuple(sorted(peaks, reverse=True)))


def _field(pid: int, file: str, name: str) -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / _KIB
    return 0.0
