"""The results as a table in Markdown, with all that is needed to read them later."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; all but the first are right-aligned."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    shown = [
        "| "
        + " | ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])


def figure(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def circumstances(folder: Path) -> str:
    """Machine, date and versions, as a list."""
    with_changes = " with changes" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""
    packages = ", ".join(f"{name} {version(name)}" for name in ("wsgidav", "cheroot", "sqlalchemy"))
    machine = f"{os.cpu_count()} cores, {_processor()}, {_memory_gib():.0f} GiB, {platform.system()}"
    rclone = (_said("rclone", "version") or "no rclone").splitlines()[0]
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{machine} {platform.release()}",
        "file system": _file_system(folder),
        "kelp": f"{_said('git', 'rev-parse', '--short', 'HEAD') or version('kelp')}{with_changes}",
        "versions": f"Python {platform.python_version()}, {packages}, {rclone}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system(folder: Path) -> str:
    """Type of the file system that holds `folder`: fsync costs nothing on tmpfs."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
