"""The head of a vault: one value that changes whenever any of its current manifests does (docs/vault-format.md).

Who knows it can tell that nothing on the NAS was replaced by what was there before.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from vfs.crypto.manifests import DIGEST_SIZE
from vfs.crypto.vault_keys import check_id

_MARK = b"kelp head 1"


def head(vault_id: bytes, digests: Iterable[bytes]) -> str:
    """64 hex digits. `digests`: `manifests.digest` of the manifest of each ACTIVE entry, in any order; the vault's top
    folder and versions have no part in it. Holds them all, 32 bytes each."""
    ordered = sorted(digests)
    if any(len(value) != DIGEST_SIZE for value in ordered):
        raise ValueError(f"a digest has {DIGEST_SIZE} bytes")
    total = hashlib.sha256(_MARK + check_id(vault_id, "a vault's id") + struct.pack(">Q", len(ordered)))
    for value in ordered:
        total.update(value)
    return total.hexdigest()
