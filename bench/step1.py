"""Kelp beside `rclone serve webdav` and plain WsgiDAV: the cases in turns, the mirror's speed, memory at the end."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import report
from bench.cases import CASES, SMALL, Case
from bench.client import Failed, request, run
from bench.servers import ROOT, Server, started

RESULTS = ROOT / "bench" / "results" / "step1.md"
CONNECTIONS = 8  # for the files of the mirror's case


@dataclass(frozen=True)
class Mirrored:
    """Seconds until the last PUT was answered, and until all files were on the NAS, both from the first PUT on."""

    files: int
    put: float
    on_nas: float


@dataclass
class Results:
    """Per case the median rate of each server, memory in MiB now and at most, the mirror's figures."""

    names: list[str]
    rates: dict[Case, dict[str, float]] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    mirrored: Mirrored | None = None

    def text(self) -> str:
        ours, *peers = self.names
        header = ("case", "unit", *self.names, *(f"{ours}/{peer}" for peer in peers))
        rows = []
        for case, rates in self.rates.items():
            values = [report.figure(rates[name]) for name in self.names]
            rows.append((case.name, case.unit, *values, *(f"{rates[ours] / rates[peer]:.2f}" for peer in peers)))
        for number, what in enumerate(("memory at the end", "memory at most")):
            mib = [self.memory[name][number] for name in self.names]
            rows.append((what, "MiB", *map(report.figure, mib), *(f"{mib[0] / other:.2f}" for other in mib[1:])))
        return report.table(header, rows) + self._mirror_text()

    def _mirror_text(self) -> str:
        if self.mirrored is None:
            return ""
        m = self.mirrored
        return (
            f"\n\nMirror, {m.files:,} new files of 4 KiB by {CONNECTIONS} connections: put in {m.put:.1f} s"
            f" ({m.files / m.put:,.0f}/s), all on the NAS {m.on_nas:.1f} s after the first PUT,"
            f" {m.on_nas - m.put:.1f} s after the last (aim: 30 s)."
        )


def measure(
    servers: Sequence[Server], cases: Sequence[Case], rounds: int, seconds: float
) -> dict[Case, dict[str, float]]:
    """Each case on each server in turns, so that what else the machine does meets all alike."""
    rates: dict[Case, dict[str, float]] = {}
    for case in cases:
        say(case.name)
        for server in servers:
            case.prepare(server)
        found: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                server.rest()
                found[server.name].append(case.measure(server, seconds))
        rates[case] = {name: statistics.median(values) for name, values in found.items()}
    return rates


def measure_mirror(kelp: Server, files: int) -> Mirrored:
    """Put `files` into ten folders, and wait until the NAS has them."""
    say(f"mirror, {files:,} files")
    kelp.rest()
    folders = [f"{kelp.mount}mirrored{number}" for number in range(10)]
    run(kelp.port, (request("MKCOL", folder) for folder in folders), 1)
    puts = (request("PUT", f"{folders[number % 10]}/{number}", SMALL) for number in range(files))
    began = time.perf_counter()
    _, put = run(kelp.port, puts, CONNECTIONS)
    kelp.rest()
    on_nas = time.perf_counter() - began
    return Mirrored(files, put, on_nas)


def say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs on each server [3]")
    parser.add_argument("--seconds", type=float, default=0.7, help="how long one run of a small case takes [0.7]")
    parser.add_argument("--files", type=int, default=10_000, help="files of the mirror's case; 0 leaves it out [10000]")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="the cases whose name contains TEXT; writes no results"
    )
    parser.add_argument("--dir", type=Path, help="where the servers keep their files [a temporary folder]")
    return parser.parse_args()


def main() -> None:
    """Run all, print the table, keep it in bench/results. Exit code 1 when a server failed."""
    wanted = _arguments()
    cases = [case for case in CASES if wanted.only in case.name]
    folder = Path(tempfile.mkdtemp(prefix="kelp-bench-", dir=wanted.dir))
    about = report.circumstances(folder)
    try:
        with started(folder) as servers:
            results = Results([server.name for server in servers])
            results.rates = measure(servers, cases, wanted.rounds, wanted.seconds)
            results.memory = {s.name: (s.memory("VmRSS"), s.memory("VmHWM")) for s in servers}
            if wanted.files:
                results.mirrored = measure_mirror(servers[0], wanted.files)
    except Failed as error:
        sys.exit(f"{error}\nlogs: {folder}")
    shutil.rmtree(folder)
    text = f"{results.text()}\n\n{about}\n"
    print(text)
    if not wanted.only and wanted.files:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Step 1: Kelp beside other servers\n\nMedians; more is better but for memory.\n\n{text}")
