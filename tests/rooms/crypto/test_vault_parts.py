"""Sealed parts: what comes back is what went in, or an error that names part and frame."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs.crypto import frames
from vfs.crypto.frames import FRAME_SIZE, MAX_PLAIN_SIZE, SEALED_FRAME_SIZE
from vfs.crypto.parts import NewPart, PartKey, open_buffer, open_range, part_id, part_name
from vfs.errors import ContentCorrupt

MIB = 1024 * 1024
EDGES = [1, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7]
DATA = random.Random(8).randbytes(MAX_PLAIN_SIZE)
lengths = st.sampled_from(EDGES) | st.integers(1, 3 * MIB)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """`data` in pieces of these sizes, again and again."""
    at, turn = 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def sealed_part(plain: bytes) -> tuple[PartKey, bytes]:
    part = NewPart()
    return part.key, bytes(part.seal_buffer(plain))


@settings(deadline=None, max_examples=40)
@given(lengths, st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=4), st.data())
def test_pieces_of_any_size_are_sealed_and_opened(length: int, sizes: list[int], data: st.DataObject) -> None:
    plain, part = DATA[:length], NewPart()
    sizes = [max(size, length // 500) for size in sizes]
    sealed = b"".join(part.seal(cut(plain, sizes)))
    assert len(sealed) == frames.sealed_length(length)
    assert frames.plain_length(len(sealed)) == length
    assert bytes(open_buffer(part.key, length, sealed)) == plain
    start = data.draw(st.integers(0, length))
    end = data.draw(st.integers(start, length))
    needed = frames.sealed_range(length, start, end)
    given_bytes = sealed[needed.start : needed.stop]
    assert b"".join(open_range(part.key, length, start, end, cut(given_bytes, sizes))) == plain[start:end]


@pytest.mark.parametrize("length", [*EDGES, MAX_PLAIN_SIZE])
def test_a_stream_and_a_buffer_seal_alike(length: int) -> None:
    part, twin = NewPart(), NewPart()
    twin.key = part.key  # one key for two plain texts: only here, where they are the same
    assert b"".join(part.seal(cut(DATA[:length], [70_000]))) == twin.seal_buffer(DATA[:length])


def by_one_buffer(data: bytes, size: int) -> Iterator[memoryview]:
    """As stores may give them: what was given before changes when the next is asked for."""
    buffer = bytearray(size)
    for piece in cut(data, [size]):
        buffer[:] = bytes(size)
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


@pytest.mark.parametrize("size", [1000, 65_536, 65_552, MIB - 1, MIB, MIB + 5, 5 * MIB])
def test_whoever_gives_chunks_may_use_a_buffer_again(size: int) -> None:
    plain, part = DATA[: 3 * MIB + 7], NewPart()
    sealed = b"".join(bytes(piece) for piece in part.seal(by_one_buffer(plain, size)))
    opened = open_range(part.key, len(plain), 0, len(plain), by_one_buffer(sealed, size))
    assert b"".join(bytes(piece) for piece in opened) == plain


def test_pieces_that_were_given_out_stay() -> None:
    part = NewPart()
    sealed = list(part.seal(by_one_buffer(DATA, MIB)))
    plain = list(open_range(part.key, len(DATA), 0, len(DATA), by_one_buffer(b"".join(sealed), MIB)))
    assert b"".join(plain) == DATA and max(map(len, plain)) <= MIB and max(map(len, sealed)) <= MIB + 256


def test_a_run_is_done_whole_or_not_at_all() -> None:
    cipher = AESGCM(bytes(32))
    for first, run in ((128, [b"x"]), (127, [bytes(FRAME_SIZE), b"y"])):
        with pytest.raises(ValueError):
            frames.seal_run(cipher, bytes(16), first, [memoryview(piece) for piece in run], ends=True)
    with pytest.raises(ValueError):
        frames.open_run(cipher, bytes(16), 0, [memoryview(b"only a tag, or 16")[:16]], ends=True)


def test_only_the_frames_of_a_range_are_needed() -> None:
    assert frames.sealed_range(MIB, 0, 0) == (0, 0, 0)
    assert frames.sealed_range(MIB, 0, 1) == (0, SEALED_FRAME_SIZE, 0)
    assert frames.sealed_range(MIB, FRAME_SIZE - 1, FRAME_SIZE + 1) == (0, 2 * SEALED_FRAME_SIZE, 0)
    assert frames.sealed_range(MIB, FRAME_SIZE, FRAME_SIZE + 1) == (SEALED_FRAME_SIZE, 2 * SEALED_FRAME_SIZE, 1)
    assert frames.sealed_range(FRAME_SIZE + 5, FRAME_SIZE, FRAME_SIZE + 5) == (SEALED_FRAME_SIZE, FRAME_SIZE + 37, 1)
    assert frames.sealed_range(FRAME_SIZE, FRAME_SIZE, FRAME_SIZE) == (SEALED_FRAME_SIZE, SEALED_FRAME_SIZE, 1)


def test_a_part_has_one_byte_to_eight_mib() -> None:
    for length in (0, -1, MAX_PLAIN_SIZE + 1):
        with pytest.raises(ValueError):
            frames.sealed_length(length)
    for plain in (b"", bytes(MAX_PLAIN_SIZE + 1)):
        with pytest.raises(ValueError):
            NewPart().seal_buffer(plain)
        with pytest.raises(ValueError):
            list(NewPart().seal([plain]))
    for start, end in ((-1, 1), (2, 1), (0, 11)):
        with pytest.raises(ValueError):
            open_range(NewPart().key, 10, start, end, [])


def test_lengths_that_no_sealed_part_has_are_refused() -> None:
    possible = {frames.sealed_length(length) for length in range(1, 2 * FRAME_SIZE + 60)}
    for length in [*range(-1, 40), *range(FRAME_SIZE, FRAME_SIZE + 60), *range(2 * FRAME_SIZE, 2 * FRAME_SIZE + 60)]:
        if length in possible:
            assert frames.sealed_length(frames.plain_length(length)) == length
        else:
            with pytest.raises(ContentCorrupt):
                frames.plain_length(length)
    with pytest.raises(ContentCorrupt):
        frames.plain_length(frames.sealed_length(MAX_PLAIN_SIZE) + 1)


def test_a_part_is_sealed_once() -> None:
    part = NewPart()
    stream = part.seal([b"one"])  # taken at the call, not when it is first read
    with pytest.raises(ValueError, match="sealed before"):
        part.seal_buffer(b"two")
    with pytest.raises(ValueError, match="sealed before"):
        part.seal([b"two"])
    assert bytes(open_buffer(part.key, 3, b"".join(stream))) == b"one"


def test_every_bit_of_a_part_counts() -> None:
    key, sealed = sealed_part(b"forty bytes of a plain text, or nearly so")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContentCorrupt, match=f"part {key.name}: frame 0 "):
            open_buffer(key, 41, changed)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 4 * SEALED_FRAME_SIZE + 15), st.integers(0, 7), st.data())
def test_a_flipped_bit_is_found_in_its_frame_and_other_frames_are_whole(at: int, bit: int, data: st.DataObject) -> None:
    length = 4 * FRAME_SIZE + 1
    key, sealed = FIVE_FRAMES
    changed = bytearray(sealed)
    changed[min(at, len(sealed) - 1)] ^= 1 << bit
    bad = min(at, len(sealed) - 1) // SEALED_FRAME_SIZE
    with pytest.raises(ContentCorrupt, match=f"part {key.name}: frame {bad} "):
        open_buffer(key, length, changed)
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    needed = frames.sealed_range(length, start, end)
    reading = open_range(key, length, start, end, [changed[needed.start : needed.stop]])
    if needed.first_frame <= bad < -(-end // FRAME_SIZE):
        with pytest.raises(ContentCorrupt, match=f"frame {bad} "):
            list(reading)
    else:
        assert b"".join(reading) == DATA[start:end]


FIVE_FRAMES = sealed_part(DATA[: 4 * FRAME_SIZE + 1])


def in_frames(sealed: bytes) -> list[bytes]:
    return [sealed[at : at + SEALED_FRAME_SIZE] for at in range(0, len(sealed), SEALED_FRAME_SIZE)]


def test_frames_that_are_swapped_cut_doubled_or_left_out_are_found() -> None:
    key, sealed = sealed_part(DATA[: 3 * FRAME_SIZE])
    one, two, three = in_frames(sealed)
    for wrong in ([two, one, three], [one, one, three], [one, two, two], [one, three, two], [three, two, one]):
        with pytest.raises(ContentCorrupt, match=f"part {key.name}: frame "):
            open_buffer(key, 3 * FRAME_SIZE, b"".join(wrong))
    for wrong in ([one, two], [one, two, three, three], [one, two, three[:-1]], [one, two, three, b"x"], []):
        with pytest.raises(ContentCorrupt, match=key.name):
            open_buffer(key, 3 * FRAME_SIZE, b"".join(wrong))
        with pytest.raises(ContentCorrupt, match=key.name):
            list(open_range(key, 3 * FRAME_SIZE, 0, 3 * FRAME_SIZE, wrong))
    with pytest.raises(ContentCorrupt, match="frame 1 "):  # a list that says the part is shorter: the flag tells
        open_buffer(key, 2 * FRAME_SIZE, one + two)
    with pytest.raises(ContentCorrupt, match="frame 2 "):  # or longer
        list(open_range(key, 4 * FRAME_SIZE, 2 * FRAME_SIZE, 3 * FRAME_SIZE, [three]))


def test_frames_of_another_part_or_key_are_found() -> None:
    key, sealed = sealed_part(DATA[:FRAME_SIZE])
    other, foreign = sealed_part(DATA[:FRAME_SIZE])
    assert sealed != foreign
    for wrong in (other, PartKey(key.id, other.secret), PartKey(other.id, key.secret)):
        with pytest.raises(ContentCorrupt):
            open_buffer(wrong, FRAME_SIZE, sealed)


def test_what_was_given_out_before_a_fault_is_right() -> None:
    key, sealed = sealed_part(DATA[: 3 * MIB])
    changed = bytearray(sealed)
    changed[-1] ^= 1
    got = b""
    with pytest.raises(ContentCorrupt, match="frame 47 "):
        for piece in open_range(key, 3 * MIB, 5, 3 * MIB, cut(bytes(changed), [50_000])):
            got += piece
    assert len(got) > MIB and DATA[5:].startswith(got)


def test_names_of_parts_are_read_strictly() -> None:
    part = NewPart().key
    assert part_id(part.name) == part.id
    assert len(part.name) == 26
    assert part.name == part.name.lower()
    last = part_name(bytes(16))[:-1] + "b"  # a bit that 16 bytes do not have
    for wrong in ("", part.name.upper(), part.name[:-1], part.name + "a", "1" * 26, "é" * 26, last, part.name + "\n"):
        with pytest.raises(ValueError, match="not the name"):
            part_id(wrong)


def test_keys_do_not_show() -> None:
    key = NewPart().key
    assert key.secret.hex() not in repr(key) and str(key.secret) not in repr(key)


def test_threads_seal_beside_each_other() -> None:
    """Each its own parts, all at the same time; and one key opened by all."""
    start = threading.Barrier(4)
    shared, sealed = sealed_part(DATA[: 2 * MIB])

    def work(seed: int) -> bool:
        start.wait()
        good = True
        for turn in range(4):
            plain, part = DATA[seed * 1000 + turn :][: 2 * MIB], NewPart()
            good &= bytes(open_buffer(part.key, 2 * MIB, b"".join(part.seal(cut(plain, [300_000]))))) == plain
            good &= bytes(open_buffer(shared, 2 * MIB, sealed)) == DATA[: 2 * MIB]
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_a_stream_takes_little_memory() -> None:
    part = NewPart()
    sealed = bytes(part.seal_buffer(DATA))
    twin = NewPart()
    tracemalloc.start()
    try:
        for _ in twin.seal(cut(DATA, [10_000])):
            pass
        for _ in open_range(part.key, len(DATA), 0, len(DATA), cut(sealed, [10_000])):
            pass
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()
