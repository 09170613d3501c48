"""Vaults as people see them: a folder is made that seals all that comes into it, and what it is can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, CrossesVault, InvalidRequest
from vfs.metadata.retrying import retried
from vfs.model import Caller, Entry, Level, Place
from vfs.operations import folders, guard
from vfs.operations.vault_keys import new_vault
from vfs.vault_model import Recipient, RecipientRole


@dataclass(frozen=True, slots=True)
class VaultInfo:
    """`uuid`: the vault's id, in all that is sealed. `generation`: of its key, from 1. `recipients`: who can open it
    with a private key of theirs. `folder_uuid`, `path`: of its folder."""

    uuid: str
    generation: int
    folder_uuid: str
    path: str
    recipients: tuple[Recipient, ...]

    @property
    def is_recoverable(self) -> bool:
        """When this server is lost, keys and all, somebody can still open it."""
        return any(each.role is RecipientRole.RECOVERY for each in self.recipients)


@retried
def create(kelp: Kelp, caller: Caller, place: Place) -> Entry:
    """Make an empty folder that is a new vault: what comes into it is sealed, names and bytes, for ever.

    Raises ParentNotFound, InvalidName, AlreadyExists (also of a folder: what is there already stays plain), Forbidden
    (it takes MANAGE), Locked, CrossesVault (a vault in a vault), KeyMissing (the server has no key of its own).
    """
    names.check_segment(place.name)
    kelp.keys.ids()  # they may lie in files, and nothing waits inside a change
    with kelp.database.write() as tx:
        tx.lock_keys()
        guard.lock(kelp, tx, place)
        now = kelp.clock.now_ns()
        here = guard.stand(kelp, tx, caller, place, Level.MANAGE)
        if here.seal is not None:
            raise CrossesVault("a vault cannot lie in a vault")
        if here.entry is not None:
            raise AlreadyExists(f"there is a {place.name!r} already", here.entry, here.path_of(here.entry.name))
        guard.claims(kelp, tx, here)
        guard.confirm_write(tx, caller, here, now)
        vault = new_vault(tx, kelp.keys, user_id=caller.user_id, now_ns=now)
        folder_id = folders.insert(kelp, tx, caller, here, now, vault_id=vault.id)
        tx.vaults.set_root(vault.id, folder_id)
        made = tx.last(lambda: guard.again(tx, folder_id))
    return made.value


def info(kelp: Kelp, caller: Caller, entry: Entry) -> VaultInfo:
    """Of the vault that an entry is, or lies in; who may read the entry may know where it is.

    Raises NotFound, InvalidRequest (it is in none).
    """
    with kelp.database.read() as tx:
        guard.reach(tx, caller, entry.id, Level.READ)
        if entry.vault_id is None:
            raise InvalidRequest(f"{entry.name!r} is in no vault")
        uuid, generation, root_id = tx.vaults.facts(entry.vault_id)
        root = guard.again(tx, root_id)
        path = "/" + "/".join(tx.entries.path(root_id))
        return VaultInfo(uuid, generation, root.uuid, path, tuple(tx.recipients.of_vault(entry.vault_id)))
