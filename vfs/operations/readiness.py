"""Can the drive take and give files? What balancers ask every second; a look is cheap, and hangs as its part does."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.errors import ObjectMissing
from vfs.operations import backlog, nas_state
from vfs.operations.nas_state import NasState

_NO_OBJECT = "ready"  # a key that no object has: keys are random


@dataclass(frozen=True, slots=True)
class Known:
    """What the database tells. `waiting`: changes that are not on the NAS yet."""

    nas: NasState
    waiting: int


def ask_database(kelp: Kelp) -> Known:
    """Raises StoreUnavailable."""
    return Known(nas_state.read(kelp), backlog.waiting(kelp))


def ask_cache(kelp: Kelp) -> None:
    """Raises StoreUnavailable."""
    kelp.cache.usage()
    with contextlib.suppress(ObjectMissing):
        kelp.cache.stat(_NO_OBJECT)
