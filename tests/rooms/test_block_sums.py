"""The sums of a part's blocks do not depend on how its bytes come in."""

from __future__ import annotations

import random

import pytest
from xxhash import xxh3_64_intdigest

from vfs.model import BLOCK_SIZE
from vfs.storage.block_sums import BlockSums


def expected(data: bytes) -> bytes:
    blocks = [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]
    return b"".join(xxh3_64_intdigest(block).to_bytes(8, "big") for block in blocks)


def sums(data: bytes, size: int) -> bytes | None:
    made = BlockSums()
    for at in range(0, len(data), size):
        made.update(memoryview(data)[at : at + size])
    return made.finish()


@pytest.mark.parametrize("size", [1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, 1024 * 1024])
@pytest.mark.parametrize("length", [BLOCK_SIZE + 1, 2 * BLOCK_SIZE, 5 * BLOCK_SIZE - 7, 1024 * 1024 + 3])
def test_pieces_of_any_size_give_the_same_sums(length: int, size: int) -> None:
    data = random.Random(length).randbytes(length)
    assert sums(data, size) == expected(data)


@pytest.mark.parametrize("length", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE])
def test_one_block_is_verified_by_the_checksum_of_its_part(length: int) -> None:
    assert sums(bytes(length), 1000) is None
