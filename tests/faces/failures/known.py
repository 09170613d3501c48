"""A failure of another server, and the tests that keep it from happening here.

A test is `file::name` below tests/faces, without parameters; a scenario is the name of a file in tests/faces/replay,
which runs with the mirror idle and stopped, in one process and in four. `test_known_failures.py` sees that all exist.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """`what` happened elsewhere, where it was reported, and what covers it here."""

    what: str
    tests: tuple[str, ...]
    scenarios: tuple[str, ...] = ()
    source: str = ""


def rules(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"rules/test_{file}.py::test_{name}" for name in names)
