"""Passwords: argon2id hashes, and a short memory of what was verified."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from functools import cached_property
from hashlib import blake2b

import argon2

from vfs import turns

_MAX_REMEMBERED = 10_000
_AT_ONCE = 2  # verifications: each takes 64 MiB, and wrong passwords are free to send


class Passwords:
    """One per process. Verified credentials stay in memory for minutes, as keyed hashes: argon2 costs 30 ms and
    64 MiB, more than most requests. So do wrong ones, until others push them out: repeating one is no news."""

    def __init__(self, remember_seconds: int) -> None:
        self._hasher = argon2.PasswordHasher()
        self._remember_seconds = remember_seconds
        self._secret = secrets.token_bytes(32)
        self._verified: dict[bytes, float] = {}  # mark of credentials → monotonic time until which it counts
        self._wrong: OrderedDict[bytes, None] = OrderedDict()  # marks, the last used ones last
        self._guard = threading.Lock()
        self._hashing = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _stranger(self) -> str:
        """A hash that no password has; made when first needed, since every start of a command would wait for it."""
        return self._hasher.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def recall(self, mark: bytes) -> bool | None:
        """Whether credentials are known to be right, or wrong; None when they have to be verified."""
        with self._guard:
            if self._verified.get(mark, 0.0) > time.monotonic():
                return True
            if mark in self._wrong:
                self._wrong.move_to_end(mark)
                return False
        return None

    def verify(self, mark: bytes, password: str, password_hash: str | None) -> tuple[bool, bool]:
        """Whether the password is right, and whether that is news: the same credentials may be asked about at once.

        `password_hash` None: nobody of that name; takes as long as a wrong password, and is False.
        """
        with turns.waiting(), self._hashing:
            recalled = self.recall(mark)
            if recalled is not None:
                return recalled, False
            right = self._matches(password, password_hash or self._stranger) and password_hash is not None
            self._remember(mark, right)
        return right, True

    def refuse(self, mark: bytes) -> bool:
        """Credentials were found wrong in another way than by a hash; whether that is news."""
        known = self.recall(mark) is False
        self._remember(mark, False)
        return not known

    def mark(self, name: str, password: str, password_hash: str | None) -> bytes:
        """Stands for credentials. Bound to the stored hash, so a changed password forgets at once. Neither a hash nor a
        name that somebody has holds a NUL, so only credentials that are wrong anyway could meet."""
        text = f"{password_hash or ''}\0{name}\0{password}".encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._secret, digest_size=32).digest()

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def _remember(self, mark: bytes, right: bool) -> None:
        with self._guard:
            if not right:
                self._wrong[mark] = None
                if len(self._wrong) > _MAX_REMEMBERED:
                    self._wrong.popitem(last=False)
                return
            if len(self._verified) >= _MAX_REMEMBERED:
                self._verified.clear()
            self._verified[mark] = time.monotonic() + self._remember_seconds
