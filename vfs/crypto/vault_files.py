"""`vault.json`, at the top of a vault on the NAS: its id, its root, and its key, wrapped for each who may open it.

Readable without a key, since it is what leads to one; a MAC under the vault's key shows changes afterwards
(docs/vault-format.md, "vault.json").
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from typing import Any

from vfs.crypto import base64url
from vfs.crypto.vault_keys import ID_SIZE, MAX_GENERATION, WRAPPED_SIZE, VaultKey, check_id
from vfs.errors import ContentCorrupt
from vfs.vault_model import RecipientRole

FORMAT = "kelp vault 1"
MAX_FILE_SIZE = 1024 * 1024
MAX_RECIPIENTS = 256
MAX_LABEL_BYTES = 255
MAX_WRAPPED_SIZE = 2048  # bytes: RSA of 16,384 bits
_MIN_WRAPPED_SIZE = 384  # RSA of 3,072 bits
_FIELDS = {"format", "vault_id", "generation", "root_seal_id", "recipients", "older_keys", "mac"}
_OLDER_FIELDS = {"generation", "wrapped"}
_RECIPIENT_FIELDS = {"key_id", "role", "label", "wrapped"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One for whom the key is wrapped, as the file has it. Raises ValueError for what cannot be.

    `key_id`: 32 hex digits, the first 16 bytes of SHA-256 of the DER of the public key (SubjectPublicKeyInfo).
    `wrapped`: the vault's key by RSA-OAEP.
    """

    key_id: str
    role: RecipientRole
    label: str
    wrapped: bytes

    def __post_init__(self) -> None:
        if bytes.fromhex(self.key_id).hex() != self.key_id or len(self.key_id) != 2 * ID_SIZE:
            raise ValueError(f"not the id of a key: {self.key_id!r}")
        if len(self.label.encode()) > MAX_LABEL_BYTES:
            raise ValueError(f"the label of a recipient has at most {MAX_LABEL_BYTES} bytes")
        if not _MIN_WRAPPED_SIZE <= len(self.wrapped) <= MAX_WRAPPED_SIZE:
            raise ValueError(f"no wrapped key has {len(self.wrapped)} bytes")


@dataclass(frozen=True, slots=True)
class OlderKey:
    """A key that some manifests are still sealed under, while the vault passes to a new one.
    `wrapped`: `VaultKey.wrap_older`. Raises ValueError for what cannot be."""

    generation: int
    wrapped: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.generation <= MAX_GENERATION or len(self.wrapped) != WRAPPED_SIZE:
            raise ValueError(f"no older key of generation {self.generation}")


@dataclass(frozen=True, slots=True)
class VaultFile:
    """`root_seal_id`: of the vault's top folder, the parent of what lies there. `older_keys`: by generation, upwards.
    Raises ValueError for what cannot be: no recipients, one twice."""

    vault_id: bytes
    generation: int
    root_seal_id: bytes
    recipients: tuple[Recipient, ...]
    older_keys: tuple[OlderKey, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.vault_id, "a vault's id")
        check_id(self.root_seal_id, "a seal id")
        if not 1 <= self.generation <= MAX_GENERATION:
            raise ValueError(f"no generation of a key: {self.generation}")
        if not 0 < len({recipient.key_id for recipient in self.recipients}) == len(self.recipients) <= MAX_RECIPIENTS:
            raise ValueError(f"a vault has 1 to {MAX_RECIPIENTS} recipients, each once")
        generations = [older.generation for older in self.older_keys] + [self.generation]
        if generations != sorted(set(generations)):
            raise ValueError("older keys are not in order, or not older")


def encode(vault_key: VaultKey, file: VaultFile) -> bytes:
    """The file's bytes. Raises ValueError: of another vault, or of another generation of its key."""
    if (file.vault_id, file.generation) != (vault_key.vault_id, vault_key.generation):
        raise ValueError("vault.json is not for this key")
    shown = {
        "format": FORMAT,
        "vault_id": file.vault_id.hex(),
        "generation": file.generation,
        "root_seal_id": file.root_seal_id.hex(),
        "recipients": [
            {
                "key_id": recipient.key_id,
                "role": recipient.role.value,
                "label": recipient.label,
                "wrapped": base64url.encode(recipient.wrapped),
            }
            for recipient in file.recipients
        ],
        "older_keys": [
            {"generation": older.generation, "wrapped": base64url.encode(older.wrapped)} for older in file.older_keys
        ],
        "mac": _mac(vault_key, file).hex(),
    }
    return json.dumps(shown, indent=2, ensure_ascii=False).encode() + b"\n"


def decode(data: bytes) -> VaultFile:
    """What the file says, NOT verified: enough to find one's wrapped key, after which `verify` tells.

    Raises ContentCorrupt: not of this format.
    """
    return _parse(data)[0]


def verify(vault_key: VaultKey, data: bytes) -> VaultFile:
    """What the file says, proved by its MAC. Raises ContentCorrupt: changed, or of another vault or generation."""
    file, mac = _parse(data)
    if (file.vault_id, file.generation) != (vault_key.vault_id, vault_key.generation):
        raise ContentCorrupt("vault.json: of another vault, or of another generation of its key")
    if not hmac.compare_digest(mac, _mac(vault_key, file)):
        raise ContentCorrupt("vault.json was changed, or is of another vault")
    return file


def _parse(data: bytes) -> tuple[VaultFile, bytes]:
    if len(data) > MAX_FILE_SIZE:
        raise ContentCorrupt(f"vault.json: has {len(data)} bytes")
    try:
        shown = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
        if not isinstance(shown, dict) or shown.keys() != _FIELDS or shown["format"] != FORMAT:
            raise ValueError("another format")
        file = VaultFile(
            _hex(shown["vault_id"]),
            _number(shown["generation"]),
            _hex(shown["root_seal_id"]),
            tuple(_recipient(each) for each in _list(shown["recipients"])),
            tuple(_older(each) for each in _list(shown["older_keys"])),
        )
        return file, _hex(shown["mac"])
    except (ValueError, RecursionError) as error:  # no JSON and no UTF-8 are ValueErrors too
        raise ContentCorrupt(f"vault.json: {error}") from error


def _recipient(shown: Any) -> Recipient:
    if not isinstance(shown, dict) or shown.keys() != _RECIPIENT_FIELDS:
        raise ValueError("a recipient of another format")
    if not all(isinstance(value, str) for value in shown.values()):
        raise ValueError("a field of another type")
    wrapped = base64url.decode(shown["wrapped"], "vault.json: a wrapped key")
    return Recipient(shown["key_id"], RecipientRole(shown["role"]), shown["label"], wrapped)


def _older(shown: Any) -> OlderKey:
    if not isinstance(shown, dict) or shown.keys() != _OLDER_FIELDS or not isinstance(shown["wrapped"], str):
        raise ValueError("an older key of another format")
    return OlderKey(_number(shown["generation"]), base64url.decode(shown["wrapped"], "vault.json: an older key"))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a field of another type")
    return value


def _number(value: object) -> int:
    if type(value) is not int:  # True is an int too
        raise ValueError("a field of another type")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    shown = dict(pairs)
    if len(shown) != len(pairs):
        raise ValueError("a field comes twice")
    return shown


def _hex(text: object) -> bytes:
    """Raises ValueError: not hex in lower case."""
    if not isinstance(text, str) or bytes.fromhex(text).hex() != text:
        raise ValueError("not hex in lower case")
    return bytes.fromhex(text)


def _mac(vault_key: VaultKey, file: VaultFile) -> bytes:
    """HMAC-SHA-256 over the fields, each with its length in front: how the JSON is laid out does not matter."""
    fields = [FORMAT.encode(), file.vault_id, _four(file.generation), file.root_seal_id, _four(len(file.recipients))]
    for recipient in file.recipients:
        fields += [bytes.fromhex(recipient.key_id), recipient.role.value.encode(), recipient.label.encode()]
        fields.append(recipient.wrapped)
    fields.append(_four(len(file.older_keys)))
    for older in file.older_keys:
        fields += [_four(older.generation), older.wrapped]
    message = b"".join(_four(len(value)) + value for value in fields)
    return hmac.new(vault_key.vault_file, message, hashlib.sha256).digest()


def _four(number: int) -> bytes:
    return struct.pack(">I", number)
