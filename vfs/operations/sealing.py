"""Names and texts of vaults: which folder seals what is in it, and the way to what is sealed (docs/vault-format.md).

Every key of a name comes from `key_in`, every way down a path from `follow`. What a transaction reads for people is
opened by its query modules, with the cipher that `bootstrap` gives to the database: `VaultCipher`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache, partial

from vfs import names
from vfs.core import Kelp
from vfs.crypto import sealed_names, sealed_texts
from vfs.crypto.parts import part_id, part_name
from vfs.crypto.sealed_texts import Text
from vfs.crypto.vault_keys import VaultKey, new_id
from vfs.errors import CrossesVault
from vfs.metadata.database import Tx
from vfs.metadata.seals import Cipher, Seal
from vfs.model import ROOT_ID, Entry

__all__ = ["Seal", "Text"]

_BORDER = "//"  # in the path of something in the trash: where its vault begins
