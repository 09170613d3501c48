"""How the serving process takes memory from the system."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h, mallopt(3)


def share_arenas() -> None:
    """Two arenas for all threads, where the C library is glibc. By itself it gives each thread its own, and what one
    big change took from each stays there: 159 instead of 108 MiB after copies of 12,000 files."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 2)
