"""Begin again when another change got in the way, or when one turns out to need the whole tree.

No deadlock and no race of the database ever reaches a caller.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import ParamSpec, TypeVar

from vfs import turns
from vfs.errors import Conflict

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 12
_SHARED, _EXCLUSIVE = False, True
_LONGEST = 0.25  # seconds between two tries
_PATIENCE = 6.0  # seconds after which nothing is tried again


class NeedsWholeTree(Exception):
    """Raised by `Tx.require_tree`; never leaves `retried`."""


class Busy(Exception):
    """Something would have to be waited for where that may not be; nothing has changed. Never leaves `at_once`'s
    caller, `Database.at_once`."""


class _Wanted(threading.local):
    whole_tree = _SHARED
    patience = True


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


def may_wait() -> bool:
    """Not so inside `at_once`: there Busy is raised instead."""
    return _wanted.patience


class at_once:  # noqa: N801  # read as a statement: `with retrying.at_once():`
    """This thread's changes in the block wait for nobody."""

    __slots__ = ()

    def __enter__(self) -> None:
        _wanted.patience = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _wanted.patience = True


def retried(change: Callable[P, R]) -> Callable[P, R]:
    """For a function that is one write transaction and nothing else: it runs again after a Conflict.

    The pauses grow and vary, so that those who met do not meet again. Raises the last Conflict when none of a dozen
    tries came through, or some seconds have passed; it is then a 503 for the client.
    """

    def attempt_once(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return change(*args, **kwargs)
        except NeedsWholeTree:
            with _whole_tree():
                return change(*args, **kwargs)

    @functools.wraps(change)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        until = time.monotonic() + _PATIENCE
        for attempt in itertools.count(1):
            try:
                return attempt_once(*args, **kwargs)
            except Conflict as error:
                if not _wanted.patience:
                    raise Busy from error
                if attempt == _TRIES or time.monotonic() > until:
                    log.warning("%s is given up after %d tries: %s", change.__name__, attempt, error)
                    raise
                log.debug("%s: try %d: %s", change.__name__, attempt, error)
                with turns.waiting():
                    time.sleep(random.uniform(0.0, min(_LONGEST, 0.002 * 2**attempt)))
        raise AssertionError("numbers do not end")

    return run
