"""Measured values as people read them."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def seconds(value: float) -> str:
    """0.04 ms, 3 ms, 1.2 s."""
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.2g} ms"


def size(value: float) -> str:
    """999 B, 1.5 KiB, 20 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def rate(amount: int, duration: float) -> str:
    return f"{amount / 1e6 / max(duration, 1e-9):.0f} MB/s"


def timed(action: Callable[[], object]) -> float:
    """Seconds that it took."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def typical(action: Callable[[], object], times: int) -> float:
    """The median of several."""
    return median(timed(action) for _ in range(times))
