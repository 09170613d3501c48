"""A mount that dies in the middle of a commit: `python -m tests.rooms.fuse.dying DATA USER_ID FILE_ID WHEN`.

WHEN is "written" (before the commit), the number of an object that is about to be stored, "stored" (all are, nothing is
committed), or "committed". With "small" before it, the file is one that becomes a single small object; then there is
"small begun" too: it is on its way to the disk.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fuse_mount.drafts import OpenFiles
from tests import engines
from vfs.bootstrap import build
from vfs.model import PART_SIZE, Caller, Role
from vfs.operations import writing
from vfs.storage.folder import _Begun


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(data: Path, user_id: int, file_id: int, when: str) -> None:
    kelp = build(engines.load(data))
    caller = Caller(user_id, "editor", Role.EDITOR, "fuse")
    files = OpenFiles(kelp)
    with kelp.database.read() as tx:
        entry = tx.entries.get(file_id)
    assert entry is not None
    handle = files.open(entry, os.O_RDWR, caller)
    handle.write(5, b"one")
    small = when.startswith("small ")
    when = when.removeprefix("small ")
    if not small:
        handle.write(2 * PART_SIZE, b"two")
    if when == "written":
        die()
    _arm(type(kelp.cache), when)
    handle.flush()
    die()


def _arm(store: Any, when: str) -> None:
    if when == "stored":
        writing.commit = die  # type: ignore[assignment]
    if when == "begun":
        _Begun.finish = die  # type: ignore[method-assign]
    inner, count = store.put, 0

    def put(self: object, key: str, chunks: Iterable[bytes]) -> Any:
        nonlocal count
        count += 1
        if str(count) == when:
            die()
        return inner(self, key, chunks)

    store.put = put


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
