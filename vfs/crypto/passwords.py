"""Passwords: argon2id hashes, and a short memory of what was verified."""

from __future__ import annotations

import secrets
import threading
import time
from functools import cached_property
from hashlib import blake2b

import argon2

_MAX_REMEMBERED = 10_000
_AT_ONCE = 2  # verifications: each takes 64 MiB, and wrong passwords are free to send


class Passwords:
    """One per process. Verified credentials stay in memory for minutes, as keyed hashes: argon2 costs 30 ms and
    64 MiB, more than most requests."""

    def __init__(self, remember_seconds: int) -> None:
        self._hasher = argon2.PasswordHasher()
        self._remember_seconds = remember_seconds
        self._secret = secrets.token_bytes(32)
        self._verified: dict[bytes, float] = {}  # mark of credentials → monotonic time until which it counts
        self._guard = threading.Lock()
        self._hashing = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _stranger(self) -> str:
        """A hash that no password has; made when first needed, since every start of a command would wait for it."""
        return self._hasher.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, password: str, password_hash: str | None) -> bool:
        """`password_hash` None: nobody of that name; takes as long as a wrong password, and is False."""
        mark = self._mark(password, password_hash or "")
        with self._guard:
            known = self._verified.get(mark, 0.0) > time.monotonic()
        if known:
            return True
        try:
            with self._hashing:
                self._hasher.verify(password_hash or self._stranger, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        if password_hash is None:
            return False
        with self._guard:
            if len(self._verified) >= _MAX_REMEMBERED:
                self._verified.clear()
            self._verified[mark] = time.monotonic() + self._remember_seconds
        return True

    def _mark(self, password: str, password_hash: str) -> bytes:
        """Bound to the stored hash, so a changed password forgets at once. It has no NUL, so no two pairs meet."""
        text = f"{password_hash}\0{password}".encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._secret, digest_size=32).digest()
