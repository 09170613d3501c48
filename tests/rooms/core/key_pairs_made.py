"""RSA pairs for tests, made once per process: each takes a fifth of a second."""

from __future__ import annotations

import functools

from vfs.crypto import key_pairs
from vfs.crypto.key_pairs import PrivateKey


@functools.cache
def pair(name: str) -> PrivateKey:
    """Always the same one under a name."""
    return key_pairs.generate()


def plain_pem(name: str) -> bytes:
    return key_pairs.write_private(pair(name))
