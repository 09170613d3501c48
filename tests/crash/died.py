"""Run a program of the tests that kills itself at a chosen instant (`dying.Countdown`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import engines
from tests.services.child import bound_to_parent

_ROOT = Path(__file__).parents[2]


def died(module: str, data: Path, *words: str, number: int) -> str:
    """`python -m MODULE DATA words… NUMBER NOTE`, on the drive of that data folder. Where it died; "" when it came to
    its end."""
    note = data.parent / "instant"
    note.write_text("")
    command = [sys.executable, "-m", module, str(data), *words, str(number), str(note)]
    done = subprocess.run(
        bound_to_parent(command, signal.SIGKILL),
        cwd=_ROOT,
        env={**os.environ, **engines.environ_of(data), "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    where = note.read_text()
    assert done.returncode == (-signal.SIGKILL if where else 0), done.stderr
    return where
