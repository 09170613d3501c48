"""In which vault something lies, and its key: for those who seal and open contents."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import Forbidden
from vfs.metadata.database import Tx
from vfs.model import Content
from vfs.operations import keyring
from vfs.operations.sealed_contents import Vault


def vault_of(kelp: Kelp, folder_id: int) -> Vault | None:
    """The vault that what is put into the folder is sealed for; None: it lies in plain folders, or is not there.

    Raises KeyMissing.
    """
    with kelp.database.read() as tx:
        vault_id = tx.contents.vault_of_folder(folder_id)
    return None if vault_id is None else open_vault(kelp, vault_id)


def vault_in(kelp: Kelp, tx: Tx, folder_id: int) -> Vault | None:
    """As `vault_of`, inside a transaction."""
    vault_id = tx.contents.vault_of_folder(folder_id)
    return None if vault_id is None else open_in(kelp, tx, vault_id)


def open_vault(kelp: Kelp, vault_id: int) -> Vault:
    """Raises KeyMissing."""
    return Vault(vault_id, keyring.vault_key(kelp, vault_id))


def open_in(kelp: Kelp, tx: Tx, vault_id: int) -> Vault:
    """As `open_vault`, inside a transaction."""
    return Vault(vault_id, keyring.vault_key_in(tx, kelp.keys, vault_id))


def require_same(tx: Tx, folder_id: int, content: Content) -> None:
    """Inside the transaction that shows a content in a folder: sealed for that folder's vault, or plain in a plain one.

    Raises Forbidden: nothing has changed then.
    """
    vault_id = tx.contents.vault_of_folder(folder_id)
    sealed_for = content.seal.vault_id if content.seal else None
    if vault_id != sealed_for:
        raise Forbidden("a vault shows only what is sealed for it, and what is sealed is shown in its vault only")
