"""What Kelp must reach (design, "Speed"): its rate as a multiple of a peer's, in one run, on one disk.

No peer syncs a PUT, Kelp does: where a case changes something, the peer that was made to sync is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.measuring import Cell, Row
from bench.processes import Memory

KELP = "Kelp"
_FIRST_MEMORY, _THEN_MEMORY = 150.0, 100.0  # MiB, resident, of one process


@dataclass(frozen=True)
class Target:
    """In all rows that `applies` names, at least `factor` times `peer`."""

    title: str
    stage: str
    peer: str
    factor: float
    applies: Callable[[Row], bool]


@dataclass(frozen=True)
class Verdict:
    """`reached` of `wanted` in the worst of the rows; both in times the peer's rate, or MiB."""

    target: str
    stage: str
    wanted: str
    reached: str
    met: bool
    worst: str
    missing: float  # by which factor it is missed; 1 or less when it is met


def _keys(*prefixes: str, clients: int = 0, many: bool = False) -> Callable[[Row], bool]:
    def applies(row: Row) -> bool:
        counted = (not clients or row.clients == clients) and (not many or row.clients > 1)
        return counted and row.key.startswith(prefixes)

    return applies


def _listings(word: str) -> Callable[[Row], bool]:
    return lambda row: row.key.startswith(("list-1000-", "list-10000-")) and row.key.endswith(f"-{word}")


_everything: Callable[[Row], bool] = lambda row: True  # noqa: E731
_long_listings = _keys("list-1000-", "list-10000-")
_reading_big = _keys("get-big", "ranges")
_folders = _keys("move-folder", "delete-folder")
_marks = _keys("lock", "proppatch")

TARGETS = (
    Target("PROPFIND depth 1 of 1,000 and 10,000", "first", "Apache", 5, _long_listings),
    Target("PROPFIND depth 1, unchanged", "then", "nginx", 1, _listings("unchanged")),
    Target("PROPFIND depth 1, changed", "then", "nginx", 0.5, _listings("changed")),
    Target("GET 4 KiB, many clients", "first", "rclone", 1.5, _keys("get-small", many=True)),
    Target("GET 4 KiB, many clients", "then", "Apache", 1, _keys("get-small", many=True)),
    Target("GET of a big file, ranges", "first", "Apache", 0.7, _reading_big),
    Target("GET of a big file, ranges", "then", "Apache", 1, _reading_big),
    Target("PUT of a big file", "first", "Apache", 1, _keys("put-big")),
    Target("PUT of a big file", "then", "Apache", 2, _keys("put-big")),
    Target("PUT new 4 KiB, 1 client", "first", "Apache", 0.5, _keys("put-new", clients=1)),
    Target("PUT new 4 KiB, many clients", "first", "Apache", 0.8, _keys("put-new", many=True)),
    Target("PUT new 4 KiB", "then", "Apache", 1, _keys("put-new")),
    Target("MOVE, DELETE of a folder", "first", "Apache", 5, _folders),
    Target("MOVE, DELETE of a folder", "then", "Apache", 20, _folders),
    Target("COPY of 1 MiB", "first", "Apache", 1.5, _keys("copy-medium")),
    Target("COPY of 1 MiB", "then", "lighttpd", 1, _keys("copy-medium")),
    Target("LOCK + UNLOCK, PROPPATCH", "first", "Apache", 1, _marks),
    Target("LOCK + UNLOCK, PROPPATCH", "then", "Apache", 2, _marks),
    Target("any case", "first", "WsgiDAV", 1, _everything),
    Target("any case", "then", "WsgiDAV", 3, _everything),
)


def verdicts(rows: Sequence[Row], memory: dict[str, Memory]) -> Iterator[Verdict]:
    """A verdict for each target of which something was measured; that of the row which is farthest from it."""
    for target in TARGETS:
        chosen = [row for row in rows if target.applies(row)]
        found = [(ratio, row) for row in chosen if (ratio := ratio_to(row, counterpart(row, target.peer))) is not None]
        if found:
            reached, row = min(found, key=lambda pair: pair[0])
            missing = target.factor / reached
            wanted = f"{target.factor:g}× {counterpart(row, target.peer)}"
            yield Verdict(target.title, target.stage, wanted, f"{reached:.2f}×", missing <= 1, row.name, missing)
    if KELP in memory:
        yield from _of_memory(memory[KELP].largest)


def _of_memory(used: float) -> Iterator[Verdict]:
    for stage, most in (("first", _FIRST_MEMORY), ("then", _THEN_MEMORY)):
        text = f"{used:.0f} MiB"
        yield Verdict("memory of a process after all", stage, f"≤ {most:.0f} MiB", text, used <= most, "", used / most)


def counterpart(row: Row, peer: str) -> str:
    """The label of the variant of `peer` that the row is compared with: the one that syncs, where there is one."""
    return f"{peer}+sync" if row.changes and f"{peer}+sync" in row.cells else peer


def ratio_to(row: Row, label: str) -> float | None:
    """Kelp's rate as a multiple of the server's; None when one of them has none."""
    ours, theirs = cell(row, KELP), cell(row, label)
    return ours.rate / theirs.rate if ours and theirs else None


def cell(row: Row, label: str) -> Cell | None:
    """What the server did in that row; None when it was not asked, cannot do it, or failed."""
    found = row.cells.get(label)
    return found if found and not found.failure else None
