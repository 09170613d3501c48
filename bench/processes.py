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
_LISTEN = "0A"  # the state in /proc/net/tcp


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


def listening(port: int) -> list[int]:
    """The processes on this machine that take connections at `port`; none where another machine does."""
    wanted = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                wanted.add(f"socket:[{fields[9]}]")
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it ended
            if os.readlink(link) in wanted:
                found.add(int(link.parts[2]))
    return sorted(found)


def machine_cpu() -> float:
    """Seconds that all cores have been busy since the start of the machine; proc(5), /proc/stat, to a hundredth."""
    user, nice, system, _idle, _iowait, *others = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def disk_seconds(folder: Path) -> float:
    """Seconds since the start of the machine in which the disk of `folder` had something to do; 0 where none tells."""
    device = folder.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
            return int(fields[12]) / 1e3
    return 0.0


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
