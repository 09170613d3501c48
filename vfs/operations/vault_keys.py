"""Keys of vaults are made, and wrapped for everybody who may open them."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from vfs.crypto import base64url, key_pairs
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import Conflict, KeyMissing
from vfs.metadata.database import Tx
from vfs.vault_model import Recipient, RecipientRole

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewVault:
    """`id`: its row. `is_recoverable`: its key is wrapped for a recovery key too; tell people when it is not."""

    id: int
    key: VaultKey
    is_recoverable: bool


def new_vault(tx: Tx, keys: KeyRing, *, user_id: int | None, now_ns: int, entry_id: int | None = None) -> NewVault:
    """Rows of a new vault, whose key is wrapped for every active recipient. Its root folder may come later, in the same
    transaction (`tx.vaults.set_root`). Call `keys.ids()` before it begins: that reads files.

    Raises KeyMissing when no active recipient is a server whose private key this process has: it could not be used.
    """
    tx.lock_keys()
    active = tx.recipients.active()
    if not any(each.role is RecipientRole.SERVER and keys.has(each.key_id) for each in active):
        servers = [each.key_id for each in active if each.role is RecipientRole.SERVER]
        raise KeyMissing(
            "no vault can be made: this server has no private key of its own"
            + (f" ({', '.join(servers)})" if servers else "; `kelp keys init` makes one"),
            key_ids=servers,
        )
    key = VaultKey.generate()
    id = tx.vaults.insert(str(uuid.UUID(bytes=key.vault_id)), key.generation, user_id, now_ns, entry_id)
    _wrap(tx, id, key, active)
    is_recoverable = any(each.role is RecipientRole.RECOVERY for each in active)
    if not is_recoverable:
        log.warning("a new vault has no recovery key: when the server's key is lost, so is all that is in it")
    return NewVault(id, key, is_recoverable)


def wrap_where_lacking(tx: Tx, vault_id: int, key: VaultKey) -> int:
    """Wrap a vault's key for the active recipients that lack it; how many did.

    Raises Conflict when the vault has another key meanwhile.
    """
    tx.lock_keys()
    closed = tx.vaults.closed(vault_id)
    if closed is None:
        return 0
    if closed.generation != key.generation:
        raise Conflict("the vault has a new key")
    lacking = set(tx.vaults.lacking(vault_id))
    if lacking:
        _wrap(tx, vault_id, key, [each for each in tx.recipients.active() if each.id in lacking])
        tx.vaults.changed(vault_id)
    return len(lacking)


def _wrap(tx: Tx, id: int, key: VaultKey, recipients: list[Recipient]) -> None:
    for each in recipients:
        public = key_pairs.read_public(each.public_pem.encode())
        wrapped = base64url.encode(key_pairs.wrap_for(public, key.vault_id, key.secret))
        tx.vaults.wrap(id, each.id, key.generation, wrapped)
