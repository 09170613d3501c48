"""Begin again when another change got in the way, or when one turns out to need the whole tree.

No deadlock and no race of the database ever reaches a caller.
"""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from vfs import turns
from vfs.errors import Conflict

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 12
_SHARED, _EXCLUSIVE = False, True
_LONGEST = 0.25  # seconds between two tries


class NeedsWholeTree(Exception):
    """Raised by `Tx.require_tree`; never leaves `retried`."""


class _Wanted(threading.local):
    whole_tree = _SHARED


_wanted = _Wanted()


def wants_whole_tree() -> bool:
    """This thread's change found out that it reaches below a folder, and runs once more."""
    return _wanted.whole_tree


@contextmanager
def _whole_tree() -> Iterator[None]:
    _wanted.whole_tree = _EXCLUSIVE
    try:
        yield
    finally:
        _wanted.whole_tree = _SHARED


def retried(change: Callable[P, R]) -> Callable[P, R]:
    """For a function that is one write transaction and nothing else: it runs again after a Conflict.

    The pauses grow and vary, so that those who met do not meet again. Raises the last Conflict when none of some dozen
    tries came through, which is then a 503 for the client.
    """

    def attempt_once(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return change(*args, **kwargs)
        except NeedsWholeTree:
            with _whole_tree():
                return change(*args, **kwargs)

    @functools.wraps(change)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(1, _TRIES):
            try:
                return attempt_once(*args, **kwargs)
            except Conflict as error:
                log.debug("%s: try %d: %s", change.__name__, attempt, error)
                with turns.waiting():
                    time.sleep(random.uniform(0.0, min(_LONGEST, 0.002 * 2**attempt)))
        return attempt_once(*args, **kwargs)

    return run
