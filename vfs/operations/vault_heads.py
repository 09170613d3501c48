"""The head of a vault: one value that stands for all that is in it now (docs/vault-format.md). No key is needed."""

from __future__ import annotations

import uuid

from vfs.core import Kelp
from vfs.crypto import heads
from vfs.errors import NotFound


def head(kelp: Kelp, vault_id: int) -> str:
    """Of the row `vault_id` of `vaults`, counted from the database: 64 hex digits. Once the mirror has carried all, the
    NAS has the same. Raises NotFound."""
    with kelp.database.scan() as tx:
        vault = tx.vaults.closed(vault_id)
        if vault is None:
            raise NotFound(f"there is no vault {vault_id}")
        digests = tx.manifests.reachable(vault_id)
    return heads.head(uuid.UUID(vault.uuid).bytes, map(bytes.fromhex, digests))
