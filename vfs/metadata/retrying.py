"""Begin again when another change got in the way: no deadlock or race of the database ever reaches a caller."""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vfs import turns
from vfs.errors import Conflict

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 12
_LONGEST = 0.25  # seconds between two tries


def retried(change: Callable[P, R]) -> Callable[P, R]:
    """For a function that is one write transaction and nothing else: it runs again after a Conflict.

    The pauses grow and vary, so that those who met do not meet again. Raises the last Conflict when none of some dozen
    tries came through, which is then a 503 for the client.
    """

    @functools.wraps(change)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(1, _TRIES):
            try:
                return change(*args, **kwargs)
            except Conflict as error:
                log.debug("%s: try %d: %s", change.__name__, attempt, error)
                with turns.waiting():
                    time.sleep(random.uniform(0.0, min(_LONGEST, 0.002 * 2**attempt)))
        return change(*args, **kwargs)

    return run
