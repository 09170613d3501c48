"""Whose fault it was, and the state of the NAS: up, or down since when and why (design §5).

The state is a row of the database, so every process sees it. While it is down nothing is tried but one probe
every few seconds; no retry is used up.
"""

from __future__ import annotations

import logging

from vfs.core import Kelp
from vfs.errors import KelpError, NasDown, StoreError, StoreUnavailable
from vfs.operations import nas_state
from vfs.operations.nas_state import NasState

log = logging.getLogger(__name__)


def is_entry_fault(error: Exception) -> bool:
    """A fault of one entry (its name, its rights, its bytes): the only kind that uses up a retry."""
    return isinstance(error, StoreError) and not is_outage(error)


def is_outage(error: Exception) -> bool:
    """NAS, cache or database do not answer: tried again for as long as it takes. A content that is lost is the
    entry's fault."""
    return isinstance(error, StoreUnavailable)


def reason(error: Exception) -> str:
    """One line for the event's error_message."""
    return str(error) if isinstance(error, KelpError) else f"{type(error).__name__}: {error}"


def is_up(kelp: Kelp) -> bool:
    return nas_state.read(kelp).up


def declare(kelp: Kelp, error: NasDown) -> None:
    """The NAS is down from now on."""
    if is_up(kelp):
        log.error("the NAS is down: %s; changes wait, nothing is lost", error)
        nas_state.write(
            kelp, NasState(False, str(error), kelp.clock.now_ns(), full=error.reason in ("ENOSPC", "EDQUOT"))
        )


def probe(kelp: Kelp) -> bool:
    """Look whether the NAS answers again; when it does, the backlog may drain."""
    before = nas_state.read(kelp)
    if before.up:
        return True
    try:
        kelp.nas.probe()
        if before.full:
            _require_room(kelp)
    except NasDown as error:
        log.debug("the NAS is still down: %s", error)
        return False
    seconds = (kelp.clock.now_ns() - before.since_ns) // 1_000_000_000
    log.warning("the NAS is back after %d s", seconds)
    nas_state.write(kelp, NasState(True, "", kelp.clock.now_ns()))
    return True


def _require_room(kelp: Kelp) -> None:
    """After "full", room for the smallest waiting file, else every file would be tried in vain."""
    needed = nas_state.smallest_waiting(kelp) + nas_state.RESERVE
    if kelp.nas.usage().free < needed:
        raise NasDown("the NAS is full", "ENOSPC")
