"""Each known failure of other servers is covered by tests that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faces.failures.known import Known
from tests.faces.failures.others import APPS, MACOS, MOUNTS
from tests.faces.failures.stock import STOCK
from tests.faces.failures.windows import OFFICE, WINDOWS

FACES = Path(__file__).parent
FAILURES = {**WINDOWS, **OFFICE, **MACOS, **MOUNTS, **APPS}
ALL = [*((f"stock {number}", known) for number, known in STOCK.items()), *((str(n), k) for n, k in FAILURES.items())]


@pytest.fixture(scope="module")
def collected() -> frozenset[str]:
    """The tests that pytest finds in the files that the table names: `file::name`, parameters left out."""
    files = sorted({str(FACES / test.partition("::")[0]) for _, known in ALL for test in known.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=FACES.parent.parent)
    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr[-2000:]
    lines = (line.partition("[")[0] for line in listed.stdout.splitlines() if "::" in line)
    return frozenset(line.removeprefix("tests/faces/") for line in lines)


def test_no_row_is_left_out() -> None:
    assert sorted(STOCK) == list(range(1, 14))
    assert sorted(FAILURES) == list(range(1, 51))


@pytest.mark.parametrize(("row", "known"), ALL, ids=[row for row, _ in ALL])
def test_what_covers_it_exists(row: str, known: Known, collected: frozenset[str]) -> None:
    assert known.tests or known.scenarios, f"nothing covers: {known.what}"
    assert [test for test in known.tests if test not in collected] == []
    assert [name for name in known.scenarios if not (FACES / "replay" / f"{name}.replay").is_file()] == []
    assert known.source or row.startswith("stock")
