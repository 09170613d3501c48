"""In which vault something lies, and its key: for those who seal and open contents."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import CrossesVault
from vfs.metadata.database import Tx
from vfs.model import Content
from vfs.operations import keyring
from vfs.operations.guard import Standing
from vfs.operations.sealed_contents import Vault


def vault_of(kelp: Kelp, folder_id: int) -> Vault | None:
    """The vault that what is put into the folder is sealed for; None: it lies in plain folders, or is not there.

    From memory as a rule: for who has found the folder in this process. Raises KeyMissing.
    """
    if not kelp.database.has_vaults:
        return None
    with kelp.database.read() as tx:
        seal = tx.seals.of(folder_id)
    return None if seal is None else open_vault(kelp, seal.vault_id)


def vault_of_row(kelp: Kelp, folder_id: int) -> Vault | None:
    """The same for a folder that another process may have found. Raises KeyMissing."""
    with kelp.database.read() as tx:
        vault_id = tx.contents.vault_of_folder(folder_id)
    return None if vault_id is None else open_vault(kelp, vault_id)


def vault_in(kelp: Kelp, tx: Tx, here: Standing) -> Vault | None:
    """The same inside a transaction. Raises KeyMissing."""
    if here.seal is None:
        return None
    return Vault(here.seal.vault_id, keyring.vault_key_in(tx, kelp.keys, here.seal.vault_id))


def open_vault(kelp: Kelp, vault_id: int) -> Vault:
    """From memory when it was opened a moment ago. Raises KeyMissing."""
    known = kelp.opened_lists.vault(vault_id)
    if known is None:
        known = keyring.vault_key(kelp, vault_id)
        kelp.opened_lists.keep_vault(vault_id, known)
    return Vault(vault_id, known)


def require_same(here: Standing, content: Content) -> None:
    """Inside the transaction that shows a content at a place: it is sealed for the vault there, or plain and so is the
    place. Raises CrossesVault; nothing has changed then.
    """
    if (here.seal and here.seal.vault_id) != (content.seal and content.seal.vault_id):
        raise CrossesVault("a vault shows only what is sealed for it, and what is sealed is shown in its vault only")
