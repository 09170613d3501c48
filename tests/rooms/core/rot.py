"""Damage as disks do it: bytes that changed in the cache or on the NAS, with nothing else to tell."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.rooms.core.drive import Drive
from vfs.model import BLOCK_SIZE, PART_SIZE, Content

SIZES = {
    "small": 4096,
    "one block": BLOCK_SIZE,
    "one part": 5 * BLOCK_SIZE - 100,
    "full part": PART_SIZE,
    "many parts": 2 * PART_SIZE + 3 * BLOCK_SIZE + 7,
}
PLACES = ("beginning", "middle", "end")


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def place(size: int, where: str) -> int:
    return {"beginning": 0, "middle": size // 2, "end": size - 1}[where]


def mirrored(drive: Drive, name: str, data: bytes) -> Content:
    """A file that is in the cache and on the NAS, and in nobody's memory."""
    drive.put(name, data)
    drive.mirror()
    forget(drive)
    drive.kelp.holds.flush()  # where the machine is busy, the mirror's reading was noted
    return content_of(drive, name)


def content_of(drive: Drive, name: str) -> Content:
    content_id = drive.entry(name).content_id
    assert content_id is not None
    with drive.kelp.database.read() as tx:
        content = tx.contents.get(content_id)
    assert content is not None
    return content


def forget(drive: Drive) -> None:
    """Small contents are asked of the stores again."""
    drive.kelp.small._kept.clear()
    drive.kelp.small._bytes = 0


def in_cache(drive: Drive, key: str) -> bytes:
    return b"".join(drive.kelp.cache.get(key))


def flip(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for at in places:
        changed[at] ^= 0x10
    return bytes(changed)


def rot_cache(drive: Drive, content: Content, *places: int) -> None:
    """Flip a bit of each of these bytes of a content."""
    drive.damaged = True
    offset = 0
    for part in content.parts:
        inside = [at - offset for at in places if offset <= at < offset + part.size]
        if inside:
            drive.spoil(part.key, flip(in_cache(drive, part.key), *inside))
        offset += part.size


def nas_file(drive: Drive, name: str) -> Path:
    (file,) = drive.nas.glob(f"*__{name}")
    return file


def rot_nas(drive: Drive, name: str, *places: int) -> None:
    """The same on the NAS; size and time of the file stay."""
    drive.damaged = True
    file = nas_file(drive, name)
    before = file.stat()
    with file.open("r+b") as opened:
        for at in places:
            opened.seek(at)
            byte = opened.read(1)[0]
            opened.seek(at)
            opened.write(bytes([byte ^ 0x10]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def settle(drive: Drive) -> None:
    """Until nothing goes on in the background."""
    assert drive.kelp.background.wait(30)


def statuses(drive: Drive, content: Content) -> set[str]:
    with drive.kelp.database.read() as tx:
        return {str(status) for status in tx.restoring.statuses([part.key for part in content.parts]).values()}


def whole_in_cache(drive: Drive, content: Content) -> bytes:
    return b"".join(in_cache(drive, part.key) for part in content.parts)


def alerts(drive: Drive) -> list[tuple[str, str, int]]:
    """(kind, subject, how often) of those that are open."""
    rows = drive.sql("SELECT kind, subject, count FROM alerts WHERE closed_ns IS NULL ORDER BY kind, subject")
    return [tuple(row) for row in rows]
