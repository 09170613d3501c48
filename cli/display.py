"""How answers look: tables for people, tab-separated lines for programs, sizes and times in words."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

_COMMANDING = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def out() -> Console:
    """Standard output. Made for each use, since tests and pipes replace sys.stdout."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def err() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def say(line: str) -> None:
    out().print(printable(line))


def complain(line: str) -> None:
    """One line on standard error, as every refusal ends."""
    err().print(Text.assemble(("kelp: ", "bold red"), printable(" ".join(line.split()))))


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, right: Sequence[str] = ()) -> None:
    """A table on a terminal, with `empty` said when there is no row; plain lines with tabs elsewhere."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
        return
    if not cells:
        out().print(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def show_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def printable(text: str) -> str:
    """`text` in one line and harmless: lock owners and file names are strangers' words, and a terminal obeys them."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _commands_terminal(char) else char for char in text)


def _commands_terminal(char: str) -> bool:
    # Control characters, line separators, lone surrogates, and marks that turn the writing direction round.
    return unicodedata.category(char) in _COMMANDING or char in _TURNS


def size_in_words(size: int) -> str:
    """`size` bytes as people say it: 999 B, 1.5 KiB, 20 MiB."""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024 or unit == "PiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def time_in_words(when_ns: int) -> str:
    """Local time to the second of `when_ns` (nanoseconds since 1970)."""
    return datetime.fromtimestamp(when_ns / 1e9, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration_in_words(seconds: float) -> str:
    """How long: 4 s, 3 min, 5 h, 12 days."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
