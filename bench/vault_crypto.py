"""What sealing costs, beside AES-GCM and BLAKE3 alone: `python -m bench.vault_crypto`.

Everything is in memory, so these are the bounds of what a vault can reach. One thread is measured by its CPU time, two
by the clock; each figure is the best of some rounds that take turns, so what else runs on the machine hits all alike.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.crypto import vault_keys
from vfs.crypto.frames import FRAME_SIZE, SEALED_FRAME_SIZE, sealed_range
from vfs.crypto.part_lists import PartList, Slice, open_parts, seal_parts
from vfs.crypto.parts import NewPart, PartKey, open_buffer, open_range
from vfs.crypto.sealed_names import open_name, seal_key, seal_name
from vfs.crypto.sealed_texts import Text, open_text, seal_text
from vfs.crypto.vault_keys import VaultKey

MIB = 1024 * 1024
PART = 8 * MIB
ROUNDS = 7
PARTS = 8  # in one round and thread
READS = 2_000
NAMES = 10_000
PLAIN = secrets.token_bytes(PART)


def pieces(data: bytes | memoryview) -> Iterator[memoryview]:
    """As stores and clients give them."""
    view = memoryview(data)
    return (view[at : at + MIB] for at in range(0, len(view), MIB))


def plain_gcm() -> None:
    """The least there is: one call for a MiB, into a buffer that is there."""
    cipher, into = AESGCM(bytes(32)), bytearray(MIB + 16)
    for number in range(PARTS):
        for at, piece in enumerate(pieces(PLAIN)):
            cipher.encrypt_into(bytes([number, at]) + bytes(10), piece, b"", into)


def hashing() -> None:
    for _ in range(PARTS):
        hasher = blake3()
        for piece in pieces(PLAIN):
            hasher.update(piece)
        hasher.digest()


def seal_streams() -> None:
    for _ in range(PARTS):
        for _ in NewPart().seal(pieces(PLAIN)):
            pass


def seal_buffers() -> None:
    for _ in range(PARTS):
        NewPart().seal_buffer(PLAIN)


def seal_and_hash() -> None:
    """As a new content is stored: its objects have a BLAKE3 checksum."""
    for _ in range(PARTS):
        hasher = blake3()
        for piece in NewPart().seal(pieces(PLAIN)):
            hasher.update(piece)


def openers() -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Streams, whole buffers, and 4 KiB at random places of 8 parts."""
    part = NewPart()
    key, sealed = part.key, bytes(part.seal_buffer(PLAIN))

    def streams() -> None:
        for _ in range(PARTS):
            for _ in open_range(key, PART, 0, PART, pieces(sealed)):
                pass

    def buffers() -> None:
        for _ in range(PARTS):
            open_buffer(key, PART, sealed)

    whole = [sealed[at : at + SEALED_FRAME_SIZE] for at in range(0, len(sealed), SEALED_FRAME_SIZE)]

    def reads() -> None:
        places = random.Random(1)
        for _ in range(READS):
            start = places.randrange(PART - 4096)
            needed = sealed_range(PART, start, start + 4096)
            got = open_range(
                key, PART, start, start + 4096, whole[needed.first_frame : -(-(start + 4096) // FRAME_SIZE)]
            )
            assert sum(map(len, got)) == 4096

    return streams, buffers, reads


def small_things() -> dict[str, tuple[int, Callable[[], object]]]:
    """Each with how many it does."""
    key, parent = VaultKey.generate(), vault_keys.new_id()
    names = [f"Some document of ordinary length {number}.docx" for number in range(NAMES)]
    sealed = [seal_name(key, parent, name) for name in names]
    texts = [seal_text(key, Text.TYPE, parent, "application/pdf") for _ in range(NAMES)]
    content_key, generator = vault_keys.new_content_key(), random.Random(1)
    wrapped = key.wrap_content_key(parent, content_key)
    whole = PartList(
        tuple(
            Slice.whole(PartKey(generator.randbytes(16), generator.randbytes(32)), PART) for _ in range(2**40 // PART)
        )
    )
    listed = seal_parts(parent, content_key, whole)
    return {
        "names sealed": (NAMES, lambda: [seal_name(key, parent, name) for name in names]),
        "compared forms sealed": (NAMES, lambda: [seal_key(key, parent, name) for name in names]),
        "names opened": (NAMES, lambda: [open_name(key, parent, name) for name in sealed]),
        "texts sealed": (NAMES, lambda: [seal_text(key, Text.TYPE, parent, "application/pdf") for _ in names]),
        "texts opened": (NAMES, lambda: [open_text(key, Text.TYPE, parent, text) for text in texts]),
        "content keys unwrapped": (NAMES, lambda: [key.unwrap_content_key(parent, wrapped) for _ in names]),
        "lists of 1 TiB sealed": (1, lambda: seal_parts(parent, content_key, whole)),
        "lists of 1 TiB opened": (1, lambda: open_parts(parent, content_key, listed)),
    }


def cpu(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def two_threads(work: Callable[[], object]) -> float:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: None, range(2)))  # they are there
        before = time.perf_counter()
        list(pool.map(lambda _: work(), range(2)))
        return time.perf_counter() - before


def clock(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def main() -> None:
    open_streams, open_buffers, reads = openers()
    bulk = {
        "AES-256-GCM alone, 1 MiB a call": plain_gcm,
        "BLAKE3 alone": hashing,
        "seal, a stream": seal_streams,
        "seal and hash, a stream": seal_and_hash,
        "seal, 8 MiB at once": seal_buffers,
        "open, a stream": open_streams,
        "open, 8 MiB at once": open_buffers,
    }
    small = small_things() | {"random reads of 4 KiB": (READS, reads)}
    one, single, both, little = ({name: float("inf") for name in (*bulk, *small)} for _ in range(4))
    for _ in range(ROUNDS):
        for name, work in bulk.items():
            one[name] = min(one[name], cpu(work))
            single[name] = min(single[name], clock(work))
            both[name] = min(both[name], two_threads(work))
        for name, (_, work) in small.items():
            little[name] = min(little[name], cpu(work))
    size = PARTS * PART / 1e6
    gcm = one["AES-256-GCM alone, 1 MiB a call"]
    print(f"{'':34}{'1 thread, MB/s':>15}{'to GCM':>9}{'2 threads, MB/s':>17}{'to 1':>7}")
    for name in bulk:
        print(
            f"{name:34}{size / one[name]:15,.0f}{gcm / one[name]:8.2f}×"
            f"{2 * size / both[name]:17,.0f}{2 * single[name] / both[name]:6.2f}×"
        )
    print(f"\nsealed and hashed, to hashed alone: {one['BLAKE3 alone'] / one['seal and hash, a stream']:.2f}×\n")
    for name, (count, _) in small.items():
        print(f"{name:34}{count / little[name]:15,.0f} /s {little[name] / count * 1e6:12,.1f} µs each")


if __name__ == "__main__":
    main()
