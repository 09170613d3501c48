"""A process that moves, trashes and restores the folders of one folder until it is killed: `DATA FOLDER USER`."""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from vfs.bootstrap import build
from vfs.errors import KelpError
from vfs.model import Caller, Place, Role
from vfs.operations import moving, trashing
from vfs.settings import Settings


def main() -> None:
    data, folder, user = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kelp = build(Settings.load(None, os.environ, data=Path(data)))
    caller = Caller(user, "admin", Role.ADMIN, "rest")
    for here, there in itertools.cycle(itertools.permutations((Place(folder, "d"), Place(folder, "e")))):
        for item in trashing.list_trash(kelp, caller):
            with suppress(KelpError):
                trashing.restore(kelp, caller, item.entry.uuid)
        with suppress(KelpError):  # who was killed here before has left it under the other name
            moving.move(kelp, caller, here, there)
        time.sleep(random.uniform(0, 0.02))
        with suppress(KelpError):
            trashing.remove(kelp, caller, there)
        time.sleep(random.uniform(0, 0.02))


if __name__ == "__main__":
    main()
