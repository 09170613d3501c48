"""What lies below a draft comes from memory where it is there, and is as good as what any reader is given."""

from __future__ import annotations

import random

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close
from vfs.model import BLOCK_SIZE, PART_SIZE, PIECE_SIZE

DATA = random.Random(1).randbytes(PART_SIZE + 3 * PIECE_SIZE + 100)
PLACES = (0, 5, BLOCK_SIZE - 2, PIECE_SIZE - 1, 3 * PIECE_SIZE, PART_SIZE - 1, PART_SIZE + PIECE_SIZE, len(DATA) - 2)


def changed(files: Files, path: str = "f") -> bytes:
    """Write in places, close; what the file is to be."""
    handle, data = files.open(path), bytearray(DATA)
    for at in PLACES:
        handle.write(at, b"new")
        data[at : at + 3] = b"new"
    close(handle)
    return bytes(data)


def test_every_byte_between_what_was_written_is_as_it_was(drive: Drive, files: Files) -> None:
    drive.put("f", DATA)
    assert changed(files) == drive.read("f")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damage", ["another byte", "cut", "gone"])
def test_what_is_bad_in_the_cache_comes_from_the_nas(drive: Drive, files: Files, number: int, damage: str) -> None:
    drive.put("f", DATA)
    drive.mirror()
    key = files.objects("f")[number]
    good = b"".join(drive.kelp.cache.get(key))
    other = good[:PIECE_SIZE] + bytes([good[PIECE_SIZE] ^ 1]) + good[PIECE_SIZE + 1 :]
    drive.spoil(key, {"another byte": other, "cut": good[:-1], "gone": None}[damage])
    assert changed(files) == drive.read("f")
