"""Each case on each server in turns, so that what else the machine does meets all alike."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench import processes
from bench.cases import Case
from bench.client import Failed
from bench.load import Tally, run
from bench.servers import Server

_ENOUGH = 5.0  # seconds; who took that long for a case in all is not asked another time
_DISK, _MACHINE = "disk", "machine"


@dataclass(frozen=True)
class Cell:
    """What a server did in a case. `rate`: the median, in the row's unit; `spread`: half the range, as a part of it.

    `cpu`: seconds that its processes were on a CPU, per operation, with all that it left for later (the mirror);
    `client`: the clients' part of all CPU time used. `failure` says why there is nothing of this.
    `parts`: that CPU time by what used it, the clients too. `busy`: how much of a core each of them, and of its time
    the disk ("disk"), were busy while the clients waited for answers; "others" are no part of the bench.
    """

    rate: float = 0.0
    spread: float = 0.0
    cpu: float = 0.0
    client: float = 0.0
    failure: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A case by so many clients; `cells` by the server's label."""

    key: str
    clients: int
    name: str
    unit: str
    changes: bool
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reading:
    rate: float
    seconds: float
    cpu: float
    client: float
    parts: dict[str, float]
    busy: dict[str, float]


def measure(
    servers: Sequence[Server], cases: Sequence[Case], rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """All `cases`; each measurement takes about `seconds`. `say` is told of each row when it is done."""
    rows = []
    for case in cases:
        chosen = [server for server in servers if case.changes or not server.variant.library]
        for clients in case.clients:
            rows.append(row := _row(case, clients, chosen, rounds, seconds))
            say(_summary(row))
    return rows


def _row(case: Case, clients: int, servers: Sequence[Server], rounds: int, seconds: float) -> Row:
    readings: dict[str, list[_Reading]] = {server.label: [] for server in servers}
    failures = {
        server.label: server.variant.peer.lacks[case.method]
        for server in servers
        if case.method in server.variant.peer.lacks
    }
    for number in range(rounds):
        first = number % len(servers)
        for server in (*servers[first:], *servers[:first]):  # nobody is always the first
            found = readings[server.label]
            if server.label in failures or sum(reading.seconds for reading in found) > _ENOUGH:
                continue
            try:
                found.append(_reading(case, clients, server, number, seconds))
            except (Failed, OSError) as error:
                failures[server.label] = f"failed: {error}"
    row = Row(case.key, clients, case.name(clients), case.unit, case.changes)
    for label, found in readings.items():
        row.cells[label] = Cell(failure=failures[label]) if label in failures else _cell(found)
    return row


def _reading(case: Case, clients: int, server: Server, number: int, seconds: float) -> _Reading:
    trial = case.trial(server, clients, number)
    server.rest()
    if case.changes:
        os.sync()  # else the first to sync writes what the server before it left to the kernel
    marks: list[dict[str, float]] = []
    tally: Tally = run(server.ports, trial.works, seconds, lambda: marks.append(_usage(server)))
    server.rest()
    used = _since(marks[0], _usage(server))
    trial.finish(tally)
    server.rest()
    rate = tally.count / tally.seconds * (case.each / 1e6 if case.each else 1)
    busy = {name: value / tally.seconds for name, value in (_since(*marks) | {"clients": tally.cpu}).items()}
    disk, machine = busy.pop(_DISK), busy.pop(_MACHINE)
    busy |= {"others": max(0.0, machine - sum(busy.values())), _DISK: disk}
    del used[_DISK], used[_MACHINE]
    cpu = sum(used.values())
    parts = {name: value / tally.count for name, value in (used | {"clients": tally.cpu}).items()}
    return _Reading(rate, tally.seconds, cpu / tally.count, tally.cpu / (tally.cpu + cpu), parts, busy)


def _usage(server: Server) -> dict[str, float]:
    """Seconds of CPU by part so far, those of the whole machine, and those of the disk."""
    used = {name: processes.cpu(pids) for name, pids in server.parts().items()}
    return used | {_MACHINE: processes.machine_cpu(), _DISK: processes.disk_seconds(server.place.folder)}


def _since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: max(0.0, value - before[name]) for name, value in after.items()}


def _cell(readings: Sequence[_Reading]) -> Cell:
    rates = [reading.rate for reading in readings]
    middle = statistics.median(rates)
    return Cell(
        middle,
        (max(rates) - min(rates)) / 2 / middle,
        statistics.median(reading.cpu for reading in readings),
        statistics.median(reading.client for reading in readings),
        parts=_medians([reading.parts for reading in readings]),
        busy=_medians([reading.busy for reading in readings]),
    )


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(values[name] for values in found) for name in found[0]}


def _summary(row: Row) -> str:
    cells = [f"{label} {'–' if cell.failure else f'{cell.rate:,.4g}'}" for label, cell in row.cells.items()]
    return f"{row.name} [{row.unit}]: {', '.join(cells)}"
