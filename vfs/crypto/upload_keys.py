"""Keys of parts that have come and are of no content yet: an upload in parts keeps them in its rows, for days perhaps.

AES-SIV under the vault's key for contents, bound to the part; nothing of the format on the NAS.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from vfs.crypto import base64url
from vfs.crypto.parts import PartKey
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt

_PURPOSE = b"upload part"


def seal_part_key(vault_key: VaultKey, part: PartKey) -> str:
    return base64url.encode(vault_key.contents.encrypt(part.secret, [_PURPOSE, part.id]))


def open_part_key(vault_key: VaultKey, part_id: bytes, sealed: str) -> PartKey:
    """Raises ContentCorrupt: changed, of another part or vault."""
    what = f"key of part {part_id.hex()}"
    try:
        return PartKey(part_id, vault_key.contents.decrypt(base64url.decode(sealed, what), [_PURPOSE, part_id]))
    except (InvalidTag, ValueError) as error:
        raise ContentCorrupt(f"{what}: it was changed, or is of another part or vault") from error
