"""The keys of vaults, for whoever reads or writes in one: opened by the private keys that this process has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import NotFound
from vfs.metadata.database import Tx
from vfs.vault_model import ClosedVault


def vault_key(kelp: Kelp, vault_id: int) -> VaultKey:
    """Of the row `vault_id` of `vaults`, from memory as a rule.

    Raises KeyMissing when this process has no private key that opens it, ContentCorrupt when what is wrapped for one
    is damaged, NotFound.
    """
    return kelp.keys.open(kelp.database.recall(("vault", vault_id), lambda tx: _closed(tx, vault_id)))


def vault_key_in(tx: Tx, keys: KeyRing, vault_id: int) -> VaultKey:
    """The same inside a change. One that was opened before comes from memory: call `vault_key` first, since private
    keys may have to be read from a file, and nothing waits inside a transaction."""
    return keys.open(_closed(tx, vault_id))


def _closed(tx: Tx, vault_id: int) -> ClosedVault:
    found = tx.vaults.closed(vault_id)
    if found is None:
        raise NotFound(f"there is no vault {vault_id}")
    return found


def is_locked(kelp: Kelp) -> bool:
    """The server's key is there, locked by a passphrase that the settings do not have."""
    return key_files.is_locked(kelp.settings)


def unlocked(kelp: Kelp, passphrase: str) -> Kelp:
    """The same drive for somebody who has just typed the passphrase of the server's key."""
    vault = replace(kelp.settings.vault, passphrase=passphrase, passphrase_file=None)
    settings = replace(kelp.settings, vault=vault)
    return replace(kelp, settings=settings, keys=KeyRing(partial(key_files.find, settings)))
