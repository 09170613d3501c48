"""In which vault something lies, and its key: for those who seal and open contents."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import Forbidden
from vfs.metadata.database import Tx
from vfs.metadata.seals import Seal
from vfs.model import Content
from vfs.operations import keyring
from vfs.operations.sealed_contents import Vault


def vault_of(kelp: Kelp, folder_id: int) -> Vault | None:
    """The vault that what is put into the folder is sealed for; None: it lies in plain folders, or is not there.

    Raises KeyMissing.
    """
    if kelp.database.knows_as_plain(folder_id):
        return None
    with kelp.database.read() as tx:
        seal = tx.seals.sure(folder_id)
    return None if seal is None else open_vault(kelp, seal.vault_id)


def vault_in(kelp: Kelp, tx: Tx, folder_id: int) -> Vault | None:
    """As `vault_of`, inside a transaction."""
    seal = tx.seals.sure(folder_id)
    return None if seal is None else open_in(kelp, tx, seal.vault_id)


def open_vault(kelp: Kelp, vault_id: int) -> Vault:
    """Raises KeyMissing."""
    return Vault(vault_id, keyring.vault_key(kelp, vault_id))


def open_in(kelp: Kelp, tx: Tx, vault_id: int) -> Vault:
    """As `open_vault`, inside a transaction."""
    return Vault(vault_id, keyring.vault_key_in(tx, kelp.keys, vault_id))


def require_same(seal: Seal | None, content: Content) -> None:
    """Before a content is shown in a folder that has this seal: it is sealed for its vault, or plain in a plain one.

    Raises Forbidden: nothing has changed then.
    """
    sealed_for = content.seal.vault_id if content.seal else None
    if sealed_for != (seal.vault_id if seal else None):
        raise Forbidden("a vault shows only what is sealed for it, and what is sealed is shown in its vault only")
