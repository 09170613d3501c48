"""A mount that dies when parts of a file are stored and it is not committed:
`python -m tests.rooms.fuse.dying_ahead DATA USER_ID NOW_NS WHEN`. WHEN is "ahead" (the file is still being written) or
"claimed" (in its commit, all is stored).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fuse_mount.drafts import OpenFiles
from tests import engines
from tests.rooms.core.drive import Clock
from vfs.bootstrap import build
from vfs.model import PART_SIZE, ROOT_ID, Caller, Place, Role
from vfs.operations import writing


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(data: Path, user_id: int, now_ns: int, when: str) -> None:
    kelp = build(engines.load(data), clock=Clock(now_ns))
    caller = Caller(user_id, "editor", Role.EDITOR, "fuse")
    files = OpenFiles(kelp)
    _, handle = files.create(Place(ROOT_ID, "f"), 0o644, caller)
    for number in range(3):
        handle.write(number * PART_SIZE, bytes(range(256)) * (PART_SIZE // 256))
    files.storing.wait(60)
    if when == "ahead":
        die()
    writing.commit = die  # type: ignore[assignment]
    handle.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
