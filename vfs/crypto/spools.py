"""Bytes that are put aside until somebody slow takes them: in memory, and more of them in a file without a name.

What is in that file may be names of a vault, and a disk keeps what a removed file had. So it is sealed, with a key that
only this memory has: one for each spool, and each nonce once.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vfs.errors import StoreUnavailable

_NONCE_SIZE = 12


class Spool:
    """For one thread. `size`: bytes of all pieces so far. The caller closes it."""

    def __init__(self, in_memory: int) -> None:
        self.size = 0
        self._most = in_memory
        self._held: deque[bytes] = deque()
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._sizes: list[int] = []  # of the sealed pieces in the file
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._file is None:
            if self.size <= self._most:
                self._held.append(piece)
                return
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        sealed = self._cipher.encrypt(_nonce(len(self._sizes)), piece, None)
        self._sizes.append(self._file.write(sealed))

    def __iter__(self) -> Iterator[bytes]:
        """The pieces as they came, once. Raises StoreUnavailable: the disk has not kept them."""
        while self._held:
            yield self._held.popleft()
        if self._file is None:
            return
        self._file.seek(0)
        for number, size in enumerate(self._sizes):
            try:
                yield self._cipher.decrypt(_nonce(number), self._file.read(size), None)
            except InvalidTag as error:
                raise StoreUnavailable("what was put aside in a temporary file is damaged") from error


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_SIZE)
