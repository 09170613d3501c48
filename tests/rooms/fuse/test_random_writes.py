"""Whatever is written, cut and committed in whatever order by several descriptors: the file is what a bytearray is."""

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse_mount.drafts import OpenFile
from fuse_mount.spans import Spans
from tests.rooms.fuse.files import Files, close, whole
from vfs.model import PART_SIZE, Part
from vfs.operations.layouts import Fresh, Shared, Zeros, lay_out, new_bytes

STEPS = int(os.environ.get("KELP_FUSE_STEPS", "120"))
LARGEST = 200


@given(st.lists(st.tuples(st.sampled_from(("add", "cut")), st.integers(0, LARGEST), st.integers(0, 60))))
def test_spans_are_a_set_of_bytes(steps: list[tuple[str, int, int]]) -> None:
    spans, model = Spans(), set[int]()
    for what, start, size in steps:
        if what == "add":
            new = set(range(start, start + size))
            assert spans.missing(start, start + size) == len(new - model)
            assert spans.add(start, start + size) == len(new - model)
            model |= new
        else:
            assert spans.cut(start) == len({byte for byte in model if byte >= start})
            model = {byte for byte in model if byte < start}
        assert {byte for first, last in spans for byte in range(first, last)} == model
        assert spans.total == len(model)
        assert all(one[1] < other[0] for one, other in pairwise(spans))
        assert {b for a, z in spans.within(start, start + size) for b in range(a, z)} == model & set(
            range(start, start + size)
        )
        assert spans.touch(start, start + size) == bool(model & set(range(start, start + size)))


QUARTER = PART_SIZE // 4


@given(
    parts=st.lists(st.sampled_from((1, QUARTER, PART_SIZE - 1, PART_SIZE)), max_size=4),
    limit=st.integers(0, 20),
    size=st.integers(0, 24),
    odd=st.sampled_from((0, 0, 1)),
    written=st.sets(st.integers(0, 24), max_size=4),
    evicted=st.sets(st.integers(0, 4), max_size=2),
)
def test_a_layout_has_every_byte_once(
    parts: list[int], limit: int, size: int, odd: int, written: set[int], evicted: set[int]
) -> None:
    known = [Part(str(n), length, "sum") for n, length in enumerate(parts)]
    total, end = sum(parts), size * QUARTER + odd
    shows = min(limit * QUARTER, total, end)
    touched = Spans()
    for at in written:
        if at * QUARTER < end:
            touched.add(at * QUARTER, min(at * QUARTER + 7, end))
    layout = lay_out(known, shows, end, touched.touch, lambda key: int(key) not in evicted)
    at = 0
    for piece in layout:
        if isinstance(piece, Shared):
            first = sum(part.size for part in known[: int(piece.part.key)])
            assert (first, piece.part.size) == (at, piece.part.size)
            assert first + piece.part.size <= shows
            assert not touched.touch(first, first + piece.part.size)
            assert int(piece.part.key) not in evicted
            at += piece.part.size
            continue
        assert piece.start == at < piece.stop
        if isinstance(piece, Zeros):
            assert piece.start >= shows
            assert not touched.touch(piece.start, piece.stop)
            assert (piece.stop - piece.start) % PART_SIZE == 0
        at = piece.stop
    assert at == end
    assert not (len(layout) == 1 and isinstance(layout[0], Shared))
    assert sum(new_bytes(layout)) <= end
    assert all(not (isinstance(a, Fresh) and isinstance(b, Fresh)) for a, b in pairwise(layout))


class Model:
    """A file of some parts, written to by up to three descriptors; what was committed, and what is open."""

    path = "f"

    def __init__(self, files: Files, seed: int) -> None:
        self.files = files
        self.choice = random.Random(seed)
        self.now = bytearray()
        self.committed = b""
        self.open: list[OpenFile] = [files.create(self.path)]

    def step(self) -> None:
        weights = {
            self.write: 8,
            self.cut: 2,
            self.read: 4,
            self.flush: 2,
            self.reopen: 2,
            self.near_a_part: 3,
            self.whole_part: 1,
        }
        self.choice.choices(list(weights), list(weights.values()))[0]()

    def _write(self, at: int, data: bytes) -> None:
        if at > len(self.now):
            self.now.extend(bytes(at - len(self.now)))
        self.now[at : at + len(data)] = data
        assert self.choice.choice(self.open).write(at, data) == len(data)

    def write(self) -> None:
        at = self.choice.randrange(0, len(self.now) + 100_000)
        self._write(at, self.choice.randbytes(self.choice.choice((1, 100, 4096, 70_000))))

    def near_a_part(self) -> None:
        """Where one ends and the next begins, at most two of them."""
        at = self.choice.choice((1, 2)) * PART_SIZE + self.choice.randrange(-50, 50)
        self._write(at, self.choice.randbytes(self.choice.choice((1, 60, 4096))))

    def whole_part(self) -> None:
        """It may be stored before it is committed."""
        at = self.choice.choice((0, 1, 2)) * PART_SIZE
        self._write(at, self.choice.randbytes(1000) + bytes(PART_SIZE - 2000) + self.choice.randbytes(1000))

    def cut(self) -> None:
        size = self.choice.choice((0, self.choice.randrange(len(self.now) + 1), len(self.now) + 5000, 3 * PART_SIZE))
        self.choice.choice(self.open).truncate(size)
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))

    def read(self) -> None:
        at = self.choice.randrange(0, len(self.now) + 10)
        size = self.choice.choice((1, 4096, 300_000))
        assert self.choice.choice(self.open).read(at, size) == self.now[at : at + size]

    def flush(self) -> None:
        assert self.files.drive.read(self.path) == self.committed
        self.choice.choice(self.open).flush()
        self.committed = bytes(self.now)
        assert self.files.drive.read(self.path) == self.committed

    def reopen(self) -> None:
        if len(self.open) > 1 and self.choice.random() < 0.6:
            close(self.open.pop(self.choice.randrange(len(self.open))))
            self.committed = bytes(self.now)
        elif len(self.open) < 3:
            self.open.append(self.files.open(self.path))

    def end(self) -> None:
        assert all(whole(handle) == self.now for handle in self.open)
        for handle in self.open:
            close(handle)
        assert self.files.drive.read(self.path) == self.now
        assert self.files.open_files.disk.used == 0


@pytest.mark.parametrize("seed", [int(os.environ.get("KELP_FUSE_SEED", "1"))])
def test_a_file_is_what_a_bytearray_is(files: Files, seed: int) -> None:
    model = Model(files, seed)
    for _ in range(STEPS):
        model.step()
    model.end()
