"""In which vault something lies, and its key: for those who seal and open contents."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import CrossesVault
from vfs.metadata.database import Tx
from vfs.metadata.seals import Seal
from vfs.model import Content
from vfs.operations import keyring
from vfs.operations.sealed_contents import Vault


def vault_of(kelp: Kelp, folder_id: int) -> Vault | None:
    """The vault that what is put into the folder is sealed for; None: it lies in plain folders, or is not there.

    From memory as a rule. Raises KeyMissing.
    """
    if kelp.database.knows_as_plain(folder_id):
        return None
    with kelp.database.read() as tx:
        seal = tx.seals.sure(folder_id)
    return None if seal is None else open_vault(kelp, seal.vault_id)


def vault_in(kelp: Kelp, tx: Tx, folder_id: int) -> Vault | None:
    """As `vault_of`, inside a transaction."""
    seal = tx.seals.sure(folder_id)
    return None if seal is None else Vault(seal.vault_id, keyring.vault_key_in(tx, kelp.keys, seal.vault_id))


def open_vault(kelp: Kelp, vault_id: int) -> Vault:
    """From memory when it was opened a moment ago. Raises KeyMissing."""
    known = kelp.opened_lists.vault(vault_id)
    if known is None:
        known = keyring.vault_key(kelp, vault_id)
        kelp.opened_lists.keep_vault(vault_id, known)
    return Vault(vault_id, known)


def require_same(seal: Seal | None, content: Content) -> None:
    """Before a content is shown in a folder that has this seal: it is sealed for its vault, or plain in a plain one.

    Raises CrossesVault: nothing has changed then.
    """
    sealed_for = content.seal.vault_id if content.seal else None
    if sealed_for != (seal.vault_id if seal else None):
        raise CrossesVault("a vault shows only what is sealed for it, and what is sealed is shown in its vault only")
