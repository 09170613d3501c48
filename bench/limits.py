"""What was the first thing that limited a case, as far as the clocks of processes and of the disk can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.measuring import Cell, Row
from bench.report import table
from bench.shapes import Shape

_ALL, _ONE = 0.9, 0.85  # of the cores, of one core: from here on it counts as full
_DISK, _OTHERS = "disk", "others"
_DISTURBED = 0.3  # cores that others may use at most, else nothing can be told
_NONE = "–"
_TEXT = """\
How much of one core each kind of process was busy while clients waited for answers, and how much of that time the disk
had something to do. With one client these add up to 100 %, with what nobody was busy for (the disk, a change of
processes) as the rest: "waiting". "disturbed": other programs used the machine ("others"). Functions: the innermost
ones of Kelp in which the server's threads were while they were not idle, by py-spy in a run of its own; a sync or a
call to another process is not idle to it."""


def limits(
    rows: Sequence[Row], shapes: Sequence[Shape], cores: int, hot: dict[str, dict[str, list[str]]]
) -> Iterator[str]:
    """A table of how busy what was, with the verdict; then the functions, of the rows that have some."""
    yield _TEXT
    by_label = {shape.label: shape for shape in shapes}
    names = _order(rows)
    lines = []
    for row in rows:
        for label, cell in row.cells.items():
            if not cell.failure:
                shares = (f"{cell.busy[name]:.0%}" if name in cell.busy else _NONE for name in names)
                lines.append((row.name, label, *shares, first_limit(cell, row.clients, by_label[label], cores)))
    yield table(("case", "shape", *names, "first limit"), lines)
    told = [
        f"- {row}, {label}: {'; '.join(found)}" for row, each in hot.items() for label, found in each.items() if found
    ]
    if told:
        yield "\n".join(told)


def _order(rows: Sequence[Row]) -> list[str]:
    found = dict.fromkeys(
        name for row in rows for cell in row.cells.values() for name in cell.busy if name not in (_OTHERS, _DISK)
    )
    return [*found, _OTHERS, _DISK]


def first_limit(cell: Cell, clients: int, shape: Shape, cores: int) -> str:
    """In a few words."""
    busy = {name: value for name, value in cell.busy.items() if name not in (_OTHERS, _DISK)}
    most = max(busy, key=lambda name: busy[name])
    processes = shape.nodes * (shape.processes or (1 if shape.database == "sqlite" else cores))
    if cell.busy.get(_OTHERS, 0.0) > _DISTURBED:
        return "disturbed"
    if sum(busy.values()) >= _ALL * cores:
        return f"all cores: {most}"
    if busy["server"] >= _ONE * processes:
        return "the server's interpreter"
    rest = 1 - sum(busy.values()) if clients == 1 else _ONE * cores - sum(busy.values())
    if rest > busy[most]:
        return "the disk" if cell.busy[_DISK] >= rest / 2 else "waiting"
    return most
