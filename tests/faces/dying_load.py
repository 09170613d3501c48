"""`kelp load DUMP` that kills itself at a chosen instant: `python -m tests.faces.dying_load INSTANT DUMP`.

An instant is either side of each step of a load's rows, and each piece of an object.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import kelp
from vfs.metadata import transfer
from vfs.operations import loading

_STEPS = ("begin", "advance", "insert", "mark_stored", "set_counters", "finish")


class _Countdown:
    def __init__(self, left: int) -> None:
        self._left = left

    def instant(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.instant()
            result = inner(*arguments, **options)
            self.instant()
            return result

        return call

    def after_each(self, inner: Callable[[Any], Any]) -> Callable[[Any], Iterator[Any]]:
        def pieces(data: Any) -> Iterator[Any]:
            for piece in inner(data):
                yield piece
                self.instant()

        return pieces


def main() -> int:
    countdown = _Countdown(int(sys.argv[1]))
    for name in _STEPS:
        setattr(transfer, name, countdown.around(getattr(transfer, name)))
    loading.pieces = countdown.after_each(loading.pieces)  # type: ignore[attr-defined, assignment]
    loading._BATCH = 4  # type: ignore[misc]
    return kelp.run(["load", sys.argv[2]])


if __name__ == "__main__":
    sys.exit(main())
