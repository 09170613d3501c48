"""Lists of values for `IN (…)`, of a few lengths only.

Whoever keeps statements keeps each text of one: SQLite's compiled ones, PostgreSQL's plans, our own translation. Lists
of every length from 1 to 500, in thirty statements, made a process grow for hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import repeat

MOST = 500  # values that one statement takes well
_EACH = 4  # lengths that are taken as they are


def listed(values: Sequence[object], prefix: str = "v") -> tuple[str, dict[str, object]]:
    """Placeholders, and what they stand for. The last value is there again until one of the lengths is reached; NULL
    stands for none at all."""
    if not values:
        return "NULL", {}
    names, marks = _names(prefix, _length(len(values)))
    found = dict(zip(names, values, strict=False))
    found.update(zip(names[len(values) :], repeat(values[-1])))
    return marks, found


def portions(values: Sequence[object]) -> Iterator[tuple[str, dict[str, object]]]:
    """The same for any number of values, at most `MOST` at a time."""
    for at in range(0, len(values), MOST):
        yield listed(values[at : at + MOST])


def _length(count: int) -> int:
    """Not below `count`: 1, 2, 3, 4, 6, 8, 12, 16, 24 …"""
    length = _EACH
    while length < count:
        length = length * 3 // 2 if length & (length - 1) == 0 else length // 3 * 4
    return length if count > _EACH else count


@lru_cache
def _names(prefix: str, length: int) -> tuple[tuple[str, ...], str]:
    names = tuple(f"{prefix}{n}" for n in range(length))
    return names, ", ".join(f":{name}" for name in names)
