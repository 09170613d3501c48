"""Names that are promised: somebody was told that he alone makes the file, and its row comes in a moment.

Only a row can say of a name that it is taken, and making one is a transaction. A process that will make it with what
is written to the file claims the name meanwhile, in memory that all processes of the database share: it holds the
database's write lock while it sees that the name is free and notes the claim, so nobody else makes one between the two,
and each change that gives an entry a name looks whether somebody has claimed it. What is noted is a hash of folder and
name; two that have the same one cost a moment. A claim ends with its process: each has a lock of the file for as long
as it lives, at a byte of its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct

import xxhash

from vfs.metadata.change_count import ChangeCount

_LOCKS_AT = 1 << 40  # far behind the end of the file; an owner's byte is its number from there
_LOCK = "hhqqi"  # struct flock of Linux on 64 bits
_BUSY = (errno.EAGAIN, errno.EACCES)


class Claim:
    """`release` when the name has its row, or nobody wants it any more."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: memoryview[int], at: int) -> None:
        self._words, self._at = words, at

    def release(self) -> None:
        """Once. No lock is needed: nobody else writes there while this process lives."""
        self._words[self._at] = 0


class Claims:
    """Of one process, in the file of a ChangeCount: pairs of the owner's number, 0 for nobody's, and a name's hash.

    When somebody removes that file, or puts another in its place, the claims in it are lost.
    """

    def __init__(self, count: ChangeCount) -> None:
        self._count = count
        self._owner = 0
        self._handle = -1  # which has the lock

    def make(self, folder_id: int, name_key: str) -> Claim | None:
        """By who has the write lock, for a name that is free; None: somebody has claimed it, or there is no room, or
        the system has no such locks."""
        if self._is_claimed(wanted := _hash(folder_id, name_key), mine_too=True) or not self._own():
            return None
        words = self._count.claims
        for at in range(0, len(words), 2):
            if words[at] == 0 or not self._lives(words[at]):
                words[at] = 0
                words[at + 1] = wanted
                words[at] = self._owner
                return Claim(words, at)
        return None

    def meets(self, folder_id: int, name_key: str) -> bool:
        """Another process has claimed that name. By who has the write lock."""
        return self.any() and self._is_claimed(_hash(folder_id, name_key))

    def any(self) -> bool:
        return any(self._count.claims[::2].tolist())

    def close(self) -> None:
        """This process claims nothing any more."""
        words = self._count.claims
        for at in range(0, len(words), 2):
            if self._owner and words[at] == self._owner:
                words[at] = 0

    def _is_claimed(self, wanted: int, *, mine_too: bool = False) -> bool:
        words = self._count.claims
        for at, (owner, name) in enumerate(zip(words[::2].tolist(), words[1::2].tolist(), strict=True)):
            if not owner or name != wanted or (owner == self._owner and not mine_too):
                continue
            if self._lives(owner):
                return True
            words[2 * at] = 0
        return False

    def _own(self) -> bool:
        """This process has a number, and the lock that says that it lives."""
        if self._owner and self._handle == self._count.handle:
            return True
        self._handle = self._count.handle
        for _ in range(8):
            number = secrets.randbits(32) + 1
            if _lock(self._handle, number):
                self._owner = number
                return True
        return False

    def _lives(self, owner: int) -> bool:
        if owner == self._owner and self._handle == self._count.handle:
            return True
        if not _lock(self._count.handle, owner):
            return True
        _lock(self._count.handle, owner, fcntl.F_UNLCK)
        return False


def _hash(folder_id: int, name_key: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{folder_id}/{name_key}".encode("utf-8", "surrogatepass"))


def _lock(handle: int, owner: int, kind: int = fcntl.F_WRLCK) -> bool:
    """Of the open file, not of the process: closing another descriptor of the file does not lose it. False: another
    one has it, or the system has none."""
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, _LOCKS_AT + owner, 1, 0))
    except OSError as error:
        if error.errno in _BUSY or kind == fcntl.F_WRLCK:
            return False
        raise
    return True
