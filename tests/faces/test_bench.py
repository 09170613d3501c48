"""The bench still runs, and whatever it asks of Kelp is done right: it compares bodies, listings and what it left."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import durable, file_cases, limits, mounts, plot, production_report, report
from bench.measuring import Cell, Row
from bench.mirrored import Carried, Lone
from bench.processes import Memory
from bench.s3_calls import Small
from bench.shapes import Shape
from bench.targets import verdicts
from tests.services import postgresql, redis
from tests.services.child import scratch_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_case_runs_on_kelp_and_on_plain_wsgidav(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--servers", "kelp,wsgidav", "--processes", "2"]
    done = subprocess.run(
        [*command, "--on", str(tmp_path), "--json", str(figures)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(figures.read_text())
    failures = {row["name"]: cell["failure"] for row in results["rows"] for cell in row["cells"].values()}
    assert set(failures.values()) == {""}, failures
    assert len(failures) > 35
    assert "## Targets" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "it cleans up behind itself"


@pytest.mark.slow
@pytest.mark.skipif(bool(mounts.missing()), reason="needs /dev/fuse and fusermount3")
def test_the_mount_is_measured_beside_the_disk(tmp_path: Path) -> None:
    pytest.importorskip("pyfuse3")
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.fuse", "--quick", "--on", str(tmp_path), "--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    readings = json.loads(figures.read_text())["readings"]
    assert readings.keys() == file_cases.CASES.keys()
    assert all({"Kelp", "disk"} <= found.keys() for found in readings.values())
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "it cleans up behind itself"


@pytest.mark.slow
@pytest.mark.skipif(bool(postgresql.missing() or redis.missing()), reason="needs PostgreSQL and Redis")
def test_the_production_bench_runs_in_all_its_parts(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.production", "--quick", "--no-profile", "--cases", "get-,put-new,list-,mix"]
    with scratch_folder("kelp-test-bench-") as on:  # PostgreSQL's own account cannot pass through pytest's folders
        done = subprocess.run(
            [*command, "--on", str(on), "--json", str(figures)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert list(on.iterdir()) == [], "it cleans up behind itself"
    results = json.loads(figures.read_text())
    cells = [cell for row in (*results["engines"], *results["nodes"]) for cell in row["cells"].values()]
    assert {cell["failure"] for cell in cells} == {""}
    assert (len(results["engines"]), len(results["nodes"])) == (8, 4)
    assert all({"server", "PostgreSQL", "Redis", "worker", "clients"} <= set(cell["parts"]) for cell in cells[-3:])
    assert len(results["backlogs"]) == 6
    assert len(results["lone"]) == 4
    assert {"Kelp", "boto3"} <= set(results["calls"])
    assert done.stdout.index("## Ratios") < done.stdout.index("## Figures") < done.stdout.index("## What limited")


def test_what_limited_a_case_first() -> None:
    embedded, node = Shape("embedded"), Shape("node", "postgresql", processes=2)

    def verdict(shape: Shape, number: int, **busy: float) -> str:
        return limits.first_limit(Cell(1.0, busy={"disk": 0.0, **busy}), number, shape, cores=4)

    assert verdict(embedded, 1, server=0.2, clients=0.1, disk=0.6) == "the disk"
    assert verdict(embedded, 1, server=0.2, clients=0.1) == "waiting"
    assert verdict(embedded, 1, server=0.6, clients=0.1, disk=0.1) == "server"
    assert verdict(embedded, 8, server=0.95, clients=0.5) == "the server's interpreter"
    assert verdict(node, 8, server=0.95, clients=0.5) == "waiting"
    assert verdict(node, 8, server=0.95, clients=0.5, others=1.0) == "disturbed"
    assert verdict(node, 8, server=1.4, clients=0.9, PostgreSQL=1.5) == "all cores: PostgreSQL"


def test_the_production_report_shows_ratios_and_what_failed() -> None:
    row = _row("lock", SQLite=200, PostgreSQL=50)
    failed = Row("move", 1, "move", "1/s", True, {"SQLite": Cell(1.0), "PostgreSQL": Cell(failure="it fell over")})
    for cell in (*row.cells.values(), failed.cells["SQLite"]):
        cell.busy.update(server=0.5, disk=0.1)
    call = dict.fromkeys(("put", "get"), 0.001)
    results = production_report.Results(
        ["date: today"],
        engines=[row, failed],
        backlogs={"SQLite": Carried(100, [2.0, 1.0, 9.0]), "PostgreSQL": Carried(100, [4.0])},
        lone={"SQLite": Lone([0.1, 0.3])},
        calls={"Kelp": Small(call, call, 10.0, 20.0), "boto3": Small({"put": 0.003, "get": 0.002}, call, 1.0, 2.0)},
    )
    text = production_report.text(results, [Shape("SQLite"), Shape("PostgreSQL", "postgresql")])
    lines = [line.strip("| ").replace(" ", "").split("|") for line in text.splitlines()]
    for wanted in (["lock", "0.25"], ["move", "–"], ["PostgreSQL", "0.50"], ["boto3", "3.00", "2.00"]):
        assert wanted in lines, text
    assert ["SQLite", "100", "2.0", "1.0–9.0", "50.0"] in lines
    assert "- move, PostgreSQL: it fell over" in text


def test_a_target_is_judged_by_its_worst_row_and_by_the_peer_that_syncs() -> None:
    rows = [
        _row("lock", Kelp=300, Apache=900, **{"Apache+sync": 200}),
        _row("proppatch", Kelp=100, Apache=10, **{"Apache+sync": 200}),
    ]
    first, then = [verdict for verdict in verdicts(rows, {}) if verdict.target.startswith("LOCK")]
    assert (first.wanted, first.reached, first.met, first.worst) == ("1× Apache+sync", "0.50×", False, "proppatch")
    assert then.missing == pytest.approx(4)


def test_the_report_shows_what_a_server_cannot_do() -> None:
    row = _row("lock", Kelp=300, Apache=150)
    row.cells["nginx"] = Cell(failure="stores no properties of clients")
    memory = {"Kelp": Memory(2, 100.0, 60.0, (80.0, 50.0))}
    results = report.Results(["Kelp", "Apache", "nginx"], [row], memory, ["date: today"])
    text = report.text(results)
    assert "- lock, nginx: stores no properties of clients" in text
    assert ["lock", "2.00", "–"] in [line.strip("| ").replace(" ", "").split("|") for line in text.splitlines()]
    assert ElementTree.fromstring(plot.svg([row])).tag.endswith("svg")


def _row(key: str, **rates: float) -> Row:
    return Row(key, 1, key, "1/s", True, {label: Cell(rate, cpu=0.001) for label, rate in rates.items()})


_CHANGES = """
import os, socket, sys
ours, theirs = socket.socketpair()
os.chdir(sys.argv[1])
os.mkdir("folder")
for name in ("a", "b"):
    with open(f"folder/{name}", "xb") as file:
        file.write(b"x")
ours.send(b"1")
with open("folder/.half", "xb", 0) as file:
    file.write(b"x")
    os.rename("folder/.half", "folder/a")
ours.send(b"2")
for name in ("a", "b"):
    os.unlink(f"folder/{name}")
os.rmdir("folder")
ours.send(b"3")
ours.send(b"4")
"""


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("strace")), reason="needs cc and strace")
def test_a_preloaded_peer_syncs_what_it_changed_before_it_answers_and_nothing_twice(tmp_path: Path) -> None:
    library, trace, served = durable.library(tmp_path), tmp_path / "trace", tmp_path / "served"
    served.mkdir()
    preloaded = ["-E", f"LD_PRELOAD={library}", "-E", f"BENCH_SYNC_BELOW={served}"]
    calls = ["-y", "-e", "trace=fsync,sendto", "-o", str(trace)]
    subprocess.run(["strace", *calls, *preloaded, sys.executable, "-c", _CHANGES, str(served)], check=True)
    found = re.findall(rf'fsync\(\d+<{served}(.*)>\)|sendto\(.*"(\d)"', trace.read_text())
    assert [path or answer or "/" for path, answer in found] == [
        *("/folder/a", "/folder/b", "/folder", "/", "1"),  # each file, each folder once
        *("/folder/.half", "/folder", "2"),  # its bytes before its name
        *("/", "3"),  # a folder that has gone needs no sync, its own does
        "4",
    ]
