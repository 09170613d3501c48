"""The results as Markdown, with all that is needed to read them later."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import plot
from bench.measuring import Cell, Row
from bench.processes import Memory
from bench.targets import KELP, Verdict, cell, counterpart, ratio_to, verdicts

_NONE = "–"
_NOTES = """\
- Each cell is the median of the rounds, ± half their range. The servers take turns in each round. More is better.
- The clients run on the same machine, one process each, and take cores from the servers: "clients" is their part of
  all CPU time used with Kelp, and with the peer where it is largest. Where it is large, fast servers look slower than
  they are, and the ratio is too kind to slow ones.
- All ask for a name and a password, and check it in the cheapest way that they have.
- Bodies, listings and what a change left behind were compared with what they should be.
- Kelp syncs each change before it answers, and carries it to the NAS folder on the same disk while the case runs.
- Before each measurement of a change all that is unwritten is written, else a server that syncs would pay for others.
- "+sync": the server with a library preloaded that syncs what it changed before it answers: each file, and each
  folder once per request. rclone cannot be made to (a Go program makes its own system calls), and nginx keeps its
  locks in memory only, as rclone and WsgiDAV do; WsgiDAV its properties too.
- nginx and rclone store no properties of clients. lighttpd copies a file by a hard link. Apache and lighttpd sync
  their databases of locks and properties by themselves; Apache 2.4's takes no two changes at the same time: where it
  is shown as failed, a LOCK or UNLOCK of one client undid another's."""


@dataclass(frozen=True)
class Results:
    """`about`: the circumstances, a line each."""

    labels: list[str]
    rows: list[Row]
    memory: dict[str, Memory]
    about: list[str]


def text(results: Results) -> str:
    """All tables, as one Markdown document without its title."""
    parts = ["\n".join(f"- {line}" for line in results.about), _NOTES]
    parts += ["## Targets", _verdicts(list(verdicts(results.rows, results.memory)))]
    reading = [row for row in results.rows if not row.changes]
    changing = [row for row in results.rows if row.changes]
    peers = [label for label in results.labels if label != KELP]
    plain = [label for label in peers if not label.endswith("+sync")]
    synced = [label if label in peers else name for name in plain for label in (f"{name}+sync",)]
    for title, rows, columns in (
        ("Reading", reading, plain),
        ("Changing, the peers made to sync", changing, synced),
        ("Changing, the peers as they are", changing, plain),
    ):
        if rows:
            parts += [f"## {title}", _rates(rows, columns), "Kelp's rate as a multiple:", _ratios(rows, columns)]
    parts += ["## CPU time of the server, µs per operation", _cpu(results.rows, plain)]
    parts += ["## Memory after all of it, MiB", _memory(results.memory), *failures(results.rows)]
    return "\n\n".join(parts)


def keep(results: Results, written: str, folder: Path) -> None:
    """Write the document, its plot and the figures into `folder`."""
    folder.mkdir(exist_ok=True)
    title = "# Step 2: Kelp beside other servers"
    (folder / "step2.md").write_text(f"{title}\n\n![Kelp's rate as a multiple](step2.svg)\n\n{written}\n")
    (folder / "step2.svg").write_text(plot.svg(results.rows))
    (folder / "step2.json").write_text(json.dumps(asdict(results), indent=1) + "\n")


# ---------------------------------------------------------------------------------------------------------- tables


def _rates(rows: Sequence[Row], peers: Sequence[str]) -> str:
    labels = [KELP, *peers]
    shown = [(row.name, row.unit, *(_rate(row, label) for label in labels), _client_share(row, labels)) for row in rows]
    return table(("case", "unit", *labels, "clients"), shown)


def _rate(row: Row, label: str) -> str:
    found = cell(row, label)
    return f"{figure(found.rate)} ± {found.spread:.0%}" if found else _NONE


def _client_share(row: Row, labels: Sequence[str]) -> str:
    shares = [found.client for label in labels if (found := cell(row, label))]
    return f"{shares[0]:.0%}–{max(shares):.0%}" if shares else _NONE


def _ratios(rows: Sequence[Row], peers: Sequence[str]) -> str:
    def ratio(row: Row, label: str) -> str:
        found = ratio_to(row, label)
        return _NONE if found is None else f"{found:.2f}"

    return table(("case", *peers), [(row.name, *(ratio(row, label) for label in peers)) for row in rows])


def _cpu(rows: Sequence[Row], peers: Sequence[str]) -> str:
    def shown(found: Cell | None) -> str:
        return figure(found.cpu * 1e6) if found else _NONE

    labels = [KELP, *peers]
    lines = [(row.name, *(shown(cell(row, counterpart(row, label))) for label in labels)) for row in rows]
    return table(("case (changes: with sync)", *labels), lines)


def _memory(memory: dict[str, Memory]) -> str:
    def line(name: str, value: Callable[[Memory], float]) -> tuple[str, ...]:
        return (name, *(figure(value(found)) for found in memory.values()))

    rows = [
        ("processes", *(str(found.processes) for found in memory.values())),
        line("all processes (PSS)", lambda found: found.pss),
        line("largest process (RSS)", lambda found: found.largest),
        ("each process at its peak (RSS)", *(" + ".join(f"{peak:.0f}" for peak in m.peaks) for m in memory.values())),
    ]
    return table(("", *memory), rows)


def _verdicts(found: Sequence[Verdict]) -> str:
    rows = [
        (
            verdict.target,
            verdict.stage,
            verdict.wanted,
            verdict.reached,
            "met" if verdict.met else f"**missed** by {verdict.missing:.2f}×",
            verdict.worst,
        )
        for verdict in found
    ]
    return table(("target", "stage", "wanted", "reached", "", "in the worst case"), rows)


def failures(rows: Sequence[Row]) -> Iterator[str]:
    """A chapter about what failed; nothing where all went well."""
    lines = [
        f"- {row.name}, {label}: {' '.join(found.failure.split())[:300]}"
        for row in rows
        for label, found in row.cells.items()
        if found.failure
    ]
    if lines:
        yield "## What could not be measured"
        yield "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; all but the first are right-aligned."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    shown = [
        "| "
        + " | ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])


def figure(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# --------------------------------------------------------------------------------------------------- circumstances


def circumstances(folder: Path, rounds: int, seconds: float) -> list[str]:
    """What was measured where, with what; `folder` is where the servers keep their files."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {rounds} rounds, {seconds:g} s for a measurement",
        f"machine: {os.cpu_count()} cores, {_processor()}, {pages / 2**30:.0f} GiB, Linux {platform.release()};"
        f" load before: {os.getloadavg()[0]:.2f}",
        f"file system: {file_system(folder)}",
        f"Kelp: {_commit()}",
        f"versions: {', '.join(_versions())}",
    ]


def file_system(folder: Path) -> str:
    command = ["stat", "-f", "-c", "%T", str(folder)]
    name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "ext4" if name == "ext2/ext3" else name


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        root = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "-uno") else "")


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for package in ("wsgidav", "cheroot", "sqlalchemy"):
        yield f"{package} {version(package)}"
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    for program, option in (("apache2", "-v"), ("nginx", "-v"), ("lighttpd", "-v"), ("rclone", "version")):
        if found := shutil.which(program, path=path):
            told = subprocess.run([found, option], capture_output=True, text=True, check=False)
            yield (told.stdout + told.stderr).splitlines()[0].removeprefix("Server version: ")
