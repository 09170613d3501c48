"""A process that copies or moves a file and kills itself at a chosen instant: `DATA what source target number note`.

An instant is within and after each call of the cache, and both sides of each commit.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.crash.dying import Commits, Countdown, Store
from vfs.bootstrap import build
from vfs.model import OnConflict, Place
from vfs.operations import access, copying, moving, reading
from vfs.settings import Settings

WHAT = {"copy": copying.copy, "move": moving.move}


class Ends(Countdown):
    def arm(self) -> None:
        self._armed = True


class Calls(Store):
    """Pieces of a stream are all alike: the first of each object is an instant."""

    def _pieces(self, name: str, chunks: Any) -> Any:
        for number, chunk in enumerate(chunks):
            yield chunk
            if not number:
                self._countdown.point(f"{name}, a piece")


def main() -> None:
    data, what, source, target, number, note = sys.argv[1:]
    countdown = Ends(int(number), Path(note))
    with closing(build(Settings.load(None, os.environ, data=Path(data)))) as kelp:
        caller = access.system_caller(kelp, "dav")

        def place(path: str) -> Place:
            found = reading.resolve(kelp, caller, path.split("/")).place
            assert found is not None
            return found

        places = place(source), place(target)
        dying = replace(
            kelp,
            cache=Calls(kelp.cache, countdown),  # type: ignore[arg-type]
            database=Commits(kelp.database, countdown),  # type: ignore[arg-type]
        )
        countdown.arm()
        WHAT[what](dying, caller, *places, on_conflict=OnConflict.OVERWRITE)
        countdown.disarm()


if __name__ == "__main__":
    main()
