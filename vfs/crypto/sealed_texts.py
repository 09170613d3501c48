"""Free text of a vault other than names (docs/vault-format.md, "Texts"): AES-256-SIV with 16 random bytes each.

Bound to what the text is for and to the entry it belongs to. Equal texts do not look equal,
but for those that are sealed without the random bytes (names of properties).
"""

from __future__ import annotations

import secrets
from enum import StrEnum

from cryptography.exceptions import InvalidTag

from vfs.crypto import base64url
from vfs.crypto.vault_keys import SIV_SIZE, VaultKey, check_id
from vfs.errors import ContentCorrupt, InvalidRequest, TooLarge

MAX_TEXT_BYTES = 16 * 1024 * 1024  # of UTF-8
_SALT_SIZE = 16
_MARK = b"\x01"  # in front of each text, since an empty one is a text too
_SHORTEST = _SALT_SIZE + SIV_SIZE + len(_MARK)


class Text(StrEnum):
    """What a text is for; the words are part of the format."""

    TYPE = "type"
    PROPERTY_NAME = "property-name"
    PROPERTY_VALUE = "property-value"
    LOCK_OWNER = "lock-owner"
    EVENT_PATH = "event-path"
    TRASH_PATH = "trash-path"
    HISTORY = "history"
    UPLOAD_NAME = "upload-name"
    UPLOAD_METADATA = "upload-metadata"
    DIGESTS = "digests"
    DRAFT_NAME = "draft-name"
    ERROR = "error"
    CURSOR = "cursor"


def seal_text(vault_key: VaultKey, purpose: Text, seal_id: bytes, text: str, *, fixed: bool = False) -> str:
    """`seal_id`: of the entry it belongs to. `fixed`: equal texts of the entry shall look equal, to be found by that.

    Raises InvalidRequest (not Unicode) or TooLarge.
    """
    try:
        plain = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("a text of a vault must be Unicode") from error
    if len(plain) > MAX_TEXT_BYTES:
        raise TooLarge(f"a text of a vault may have {MAX_TEXT_BYTES} bytes, this one has {len(plain)}")
    salt = bytes(_SALT_SIZE) if fixed else secrets.token_bytes(_SALT_SIZE)
    bound = [purpose.value.encode(), check_id(seal_id, "a seal id"), salt]
    return base64url.encode(salt + vault_key.texts.encrypt(_MARK + plain, bound))


def open_text(vault_key: VaultKey, purpose: Text, seal_id: bytes, sealed: str) -> str:
    """Raises ContentCorrupt: changed, or of another purpose, entry or vault."""
    what = f"{purpose.value} of {check_id(seal_id, 'a seal id').hex()}"
    data = base64url.decode(sealed, what)
    if not _SHORTEST <= len(data) <= _SHORTEST + MAX_TEXT_BYTES:
        raise ContentCorrupt(f"{what}: no text is sealed in {len(data)} bytes")
    salt = data[:_SALT_SIZE]
    try:
        plain = vault_key.texts.decrypt(data[_SALT_SIZE:], [purpose.value.encode(), seal_id, salt])
        if not plain.startswith(_MARK):
            raise ContentCorrupt(f"{what} is sealed well, but is no text")
        return plain[len(_MARK) :].decode()
    except InvalidTag as error:
        raise ContentCorrupt(f"{what} was changed, or is of another purpose, entry or vault") from error
    except UnicodeDecodeError as error:
        raise ContentCorrupt(f"{what} is sealed well, but is no text") from error
