"""The key of a vault, and what is derived from it (docs/vault-format.md, "Keys").

One key per purpose by HKDF-SHA256 (RFC 5869), so that nothing sealed for one purpose opens as another. The ciphers may
be used by many threads.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vfs.errors import ContentCorrupt

ID_SIZE = 16  # bytes of a vault's id, a seal id, a content's id
KEY_SIZE = 32  # bytes of a vault's key, a content's key, a part's key
SIV_SIZE = 16  # bytes that AES-SIV puts in front (RFC 5297)
MAX_GENERATION = 2**32 - 1
WRAPPED_SIZE = SIV_SIZE + KEY_SIZE  # bytes of a key wrapped by AES-SIV

_INFO = b"kelp vault 1 "
_DOUBLE = 64  # bytes of a key for AES-256-SIV, which is two keys


def new_id() -> bytes:
    """16 random bytes: a vault's id or a seal id."""
    return secrets.token_bytes(ID_SIZE)


def new_content_key() -> bytes:
    return secrets.token_bytes(KEY_SIZE)


def check_id(value: bytes, what: str) -> bytes:
    """Raises ValueError: whoever calls with another length has a bug."""
    if len(value) != ID_SIZE:
        raise ValueError(f"{what} has {ID_SIZE} bytes, this one {len(value)}")
    return value


@dataclass(frozen=True)
class VaultKey:
    """`secret`: 32 random bytes. `generation`: from 1, one more for each new secret of the same vault."""

    vault_id: bytes
    generation: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_id(self.vault_id, "a vault's id")
        if len(self.secret) != KEY_SIZE:
            raise ValueError(f"a vault's key has {KEY_SIZE} bytes")
        if not 1 <= self.generation <= MAX_GENERATION:
            raise ValueError(f"no generation of a key: {self.generation}")

    @classmethod
    def generate(cls, vault_id: bytes | None = None, generation: int = 1) -> VaultKey:
        """A new key, of a new vault or of the one given."""
        return cls(new_id() if vault_id is None else vault_id, generation, secrets.token_bytes(KEY_SIZE))

    @cached_property
    def names(self) -> AESSIV:
        return AESSIV(self._derive(b"names", _DOUBLE))

    @cached_property
    def texts(self) -> AESSIV:
        return AESSIV(self._derive(b"texts", _DOUBLE))

    @cached_property
    def contents(self) -> AESSIV:
        return AESSIV(self._derive(b"contents", _DOUBLE))

    @cached_property
    def manifests(self) -> AESSIV:
        return AESSIV(self._derive(b"manifests", _DOUBLE))

    @cached_property
    def older_keys(self) -> AESSIV:
        return AESSIV(self._derive(b"older keys", _DOUBLE))

    @cached_property
    def vault_file(self) -> bytes:
        """The key of the MAC in vault.json."""
        return self._derive(b"vault.json", KEY_SIZE)

    def wrap_content_key(self, content_id: bytes, key: bytes) -> bytes:
        """48 bytes, which open for this content only; the same key of the same content gives the same bytes."""
        if len(key) != KEY_SIZE:
            raise ValueError(f"a content's key has {KEY_SIZE} bytes")
        return self.contents.encrypt(key, [b"content", check_id(content_id, "a content's id")])

    def unwrap_content_key(self, content_id: bytes, wrapped: bytes) -> bytes:
        """Raises ContentCorrupt: changed, of another content, or of another vault."""
        check_id(content_id, "a content's id")
        if len(wrapped) != WRAPPED_SIZE:
            raise ContentCorrupt(f"content {content_id.hex()}: its wrapped key has {len(wrapped)} bytes")
        try:
            return self.contents.decrypt(wrapped, [b"content", content_id])
        except InvalidTag as error:
            raise ContentCorrupt(
                f"content {content_id.hex()}: its wrapped key was changed, or is of another content or vault"
            ) from error

    def wrap_older(self, older: VaultKey) -> bytes:
        """48 bytes for vault.json: who has this key can open what is still sealed under an older one of the vault."""
        if older.vault_id != self.vault_id or older.generation >= self.generation:
            raise ValueError("not an older key of this vault")
        return self.older_keys.encrypt(older.secret, [b"older key", older.generation.to_bytes(4, "big")])

    def unwrap_older(self, generation: int, wrapped: bytes) -> VaultKey:
        """Raises ContentCorrupt: changed, of another generation or of another vault."""
        what = f"vault.json: the older key of generation {generation}"
        if not 1 <= generation < self.generation or len(wrapped) != WRAPPED_SIZE:
            raise ContentCorrupt(f"{what}: there is none")
        try:
            secret = self.older_keys.decrypt(wrapped, [b"older key", generation.to_bytes(4, "big")])
        except InvalidTag as error:
            raise ContentCorrupt(f"{what} was changed, or is of another generation or vault") from error
        return VaultKey(self.vault_id, generation, secret)

    def _derive(self, purpose: bytes, size: int) -> bytes:
        return HKDF(SHA256(), size, salt=self.vault_id, info=_INFO + purpose).derive(self.secret)
