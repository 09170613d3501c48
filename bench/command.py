"""The command line: choose, start, measure, write."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench import durable, processes, report
from bench.cases import Case, Sizes, reading_cases
from bench.changing import changing_cases
from bench.client import Failed
from bench.contents import MEDIUM, Folder, make_big
from bench.measuring import measure
from bench.peers import PEERS, ROOT, Kelp, Peer
from bench.servers import Variant, started

_RESULTS = ROOT / "bench" / "results"
_QUICK = Sizes(listed=(20,), tree=20, big=4 * MEDIUM, many=2)
_ROOM = 24  # times the big file: what Kelp keeps of it (cache, NAS, trash) in all rounds, and one at the peers


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Kelp beside Apache, nginx, lighttpd, rclone and WsgiDAV: each case in turns.",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="of Kelp [number of cores]")
    parser.add_argument("--on", type=Path, default=Path(), metavar="PATH", help="where all keep their files [here]")
    parser.add_argument("--servers", default="", metavar="NAME,…", help="Kelp and these peers [all that are installed]")
    parser.add_argument("--cases", default="", metavar="TEXT,…", help="the cases with one of these in the name [all]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs on each server [3]")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long a measurement takes, at least [0.3]")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it still run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures; else only a complete run keeps them")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Run what is wanted, print the tables; a complete run is kept in bench/results. Ends with 1 when Kelp failed."""
    wanted = _arguments(given)
    peers, missing = _peers(wanted)
    folder = Path(tempfile.mkdtemp(prefix="kelp-bench-", dir=wanted.on.resolve()))
    try:
        results = _run(folder, peers, wanted)
    except (Failed, OSError) as error:
        sys.exit(f"{error}\nlogs and files: {folder}")
    shutil.rmtree(folder)
    results.about.extend(missing)
    text = report.text(results)
    print(text)
    if wanted.json:
        wanted.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    if not (wanted.quick or wanted.cases or wanted.servers):
        report.keep(results, text, _RESULTS)
    if any(row.cells[Kelp.name].failure for row in results.rows):
        sys.exit("Kelp failed in a case: see the table")


def _peers(wanted: argparse.Namespace) -> tuple[list[Peer], list[str]]:
    """Kelp, and those peers that are wanted and installed; which are missing, in words."""
    names = {name.lower() for name in wanted.servers.split(",") if name}
    unknown = names - {peer.name.lower() for peer in (Kelp, *PEERS)}
    if unknown:
        sys.exit(f"no such server: {', '.join(sorted(unknown))}")
    chosen: list[Peer] = [Kelp(wanted.processes)]
    missing = []
    for kind in PEERS:
        peer = kind()
        if names and peer.name.lower() not in names:
            continue
        if peer.missing():
            missing.append(f"not installed, left out: {peer.name} ({peer.missing()}; scripts/install-bench-tools)")
            say(missing[-1])
        else:
            chosen.append(peer)
    return chosen, missing


def _chosen(cases: Sequence[Case], texts: str) -> list[Case]:
    parts = [part.lower() for part in texts.split(",") if part]
    found = [case for case in cases if not parts or any(part in f"{case.key} {case.title}".lower() for part in parts)]
    return found or sys.exit(f"no case is called {texts}")


def _fitting(sizes: Sizes, folder: Path) -> Sizes:
    """A smaller big file where there is no room for what Kelp keeps of it; memory counts, /dev/shm lies in it."""
    room = shutil.disk_usage(folder).free
    if report.file_system(folder) == "tmpfs":
        room = min(room, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    big = sizes.big
    while big * _ROOM > room and big > 16 * MEDIUM:
        big //= 2
    return replace(sizes, big=big)


def _run(folder: Path, peers: Sequence[Peer], wanted: argparse.Namespace) -> report.Results:
    sizes = _QUICK if wanted.quick else _fitting(Sizes(), folder)
    rounds, seconds = (1, 0.02) if wanted.quick else (wanted.rounds, wanted.seconds)
    big = folder / "big"
    cases = _chosen([*reading_cases(sizes, big), *changing_cases(sizes, big, rounds)], wanted.cases)
    if any(case.big for case in cases):
        make_big(big, sizes.big)
    variants = [Variant(peer) for peer in peers]
    if any(case.changes for case in cases) and (library := durable.library(folder)):
        variants += [Variant(peer, library) for peer in peers if peer.preloadable]
    about = report.circumstances(folder, rounds, seconds)
    folders: dict[str, Folder] = {needed.name: needed for case in cases for needed in case.needs}
    say(f"starting {', '.join(variant.label for variant in variants)} in {folder}")
    began = time.monotonic()
    with started(folder, variants, folders.values(), big) as servers:
        say(f"filled and started after {time.monotonic() - began:.0f} s")
        rows = measure(servers, cases, rounds, seconds, say)
        memory = {server.label: processes.memory(server.processes()) for server in servers}
    about.append(f"duration: {(time.monotonic() - began) / 60:.1f} minutes")
    return report.Results([variant.label for variant in variants], rows, memory, about)


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
