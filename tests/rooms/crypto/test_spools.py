"""Spools: what is put aside comes back as it was, and no disk has seen it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.crypto.spools import Spool
from vfs.errors import StoreUnavailable


@given(pieces=st.lists(st.binary(max_size=40)), in_memory=st.integers(0, 200))
def test_pieces_come_back_in_their_order(pieces: list[bytes], in_memory: int) -> None:
    with Spool(in_memory) as spool:
        for piece in pieces:
            spool.add(piece)
        assert spool.size == sum(map(len, pieces))
        assert list(spool) == pieces


def test_what_the_disk_has_is_sealed_and_a_change_of_it_is_seen() -> None:
    with Spool(10) as spool:
        for number in range(3):
            spool.add(b"secret" * 5000 + bytes([number]))
        assert spool._file is not None
        spool._file.flush()
        stored = os.pread(spool._file.fileno(), 1 << 20, 0)
        assert len(stored) > spool.size and b"secret" not in stored
        os.pwrite(spool._file.fileno(), bytes([stored[40_000] ^ 1]), 40_000)
        taken = iter(spool)
        assert next(taken).startswith(b"secret")
        with pytest.raises(StoreUnavailable):
            next(taken)
