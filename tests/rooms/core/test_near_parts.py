"""Sealed streams whose objects are files of this machine: memory that is used again, and what happens half way."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from tests import descriptors
from tests.rooms.core.drive import Drive
from tests.rooms.core.vault_of_drive import content_of, store_others, stored_bytes
from tests.vaults import make_vault
from vfs.crypto.frames import FRAME_SIZE, SEALED_FRAME_SIZE
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Entry
from vfs.operations import near_parts, reading
from vfs.operations.unsealing import Readable

pytestmark = pytest.mark.engine(cache="folder", reason="objects are files of this machine")

DATA = random.Random(7).randbytes(2 * PART_SIZE + 3 * FRAME_SIZE + 77)
PARTS = 3


@pytest.fixture
def vault(drive: Drive) -> Drive:
    make_vault(drive.kelp)
    return drive


@pytest.fixture
def entry(vault: Drive) -> Entry:
    return vault.put("vault/a.bin", DATA)


def opened(vault: Drive, entry: Entry) -> Readable:
    return reading.open_content(vault.kelp, vault.admin, entry)


def test_who_keeps_a_piece_keeps_its_bytes(vault: Drive, entry: Entry) -> None:
    assert b"".join(list(opened(vault, entry).chunks())) == DATA
    some = [memoryview(piece)[-9:] for piece in opened(vault, entry).chunks()]
    ends = [min((number + 1) * PIECE_SIZE, len(DATA)) for number in range(len(some))]
    assert [bytes(one) for one in some] == [DATA[end - 9 : end] for end in ends]


def test_memory_is_used_again(vault: Drive, entry: Entry) -> None:
    rooms = near_parts._Rooms(100)
    first = rooms.take(50)
    shown = first[10:20].toreadonly()
    del first
    second = rooms.take(100)
    second[:] = b"x" * 100
    assert bytes(shown) == bytes(10)
    del shown
    assert len(rooms.take(100)) == 100
    assert len(rooms._all) == 2


def test_streams_beside_each_other(vault: Drive, entry: Entry) -> None:
    """More than have a second thread."""
    with ThreadPoolExecutor(6) as threads:
        read = [threads.submit(lambda: b"".join(opened(vault, entry).chunks())) for _ in range(12)]
        assert all(each.result() == DATA for each in read)


@pytest.mark.parametrize("taken", [0, 1, 5, 12])
def test_one_that_is_given_up_leaves_nothing_open(vault: Drive, entry: Entry, taken: int) -> None:
    stream = opened(vault, entry).chunks()
    assert b"".join(islice(stream, taken)) == DATA[: taken * PIECE_SIZE]
    stream.close()  # type: ignore[attr-defined]
    del stream
    assert descriptors.open_below(vault.kelp.settings.data / "cache") == []
    assert near_parts._SPARE.acquire(blocking=False) or os.cpu_count() == 1
    near_parts._SPARE.release()


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("taken", [0, 1, 9])
def test_what_goes_away_meanwhile_comes_from_the_nas(vault: Drive, entry: Entry, part: int, taken: int) -> None:
    vault.mirror()
    key = content_of(vault.kelp, entry).parts[part].key
    stream = opened(vault, entry).chunks()
    shown = b"".join(islice(stream, taken))
    vault.kelp.cache.delete(key)
    assert shown + b"".join(stream) == DATA
    assert vault.kelp.background.wait(30)
    assert vault.read("vault/a.bin") == DATA


@pytest.mark.parametrize("frame", [0, 20, 127])
def test_a_bad_frame_comes_from_the_nas_and_is_healed(vault: Drive, entry: Entry, frame: int) -> None:
    vault.mirror()
    key = content_of(vault.kelp, entry).parts[1].key
    good = stored_bytes(vault, key)
    bad = bytearray(good)
    bad[frame * SEALED_FRAME_SIZE + 100] ^= 1
    store_others(vault, key, bytes(bad))
    assert b"".join(opened(vault, entry).chunks()) == DATA
    start = PART_SIZE + frame * FRAME_SIZE
    assert b"".join(opened(vault, entry).chunks(ByteRange(start + 5, start + 4101))) == DATA[start + 5 : start + 4101]
    assert vault.kelp.background.wait(30)
    assert stored_bytes(vault, key) == good
