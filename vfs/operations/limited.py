"""Calls of a store that may hang (a mount whose server is gone): each has its time, one that hangs is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from vfs import trace
from vfs.errors import StoreUnavailable

T = TypeVar("T")


class Call(Generic[T]):
    """One call in a thread of its own, which ends when the call does, however late."""

    def __init__(self, action: Callable[[], T]) -> None:
        self._action = action
        self._trace = trace.current()
        self._found: list[T] = []
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="kelp-limited", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        return self._thread.is_alive()

    def result(self, seconds: float) -> T:
        """Raises StoreUnavailable when it takes longer, and what the action raises."""
        self._thread.join(seconds)
        if self._failed:
            raise self._failed[0]
        if not self._found:
            raise StoreUnavailable(f"no answer within {seconds:g} s")
        return self._found[0]

    def _run(self) -> None:
        try:
            with trace.under(self._trace):
                self._found.append(self._action())
        except BaseException as error:
            self._failed.append(error)
