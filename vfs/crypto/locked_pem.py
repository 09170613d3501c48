"""A private key locked by a passphrase: PKCS #8 (RFC 5958 §3) with PBES2 (RFC 8018 §6.2), scrypt (RFC 7914 §7) and
AES-256-CBC.

`cryptography` reads this, as OpenSSL does, but writes PBKDF2 with 2,048 rounds only: 900 guesses a second on
one core, and far more on graphics cards. With these numbers it is five, and each needs 16 MiB.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_COST, _BLOCK_SIZE, _LANES = 2**14, 8, 5  # 16 MiB, 0.2 s; OpenSSL refuses to read what takes more than 32 MiB
_SALT_SIZE = 16
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30  # tags of DER (X.690)
# Object identifiers, encoded with their tags.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42
_LINE = 64  # characters (RFC 7468 §2)


def lock(der: bytes, passphrase: bytes) -> bytes:
    """PEM of a private key whose DER (PKCS #8) is given."""
    salt, start = secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(16)
    key = Scrypt(salt, 32, _COST, _BLOCK_SIZE, _LANES).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    sealer = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    sealed = sealer.update(padder.update(der) + padder.finalize()) + sealer.finalize()
    numbers = (_integer(number) for number in (_COST, _BLOCK_SIZE, _LANES))
    derived_by = _sequence(_SCRYPT, _sequence(_encoded(_OCTETS, salt), *numbers))
    sealed_by = _sequence(_AES_256_CBC, _encoded(_OCTETS, start))
    how = _sequence(_PBES2, _sequence(derived_by, sealed_by))
    return armoured("ENCRYPTED PRIVATE KEY", _sequence(how, _encoded(_OCTETS, sealed)))


def armoured(label: str, der: bytes) -> bytes:
    """PEM (RFC 7468)."""
    text = base64.b64encode(der).decode("ascii")
    lines = (text[at : at + _LINE] for at in range(0, len(text), _LINE))
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode("ascii")


def _sequence(*parts: bytes) -> bytes:
    return _encoded(_SEQUENCE, b"".join(parts))


def _integer(number: int) -> bytes:
    return _encoded(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))  # a zero in front: not negative


def _encoded(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value
