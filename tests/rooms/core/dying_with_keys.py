"""A process that works on keys of vaults and kills itself at a chosen instant: `DATA what number note`.

An instant is any system call that changes a file, each wrapped key, and both sides of each commit.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.crash.dying import Countdown
from vfs.bootstrap import build
from vfs.metadata.database import Database, Tx
from vfs.metadata.vaults import Vaults
from vfs.operations import rewrapping, server_keys
from vfs.settings import Settings

WORKS = {"init": server_keys.init, "rotate": server_keys.rotate, "rewrap": rewrapping.run}


class _OfThisThread(Countdown):
    """What another thread does meanwhile is no instant of the work: a look at the NAS goes on from the start."""

    def point(self, name: str) -> None:
        if threading.current_thread() is threading.main_thread():
            super().point(name)


def _with_instants(countdown: Countdown) -> None:
    write, wrap = Database.write, Vaults.wrap

    @contextlib.contextmanager
    def writing(self: Database, quiet: bool = False) -> Iterator[Tx]:
        with write(self, quiet) as tx:
            yield tx
            countdown.point("before a commit")
        countdown.point("after a commit")

    def wrapping(self: Vaults, *arguments: Any) -> None:
        wrap(self, *arguments)
        countdown.point("a wrapped key")

    Database.write = writing  # type: ignore[method-assign, assignment]
    Vaults.wrap = wrapping  # type: ignore[method-assign]


def main() -> None:
    data, what, number, note = sys.argv[1:]
    countdown = _OfThisThread(int(number), Path(note))
    with contextlib.closing(build(Settings.load(None, os.environ, data=Path(data)))) as kelp:
        _with_instants(countdown)
        countdown.arm(alone=True)
        WORKS[what](kelp)
        countdown.disarm()


if __name__ == "__main__":
    main()
