"""RSA key pairs: who has the private key may open the vaults whose keys were wrapped for the public one.

docs/vault-format.md, "Recipients". RSA-OAEP is RFC 8017 §7.1, with SHA-256 for both the hash and MGF1.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from vfs.crypto import locked_pem
from vfs.crypto.vault_keys import ID_SIZE, KEY_SIZE, check_id
from vfs.errors import ContentCorrupt, InvalidRequest

MIN_BITS = DEFAULT_BITS = 3072
MAX_BITS = 16_384  # making one takes minutes by then
SHORTEST_PASSPHRASE = 8  # characters

_LABEL = b"kelp vault 1"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`id`: hex of the first 16 bytes of SHA-256 of its DER (SubjectPublicKeyInfo)."""

    id: str
    bits: int
    key: rsa.RSAPublicKey = field(repr=False, compare=False)

    @property
    def pem(self) -> str:
        return _public_bytes(self.key, serialization.Encoding.PEM).decode("ascii")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    public: PublicKey
    key: rsa.RSAPrivateKey = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        return self.public.id


def generate(bits: int = DEFAULT_BITS) -> PrivateKey:
    """A new pair; 0.2 s for 3072 bits, seconds for 8192. Raises InvalidRequest for fewer bits, or for too many."""
    if not MIN_BITS <= bits <= MAX_BITS or bits % 8:
        raise InvalidRequest(f"a key has {MIN_BITS} to {MAX_BITS} bits, a multiple of 8, not {bits}")
    return _private(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def key_id(key: rsa.RSAPublicKey) -> str:
    return hashlib.sha256(_public_bytes(key, serialization.Encoding.DER)).digest()[:ID_SIZE].hex()


def read_public(pem: bytes) -> PublicKey:
    """Raises InvalidRequest: not PEM, a private key, not RSA, too few bits."""
    if b"PRIVATE KEY-----" in pem:
        raise InvalidRequest("this is a private key: keep it secret, and give the public one")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequest("not a public key in PEM form") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidRequest("not an RSA key")
    return _public(key)


def read_private(pem: bytes, passphrase: str | None = None) -> tuple[PrivateKey, ...]:
    """All private keys in `pem`, each once, in order; one that is locked by nothing needs no passphrase.

    Raises InvalidRequest: no key, not RSA, too few bits, locked and no passphrase, or another one. Nothing of the key
    or the passphrase is in the message.
    """
    found = [_read_block(block[0], block[1], passphrase) for block in _BLOCK.finditer(pem) if b"PRIVATE" in block[1]]
    if not found:
        raise InvalidRequest("no private key in PEM form")
    return tuple({key.id: key for key in found}.values())


def is_locked(pem: bytes) -> bool:
    return any(b"PRIVATE" in block[1] and _needs_passphrase(block[0], block[1]) for block in _BLOCK.finditer(pem))


def write_private(key: PrivateKey, passphrase: str | None = None) -> bytes:
    """PEM (PKCS #8), locked by scrypt and AES-256 when there is a passphrase. Raises InvalidRequest for a short one."""
    der = key.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if passphrase is None:
        return locked_pem.armoured("PRIVATE KEY", der)
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidRequest(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters")
    return locked_pem.lock(der, _typed(passphrase))


def wrap_for(public: PublicKey, vault_id: bytes, secret: bytes) -> bytes:
    """The key of a vault, for who has the private key. Bound to the vault by OAEP's label."""
    if len(secret) != KEY_SIZE:
        raise ValueError(f"a vault's key has {KEY_SIZE} bytes")
    return public.key.encrypt(secret, _oaep(vault_id))


def unwrap(private: PrivateKey, vault_id: bytes, wrapped: bytes) -> bytes:
    """Raises ContentCorrupt: changed, wrapped for another key, or of another vault."""
    try:
        secret = private.key.decrypt(wrapped, _oaep(vault_id))
    except ValueError as error:
        raise ContentCorrupt(f"vault {vault_id.hex()}: its key, wrapped for {private.id}, was changed") from error
    if len(secret) != KEY_SIZE:
        raise ContentCorrupt(f"vault {vault_id.hex()}: what is wrapped for {private.id} is no vault's key")
    return secret


def _oaep(vault_id: bytes) -> padding.OAEP:
    label = _LABEL + check_id(vault_id, "a vault's id")
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)


@functools.lru_cache(maxsize=64)  # a key's numbers are proved as it is read: 0.15 s, and files are looked at often
def _read_block(block: bytes, label: bytes, passphrase: str | None) -> PrivateKey:
    locked = _needs_passphrase(block, label)
    if locked and not passphrase:
        raise InvalidRequest("the private key is locked by a passphrase, and none was given")
    try:
        key = serialization.load_pem_private_key(block, _typed(passphrase) if locked and passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "the passphrase is wrong, or the private key is damaged" if locked else "not a private key in PEM form"
        raise InvalidRequest(why) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidRequest("not an RSA key")
    return _private(key)


def _needs_passphrase(block: bytes, label: bytes) -> bool:
    return b"ENCRYPTED" in label or b"Proc-Type: 4,ENCRYPTED" in block


def _typed(passphrase: str) -> bytes:
    """The same bytes however a keyboard composes its letters."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")


def _private(key: rsa.RSAPrivateKey) -> PrivateKey:
    return PrivateKey(_public(key.public_key()), key)


def _public(key: rsa.RSAPublicKey) -> PublicKey:
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise InvalidRequest(f"an RSA key of {key.key_size} bits: it must have {MIN_BITS} to {MAX_BITS}")
    return PublicKey(key_id(key), key.key_size, key)


def _public_bytes(key: rsa.RSAPublicKey, encoding: serialization.Encoding) -> bytes:
    return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
