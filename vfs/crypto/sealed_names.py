"""Names of a vault (docs/vault-format.md, "Names"): AES-256-SIV, bound to the folder that holds them.

Deterministic, so a name is found by its sealed form, one step of a path after the other.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from vfs import names
from vfs.crypto import base64url
from vfs.crypto.vault_keys import SIV_SIZE, VaultKey, check_id
from vfs.errors import ContentCorrupt, InvalidName, NameTooLong

_LONGEST = SIV_SIZE + names.MAX_NAME_BYTES


def seal_name(vault_key: VaultKey, parent_seal_id: bytes, name: str) -> str:
    """Raises InvalidName for what cannot be a name of the drive (`names.check_segment`)."""
    plain = names.check_segment(name).encode()
    sealed = vault_key.names.encrypt(plain, [b"name", check_id(parent_seal_id, "a seal id")])
    return base64url.encode(sealed)


def open_name(vault_key: VaultKey, parent_seal_id: bytes, sealed: str) -> str:
    """Raises ContentCorrupt: changed, of another folder or vault, or no name at all (it could lead out of a folder)."""
    what = f"a name below {check_id(parent_seal_id, 'a seal id').hex()}"
    data = base64url.decode(sealed, what)
    if not SIV_SIZE < len(data) <= _LONGEST:
        raise ContentCorrupt(f"{what}: no name is sealed in {len(data)} bytes")
    try:
        return names.check_segment(vault_key.names.decrypt(data, [b"name", parent_seal_id]).decode())
    except InvalidTag as error:
        raise ContentCorrupt(f"{what} was changed, or is of another folder or vault") from error
    except (UnicodeDecodeError, InvalidName) as error:
        raise ContentCorrupt(f"{what} is sealed well, but cannot be a name") from error


def seal_key(vault_key: VaultKey, parent_seal_id: bytes, comparison_form: str) -> str:
    """What is unique among the names of a folder; `comparison_form` is `names.key`. Never opened, only compared."""
    plain = comparison_form.encode()
    if not 0 < len(plain) <= names.MAX_KEY_BYTES:
        most = names.MAX_KEY_BYTES
        raise NameTooLong(f"the comparison form of a name may have {most} bytes, this one has {len(plain)}")
    return base64url.encode(vault_key.names.encrypt(plain, [b"key", check_id(parent_seal_id, "a seal id")]))
