"""Wrap the keys of vaults for whoever became a recipient: after a rotation, or when somebody was added.

No content is read or written. A vault is one transaction, so whoever is killed in the middle leaves whole ones, and the
next round goes on. A vault whose key this process cannot open is left to one that can; its wraps stay as they are.
"""

from __future__ import annotations

import logging

from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.errors import ContentCorrupt, KelpError, KeyMissing, NotFound
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.operations import keyring, vault_keys

log = logging.getLogger(__name__)

_AT_ONCE = 200  # vaults of one round: 2 ms of processor each, and a commit


def run(kelp: Kelp) -> Done:
    """Raises KeyMissing or ContentCorrupt when nothing could be done for want of a key."""
    with kelp.database.read() as tx:
        behind = tx.vaults.behind()
    done, fault = 0, None
    for vault_id in behind:
        try:
            done += 1 if _rewrap(kelp, vault_id) else 0
        except NotFound:  # it went meanwhile
            continue
        except (KeyMissing, ContentCorrupt) as error:
            fault = error
        if done == _AT_ONCE:
            return Done(done, more=True)
    if done:
        _tell_what_may_go(kelp)
    elif fault is not None:
        raise _told(fault)
    return Done(done)


def _rewrap(kelp: Kelp, vault_id: int) -> bool:
    return _wrap(kelp, vault_id) > 0


@retried
def _wrap(kelp: Kelp, vault_id: int) -> int:
    key = keyring.vault_key(kelp, vault_id)  # outside: it may read a file
    with kelp.database.write() as tx:
        return vault_keys.wrap_where_lacking(tx, vault_id, key)


def _told(fault: KelpError) -> KelpError:
    """The same, in the words of this work."""
    line = f"keys of vaults cannot be wrapped for new recipients: {fault}"
    return KeyMissing(line, fault.vault, fault.key_ids) if isinstance(fault, KeyMissing) else ContentCorrupt(line)


def _tell_what_may_go(kelp: Kelp) -> None:
    """Once a rotation is through, the key before it opens nothing that the new one does not."""
    with kelp.database.read() as tx:
        waiting = tx.vaults.behind()
        retired = [each for each in tx.recipients.every() if not each.is_active and each.vaults]
    if waiting or not retired:
        return
    files = key_files.kept_by_id(kelp.settings)
    for each in retired:
        file = f", and then its file may go: {files[each.key_id]}" if each.key_id in files else ""
        log.info(
            "every vault is wrapped for the keys in use: `kelp keys remove-recipient %s` drops an old one%s",
            each.key_id,
            file,
        )
