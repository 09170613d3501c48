"""Kelp embedded beside Kelp on PostgreSQL, S3 and Redis, in one run: `make bench-production`.

What the shapes of a drive cost beside each other, what a second node brings, how fast either queue carries files to
the NAS, and what a small S3 call costs: `python -m bench.production --help`. Kept in `bench/results/step3.md`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench import mirrored, nodes, production_report, profiling, report
from bench.cases import Case, Sizes, reading_cases
from bench.changing import changing_cases
from bench.client import Failed
from bench.command import say
from bench.contents import MEDIUM, Folder, make_big
from bench.measuring import Row, measure
from bench.mixed import mixed_cases
from bench.peers import ROOT
from bench.production_report import Results
from bench.shapes import Services, Shape, drives, services
from bench.small_calls import small_calls
from tests.services import postgresql, redis

_RESULTS = ROOT / "bench" / "results"
_ROUNDS, _FILES = 3, 2_000  # of a complete run, at least
_PARTS = ("engines", "nodes", "mirror", "s3")
_SIZES = Sizes(listed=(1_000,), tree=1, big=64 * MEDIUM)
_QUICK = Sizes(listed=(20,), tree=1, big=4 * MEDIUM, many=2)
_MANY = ("get-small", "put-new")  # also by many clients; the others by one, where a request's way is clearest
_CASES = ("propfind-0", "get-small", "get-big", "put-new", "put-over", "put-big", "move-file", "lock")
ENGINES = (
    Shape("SQLite, folder"),
    Shape("PostgreSQL, folder", "postgresql"),
    Shape("PostgreSQL, S3, Redis", "postgresql", "s3", "redis"),
)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.production",
        description="Kelp embedded beside Kelp on PostgreSQL, S3 and Redis; one node beside two; either queue.",
    )
    parser.add_argument("--on", type=Path, default=Path(), metavar="PATH", help="where all keep their files [here]")
    parser.add_argument("--parts", default=",".join(_PARTS), metavar="NAME,…", help=f"of {', '.join(_PARTS)} [all]")
    parser.add_argument("--cases", default="", metavar="TEXT,…", help="the cases with one of these in the name [all]")
    parser.add_argument("--files", type=int, default=_FILES, help="of the backlog; the design speaks of 10000 [2000]")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each measurement is done [3]")
    parser.add_argument("--seconds", type=float, default=0.4, help="how long a measurement takes, at least [0.4]")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it still run?")
    parser.add_argument("--no-profile", action="store_true", help="no look at the functions that take the time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures; else only a complete run keeps them")
    wanted = parser.parse_args(given)
    if wanted.quick:
        wanted.rounds, wanted.seconds, wanted.files = 1, 0.02, 20
    wanted.parts = wanted.parts.split(",")
    if unknown := set(wanted.parts) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return wanted


def main(given: Sequence[str] | None = None) -> None:
    """Run what is wanted, print the tables; a complete run is kept in bench/results. Ends with 1 when Kelp failed."""
    wanted = _arguments(given)
    if absent := postgresql.missing() or redis.missing():
        sys.exit(absent)
    folder = Path(tempfile.mkdtemp(prefix="kelp-bench-", dir=wanted.on.resolve()))
    folder.chmod(0o755)  # PostgreSQL runs as an account of its own
    try:
        with services(folder) as beside:
            results = _run(folder, beside, wanted)
    except (Failed, OSError, AssertionError) as error:  # the last: what runs beside the drives did not start
        sys.exit(f"{error}\nlogs and files: {folder}")
    shutil.rmtree(folder)
    text = production_report.text(results, [*ENGINES, *nodes.shapes()])
    print(text)
    figures = json.dumps(asdict(results), indent=1) + "\n"
    if wanted.json:
        wanted.json.write_text(figures)
    complete = set(wanted.parts) == set(_PARTS) and wanted.rounds >= _ROUNDS and wanted.files >= _FILES
    if complete and not wanted.cases:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "step3.md").write_text(f"{production_report.TITLE}\n\n{text}\n")
        (_RESULTS / "step3.json").write_text(figures)
    if any(cell.failure for row in (*results.engines, *results.nodes) for cell in row.cells.values()):
        sys.exit("Kelp failed in a case: see the table")


def _run(folder: Path, beside: Services, wanted: argparse.Namespace) -> Results:
    sizes = _QUICK if wanted.quick else _SIZES
    big = folder / "big"
    make_big(big, sizes.big)
    began = time.monotonic()
    results = Results(
        [*report.circumstances(folder, wanted.rounds, wanted.seconds), *production_report.services(beside, folder)]
    )
    if "engines" in wanted.parts:
        _measure(ENGINES, _engine_cases(sizes, big), folder, beside, wanted, results.engines, results.hot)
    if "nodes" in wanted.parts:
        _measure(nodes.shapes(), nodes.cases(sizes, big), folder, beside, wanted, results.nodes)
    if "mirror" in wanted.parts:
        results.backlogs.update(mirrored.backlogs(folder, beside, wanted.files, wanted.rounds, say))
        with drives(folder, beside, mirrored.lone_shapes(), [], folder / "none") as running:
            results.lone.update(mirrored.lone_changes(running, 2 if wanted.quick else 10, wanted.rounds, say))
    if "s3" in wanted.parts:
        results.calls.update(small_calls(beside.s3, wanted.rounds, 10 if wanted.quick else 100, say))
    results.about.append(f"duration: {(time.monotonic() - began) / 60:.1f} minutes")
    return results


def _engine_cases(sizes: Sizes, big: Path) -> list[Case]:
    chosen = []
    for case in (*reading_cases(sizes, big), *changing_cases(sizes, big, 1), *mixed_cases(sizes)):
        listing = case.key.startswith("list-") and "-windows-" in case.key
        if case.key in _CASES or listing or case.key in ("folder-life", "mixed"):
            many = case.key in _MANY or len(case.clients) == 1
            chosen.append(case if many else replace(case, clients=case.clients[:1]))
    return chosen


def _measure(
    shapes: Sequence[Shape], cases: Sequence[Case], folder: Path, beside: Services, wanted: argparse.Namespace,
    rows: list[Row], hot: dict[str, dict[str, list[str]]] | None = None,
) -> None:  # fmt: skip
    """Fill `rows`, and `hot` where it is wanted (`Results`)."""
    texts = [text.lower() for text in wanted.cases.split(",") if text]
    cases = [case for case in cases if not texts or any(text in f"{case.key} {case.title}".lower() for text in texts)]
    if not cases:
        return
    folders: dict[str, Folder] = {needed.name: needed for case in cases for needed in case.needs}
    big = folder / ("big" if any(case.big for case in cases) else "none")
    say(f"starting {', '.join(shape.label for shape in shapes)} in {folder}")
    with drives(folder, beside, shapes, list(folders.values()), big) as running:
        rows += measure(running, cases, wanted.rounds, wanted.seconds, say)
        if hot is not None and not wanted.no_profile and profiling.program():
            for case in cases:
                clients = case.clients[-1]
                ends = (running[0], running[-1])
                hot[case.name(clients)] = {each.label: profiling.hot(case, clients, each) for each in ends}


if __name__ == "__main__":
    main()
