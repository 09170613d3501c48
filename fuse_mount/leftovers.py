"""Drafts on the disk that nobody has open: of a mount that was killed, or that could not commit them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuse_mount.draft_file import RECORD, WRITTEN, Header, Written
from vfs.model import PIECE_SIZE


@dataclass(frozen=True, slots=True)
class Leftover:
    """A draft that nobody has open: of a mount that was killed, or that could not commit it."""

    header: Header
    data: Path
    log: Path
    written: Written

    def remove(self) -> None:
        for path in (self.log, self.data):
            path.unlink(missing_ok=True)
        folder = self.log.parent
        if not any(folder.glob("*.log")):
            shutil.rmtree(folder, ignore_errors=True)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Of one span."""
        with self.data.open("rb") as file:
            for at in range(start, stop, PIECE_SIZE):
                file.seek(at)
                yield file.read(min(PIECE_SIZE, stop - at))


def leftovers(folder: Path) -> Iterator[Leftover]:
    """Drafts below `folder` whose mount is gone, the oldest first; folders with nothing in them are removed."""
    found = []
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.name.startswith(".") or _is_alive(place):
            continue
        drafts = [draft for log in place.glob("*.log") if (draft := _replayed(log)) is not None]
        if not drafts:
            shutil.rmtree(place, ignore_errors=True)
        found += drafts
    return iter(sorted(found, key=lambda draft: draft.header.began_ns))


def _is_alive(place: Path) -> bool:
    try:
        fd = os.open(place / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return not place.is_dir()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _replayed(log: Path) -> Leftover | None:
    """What the log tells; its last record may be torn."""
    try:
        line, _, records = log.read_bytes().partition(b"\n")
        header = Header(**json.loads(line)) if line else None
    except (OSError, ValueError, TypeError):
        return None
    if header is None or not records:
        return None
    written = Written(header.size)
    for at in range(0, len(records) - RECORD.size + 1, RECORD.size):
        what, first, second = RECORD.unpack_from(records, at)
        if what == WRITTEN:
            written.write(first, second)
        else:
            written.cut(first)
    return Leftover(header, log.with_suffix(".data"), log, written)
