"""The checksum of a sealed content: of its objects, whatever their order, which only who has the key can prove."""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3


def checksum_of(objects: Iterable[tuple[str, str]]) -> str:
    """BLAKE3, hex, over a line "key checksum" for each object, once, in the order of the keys. Of no objects: that of
    no bytes."""
    digest = blake3()
    for key, checksum in sorted(set(objects)):
        digest.update(f"{key} {checksum}\n".encode())
    return digest.hexdigest()
