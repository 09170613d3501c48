"""Run a program of the tests that kills itself at a chosen instant (`dying.Countdown`)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests import engines, warm_starts
from tests.services.child import bound_to_parent

_ROOT = Path(__file__).parents[2]


def died(module: str, data: Path, *words: str, number: int) -> str:
    """`python -m MODULE DATA words… NUMBER NOTE`, on the drive of that data folder. Where it died; "" when it came to
    its end."""
    note = data.parent / "instant"
    note.write_text("")
    command = bound_to_parent([sys.executable, "-m", module, data, *words, str(number), note], signal.SIGKILL)
    done = warm_starts.run(command, {**os.environ, **engines.environ_of(data), "PYTHONPATH": str(_ROOT)}, 120)
    where = note.read_text()
    assert done.returncode == (-signal.SIGKILL if where else 0), done.stderr
    return where
