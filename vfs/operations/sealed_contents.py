"""Contents of vaults on their way in: sealed while they come, so that no plain byte is stored (docs/vault-format.md).

Each part has a random id, which is the key of its object, and a random key. What says which parts make a content, in
which order and with which keys is the part list, sealed under the content's key, and that under the vault's. From then
on nobody needs a key to carry, verify or repair the content: all that the database says of it is of the sealed bytes.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vfs.crypto import base64url, frames, part_lists, vault_keys
from vfs.crypto.part_lists import PartList, Slice
from vfs.crypto.parts import NewPart, PartKey, part_name
from vfs.crypto.sealed_texts import Text, open_text, seal_text
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt
from vfs.ids import new_id
from vfs.model import PIECE_SIZE, Content, ContentSeal, Expected, Part
from vfs.operations.incoming import Body, Held
from vfs.sealed_sum import checksum_of
from vfs.storage.block_sums import BlockSums

_THREADS = 2  # that seal one body: storing it keeps a core busy too
_INLINE = 2 * PIECE_SIZE  # bytes; a body of no more is sealed where it is stored


@dataclass(frozen=True, slots=True)
class Vault:
    """Where something is sealed: the row of `vaults`, and its key."""

    id: int
    key: VaultKey


# --- names of objects: the format knows parts by 16 bytes, the drive by text ---


def object_key(part_id: bytes) -> str:
    """The key of a part's object in the cache, and the name of its file on the NAS."""
    return str(uuid.UUID(bytes=part_id))


def part_id_of(object_key: str) -> bytes:
    """The inverse; also of a content's id. Raises ContentCorrupt."""
    try:
        return uuid.UUID(object_key).bytes
    except ValueError as error:
        raise ContentCorrupt(f"{object_key!r} is no object of a vault") from error


# --- sizes, which need no key ---


def stored_size(size: int, vault: Vault | None = None) -> int:
    """Bytes that `size` bytes of a body take in the stores."""
    return size if vault is None else sealed_size(size)


def sealed_size(size: int) -> int:
    """Of plain bytes from the beginning of a part on, when they are sealed."""
    return size + -(-size // frames.FRAME_SIZE) * frames.TAG_SIZE


def plain_size(content: Content) -> int:
    """Bytes that it shows. Raises ContentCorrupt: an object that no part is as long as."""
    if content.seal is None:
        return content.size
    return sum(frames.plain_length(part.size) for part in content.parts)


# --- bodies ---


class SealedBody:
    """The incoming pieces: counted, hashed and compared as they are; cut into parts and sealed. As `Incoming`.

    Of plain bytes it holds some MiB; the caller ends it with `close`.
    """

    def __init__(self, chunks: Iterable[bytes], expected: Expected) -> None:
        self._plain = Body(chunks, expected, hashed=False)
        self._next: NewPart | None = None
        self._slices: list[Slice] = []
        bound = expected.bound
        is_short = bound is not None and bound <= _INLINE
        self._threads = None if is_short else ThreadPoolExecutor(_THREADS, thread_name_prefix="sealing")
        self.blocks: bytes | None = None

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def more(self) -> bool:
        return self._plain.more()

    def next_key(self) -> str:
        self._next = NewPart()
        return object_key(self._next.key.id)

    def part(self) -> Iterator[bytes]:
        new, self._next, self.blocks = self._next, None, None
        if new is None:
            raise AssertionError("a part is sealed under the key that was told for it")
        sums, before = BlockSums(), self._plain.taken
        for piece in new.seal(self._plain.cut(), self._threads):
            sums.update(piece)
            yield piece  # type: ignore[misc]  # a memoryview serves as bytes everywhere here
        self._slices.append(Slice.whole(new.key, self._plain.taken - before))
        self.blocks = sums.finish()

    def held_part(self) -> Held:
        held = _SealedHeld([bytes(piece) for piece in self._plain.cut()])
        self._slices.append(Slice.whole(held.part_key, held.length))
        return held

    def sealed(self, parts: Sequence[Part]) -> SealedParts:
        """What was stored, compared with what was announced. Raises UploadIncomplete."""
        digests = self._plain.verify()
        return SealedParts(tuple(parts), tuple(self._slices), self._plain.size, digests)


class _SealedHeld:
    """A part in memory, which the thread that stores it seals."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._new, self._pieces = NewPart(), deque(pieces)
        self.length = sum(map(len, pieces))

    @property
    def part_key(self) -> PartKey:
        return self._new.key

    @property
    def key(self) -> str:
        return object_key(self._new.key.id)

    def ready(self) -> tuple[list[bytes], bytes | None]:
        sums = BlockSums()
        sealed = list[bytes]()
        for piece in self._new.seal(self._taken()):
            sums.update(piece)
            sealed.append(piece)  # type: ignore[arg-type]
        return sealed, sums.finish()

    def _taken(self) -> Iterator[bytes]:
        """What was sealed is not kept beside its sealed form."""
        while self._pieces:
            yield self._pieces.popleft()


@dataclass(frozen=True, slots=True)
class SealedParts:
    """Objects of a vault that no content has yet. `slices`: what opens them, in the same order; `size`: plain bytes;
    `digests`: of those, when one was announced."""

    parts: tuple[Part, ...]
    slices: tuple[Slice, ...]
    size: int
    digests: str | None = None


def content_of(vault: Vault, sealed: SealedParts, id: str | None = None) -> Content:
    """The content that these parts are. `id`: where it is several; one of one part has the name of that."""
    parts = sealed.parts
    if len(parts) == 1:
        id = parts[0].key
    id = id or new_id()
    content_id, content_key = part_id_of(id), vault_keys.new_content_key()
    wrapped = vault.key.wrap_content_key(content_id, content_key)
    part_list = part_lists.seal_parts(content_id, content_key, PartList(sealed.slices))
    return Content(
        id,
        sum(part.size for part in parts),
        checksum_of((part.key, part.checksum) for part in parts),
        _sealed_digests(vault, content_id, sealed.digests),
        parts,
        ContentSeal(vault.id, base64url.encode(wrapped), part_list),
    )


def empty(vault: Vault, id: str = "") -> Content:
    """A content of no bytes: it has a list all the same. `id` [a new one]."""
    return content_of(vault, SealedParts((), (), 0), id)


def opened_digests(vault: Vault, content_id: str, stored: str) -> str:
    """Raises ContentCorrupt."""
    return open_text(vault.key, Text.DIGESTS, part_id_of(content_id), stored.rpartition(".")[2])


def _sealed_digests(vault: Vault, content_id: bytes, digests: str | None) -> str | None:
    if digests is None:
        return None
    sealed = seal_text(vault.key, Text.DIGESTS, content_id, digests)
    return f"\x01{vault.id}.{part_name(content_id)}.{Text.DIGESTS}.{sealed}"
