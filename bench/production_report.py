"""What `bench.production` found, as Markdown: ratios first, then figures, then what limited each case."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.limits import limits
from bench.measuring import Row
from bench.mirrored import Carried, Lone
from bench.report import failures, figure, table
from bench.s3_calls import THREADS, Small
from bench.shapes import Services, Shape
from tests.services import postgresql

TITLE = "# Step 3: PostgreSQL, S3 and Redis beside the embedded drive"
_NONE = "–"
_SYNCS = 50
_OURS = "Kelp"
_NOTES = """\
- Each figure is the median of the rounds, ± half their range. Shapes take turns in each round. More is better, but for
  times and CPU.
- Clients, servers, PostgreSQL, Redis and the S3 endpoint share the machine's cores, so a shape of more processes cannot
  show here what it does on machines of their own. What carries over is the CPU time of a request, by process.
- PostgreSQL is durable (fsync, full_page_writes, synchronous_commit), its files are on the disk of SQLite's. Changes
  are carried to the NAS folder on that disk while a case runs; what that costs is in the CPU time.
- "SQLite" is one server process, "PostgreSQL" as many as there are cores, as Kelp does it by itself. Without Redis the
  server carries changes itself, with it `kelp worker` of 2 processes does.
- "changed": each listing follows a PUT into the folder, whose time does not count but whose CPU time does."""
_NODES = """\
All on one PostgreSQL with a cache folder, Redis and a worker of one process. The clients are spread over the nodes. The
writer's PUTs are as many beside each shape; they do not count, what they cost does."""
_BACKLOG = """\
Files of 4 KiB in 10 folders, accepted while nothing carried them, each shape with a copy of the same drive. From the
moment when those who carry have begun until all is recorded as carried: durable, each file and folder synced. The
in-process queue has its 2 threads. The queue in Redis holds what Kelp puts there, some nudges; the backlog is found in
the database."""
_LONE = "One new file of 4 KiB while nothing else happens: from the answer to the client until it is on the NAS."


@dataclass(frozen=True)
class Results:
    """`about`: the circumstances, a line each. `backlogs`, `lone`: by shape. `calls`: by client.

    `hot`: by the name of a row and the label of a shape, the functions of the server that took the time.
    """

    about: list[str]
    engines: list[Row] = field(default_factory=list)
    nodes: list[Row] = field(default_factory=list)
    backlogs: dict[str, Carried] = field(default_factory=dict)
    lone: dict[str, Lone] = field(default_factory=dict)
    calls: dict[str, Small] = field(default_factory=dict)
    hot: dict[str, dict[str, list[str]]] = field(default_factory=dict)


def text(results: Results, shapes: Sequence[Shape]) -> str:
    """All tables, as one Markdown document without its title. `shapes`: those that `results` speak of."""
    parts = ["\n".join(f"- {line}" for line in results.about), _NOTES, "## Ratios", *_ratios(results), "## Figures"]
    if results.engines:
        parts += ["### Engines: operations a second", _rates(results.engines)]
        parts += ["### Engines: CPU time of an operation, µs", _cpu(results.engines)]
    if results.nodes:
        parts += ["### Nodes: reads a second", _NODES, _rates(results.nodes)]
        parts += ["### Nodes: CPU time of a read, µs", _cpu(results.nodes)]
    if results.backlogs:
        parts += ["### A backlog carried to the NAS", _BACKLOG, _backlogs(results.backlogs)]
    if results.lone:
        parts += ["### One change carried to the NAS, ms", _LONE, _lone(results.lone)]
    if results.calls:
        parts += [f"### A small S3 call: 4 KiB on one thread, calls a second on {THREADS}", _calls(results.calls)]
    rows = [*results.engines, *results.nodes]
    if rows:
        parts += ["## What limited each case first", *limits(rows, shapes, os.cpu_count() or 1, results.hot)]
    return "\n\n".join([*parts, *failures(rows)])


def services(beside: Services, folder_of_all: Path) -> Iterator[str]:
    """What ran beside the drives, and how fast the disk of all of them is, for the circumstances."""
    installed = postgresql.programs()
    programs = [*([str(installed / "postgres")] if installed else []), "redis-server"]
    for command in ([program, "--version"] for program in programs):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield f"beside: {' '.join(done.stdout.split()[:3])}"
    yield f"disk: {_sync_time(folder_of_all) * 1e6:,.0f} µs for 4 KiB written and synced"
    yield f"S3 endpoint: {beside.s3.name}"
    yield f"packages: {', '.join(_packages('psycopg', 'redis', 'rq', 'boto3', 'urllib3', 'obstore'))}"


def _sync_time(folder: Path) -> float:
    """Seconds, the median."""
    taken = []
    with (folder / "synced").open("wb", 0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _packages(*names: str) -> Iterator[str]:
    for name in names:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


# ---------------------------------------------------------------------------------------------------------- ratios


def _ratios(results: Results) -> Iterator[str]:
    for title, rows in (("Engines", results.engines), ("Nodes", results.nodes)):
        if rows:
            first, *others = rows[0].cells
            yield f"### {title}: operations a second, as a multiple of “{first}”"
            yield table(
                ("case", *others), [(row.name, *(_multiple(row, first, other) for other in others)) for row in rows]
            )
    if results.backlogs:
        first = next(iter(results.backlogs))
        usual = statistics.median(results.backlogs[first].seconds)
        yield f"### Mirror: files a second, as a multiple of “{first}”"
        shown = [
            (label, f"{usual / statistics.median(found.seconds):.2f}") for label, found in results.backlogs.items()
        ]
        yield table(("", "files/s"), shown)
    if results.calls:
        yield "### Small S3 call: CPU time, as a multiple of Kelp's"
        ours = results.calls[_OURS].cpu
        lines = [
            (name, *(f"{small.cpu[verb] / ours[verb]:.2f}" for verb in ours)) for name, small in results.calls.items()
        ]
        yield table(("", *ours), lines)


def _multiple(row: Row, first: str, other: str) -> str:
    ours, theirs = row.cells[first], row.cells[other]
    return _NONE if ours.failure or theirs.failure else f"{theirs.rate / ours.rate:.2f}"


# --------------------------------------------------------------------------------------------------------- figures


def _rates(rows: Sequence[Row]) -> str:
    labels = list(rows[0].cells)
    lines = []
    for row in rows:
        cells = (row.cells[label] for label in labels)
        lines.append(
            (row.name, row.unit, *(_NONE if c.failure else f"{figure(c.rate)} ± {c.spread:.0%}" for c in cells))
        )
    return table(("case", "unit", *labels), lines)


def _cpu(rows: Sequence[Row]) -> str:
    names = names_of(cell.parts for row in rows for cell in row.cells.values())
    lines = [
        (row.name, label, *(figure(cell.parts[name] * 1e6) if name in cell.parts else _NONE for name in names))
        for row in rows
        for label, cell in row.cells.items()
    ]
    return table(("case", "shape", *names), lines)


def names_of(found: Iterable[dict[str, float]]) -> list[str]:
    """All keys, in the order in which they come first."""
    return list(dict.fromkeys(name for each in found for name in each))


def _backlogs(found: dict[str, Carried]) -> str:
    lines = []
    for label, carried in found.items():
        middle = statistics.median(carried.seconds)
        several = f"{min(carried.seconds):.1f}–{max(carried.seconds):.1f}"
        lines.append((label, f"{carried.files:,}", f"{middle:.1f}", several, figure(carried.files / middle)))
    return table(("", "files", "seconds", "all rounds", "files/s"), lines)


def _lone(found: dict[str, Lone]) -> str:
    lines = []
    for label, lone in found.items():
        milliseconds = [seconds * 1e3 for seconds in lone.seconds]
        lines.append(
            (label, f"{len(milliseconds)}", figure(statistics.median(milliseconds)), figure(max(milliseconds)))
        )
    return table(("", "changes", "p50", "max"), lines)


def _calls(found: dict[str, Small]) -> str:
    verbs = list(next(iter(found.values())).cpu)
    lines = [
        (
            name,
            *(f"{small.cpu[verb] * 1e6:,.0f}" for verb in verbs),
            *(f"{small.wall[verb] * 1e6:,.0f}" for verb in verbs),
            figure(small.puts),
            figure(small.gets),
        )
        for name, small in found.items()
    ]
    heads = [*(f"{verb}, CPU µs" for verb in verbs), *(f"{verb}, µs" for verb in verbs)]
    return table(("", *heads, "put/s", "get/s"), lines)
